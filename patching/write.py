"""Writing one slide's group, shard by shard in rising order of rows; see `store` for what it looks like.

Which rows a shard holds follows from the plan alone: a patch that cannot be read keeps its row, black and flagged.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.storage import MemoryStore

from ..wsi import Location, Recipe, StoreError
from .place import below, kvstore, settled, whole_group, write_file
from .select import Candidates

__all__ = [
    "METADATA_ARRAYS",
    "Pixels",
    "create_arrays",
    "group_json",
    "open_array",
    "rows_at_once",
    "rows_per_shard",
    "shard_files",
    "stacks_of",
    "stored_bytes",
    "write_rest",
    "write_shards",
    "write_slide",
]

Pixels = Mapping[str, np.ndarray]
"""Of one row: by the name of the array they go to, uint8."""

SHARD_BYTES = 32 * 2**20  # uncompressed, of all arrays of pixels together
ROWS_AT_ONCE = 512  # in whole shards: what a writer holds in memory, 150 MB of patches of 315 px
BLOSC: Any = {"cname": "lz4", "clevel": 5, "shuffle": "noshuffle"}
METADATA_ARRAYS = (*(field.name for field in fields(Candidates)), "unreadable")


def write_slide(
    place: Location,
    *,
    recipe: Recipe,
    classes: Mapping[str, tuple[Candidates, Iterable[tuple[int, Pixels]]]],
    arrays: Mapping[str, tuple[int, ...]],
    attributes: Mapping[str, Any] | None = None,
) -> dict[str, int]:
    """Write one slide's group, whole or not at all; return the number of readable patches by class.

    classes gives, by class, the candidates and an iterable of (row among them, pixels), one `rows_at_once` after the
    other and in any order within; rows it leaves out are unreadable. arrays gives the shape of one row of each array
    of pixels: {"images": (P, P, 3)}. attributes are kept with the group.

    Raises:
        SettingsError: something else than a slide's group is there.
        StoreError: it cannot be written.
    """
    with whole_group(place) as partial:
        counts, unreadable = {}, {}
        for name, (rows, pixels) in classes.items():
            lost = _write_class(below(partial, name), rows, pixels, arrays)
            counts[name], unreadable[name] = int((~lost).sum()), int(lost.sum())
        made = {"counts": counts, "unreadable": unreadable, "arrays": {name: list(s) for name, s in arrays.items()}}
        write_file(partial, "zarr.json", group_json({"recipe": recipe.to_json(), **made, **(attributes or {})}))
    return counts


def group_json(attributes: Mapping[str, Any]) -> bytes:
    """The zarr.json of a group."""
    metadata = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    return json.dumps(metadata, indent=1, ensure_ascii=False).encode()


def rows_per_shard(rows: int, arrays: Mapping[str, tuple[int, ...]]) -> int:
    """How many rows a shard holds, at least 1: the same rows in all arrays."""
    row_bytes = sum(int(np.prod(shape)) for shape in arrays.values())
    return max(1, min(rows, SHARD_BYTES // max(1, row_bytes)))


def rows_at_once(rows: int, arrays: Mapping[str, tuple[int, ...]]) -> int:
    """How many rows are read and written together: whole shards."""
    per_shard = rows_per_shard(rows, arrays)
    return per_shard * max(1, ROWS_AT_ONCE // per_shard)


def _write_class(
    place: Location, rows: Candidates, pixels: Iterable[tuple[int, Pixels]], arrays: Mapping[str, tuple[int, ...]]
) -> np.ndarray:
    """(N,) bool: which rows are unreadable."""
    opened = create_arrays(place, len(rows), arrays)
    unreadable = np.ones(len(rows), bool)
    for first, stacks, readable in stacks_of(len(rows), rows_at_once(len(rows), arrays), pixels, arrays):
        unreadable[readable] = False
        for name, stack in stacks.items():
            write_shards(opened[name], first, stack)
    write_rest(place, rows, unreadable)
    return unreadable


def create_arrays(place: Location, rows: int, arrays: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Make the arrays of pixels of one class, still without shards, and open them."""
    per_shard = rows_per_shard(rows, arrays)
    return {
        name: _sharded(below(place, name), (rows, *shape), "uint8", per_shard=per_shard, inner=_inner(name, shape))
        for name, shape in arrays.items()
    }


def open_array(place: Location) -> Any:
    """An array of pixels that `create_arrays` made, to write shards to. `Pieces.record` brings them to the disk."""
    spec = {"driver": "zarr3", "kvstore": kvstore(place), "store_data_equal_to_fill_value": True}
    return settled(tensorstore.open(spec, open=True, context=_unsynced()), f"{place}: cannot be opened")


@cache
def _unsynced() -> Any:
    return tensorstore.Context({"file_io_sync": False})


def shard_files(place: Path, shards: Iterable[int], shape: tuple[int, ...]) -> list[Path]:
    """The files of these shards of an array of pixels whose rows have that shape."""
    return [place.joinpath("c", str(shard), *("0" for _ in shape)) for shard in shards]


def write_rest(place: Location, rows: Candidates, unreadable: np.ndarray) -> None:
    """Write what is known of the patches of one class besides their pixels, and its zarr.json."""
    for name in METADATA_ARRAYS:
        values = unreadable if name == "unreadable" else getattr(rows, name)
        array = _whole(below(place, name), values.shape, values.dtype.name)
        settled(array.write(values), f"{place}: {name} cannot be written")
    write_file(place, "zarr.json", group_json({}))


def _inner(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """One patch a chunk."""
    return (1, *shape) if len(shape) == 3 else (1, 1, *shape[1:])


def stacks_of(
    rows: int, at_once: int, pixels: Iterable[tuple[int, Pixels]], arrays: Mapping[str, tuple[int, ...]]
) -> Iterator[tuple[int, dict[str, np.ndarray], list[int]]]:
    """(first row, pixels of every array, readable rows) of every `at_once` rows, also of those without a readable one.

    pixels come as `write_slide` takes them.
    """
    by_stack = groupby(pixels, key=lambda item: item[0] // at_once)
    following = next(by_stack, None)
    for first in range(0, rows, at_once):
        stacks = {name: np.zeros((min(at_once, rows - first), *shape), np.uint8) for name, shape in arrays.items()}
        readable = []
        if following is not None and following[0] == first // at_once:
            for row, of_row in following[1]:
                readable.append(row)
                for name, values in of_row.items():
                    stacks[name][row - first] = values
            following = next(by_stack, None)
        yield first, stacks, readable


def write_shards(array: Any, first: int, rows: np.ndarray) -> None:
    """Write the rows of whole shards of an open TensorStore array, one shard after the other: (n, …) from row `first`.

    Raises:
        StoreError: not the rows of whole shards; two writers of parts of one lose data without a word.
    """
    per_shard = array.chunk_layout.write_chunk.shape[0]
    stop = first + len(rows)
    if first % per_shard or (stop % per_shard and stop != array.shape[0]):
        raise StoreError(
            f"{array.kvstore.path}: rows {first} to {stop} are no whole shards of {per_shard}; nothing was written"
        )
    for start in range(first, stop, per_shard):
        end = min(start + per_shard, stop)
        settled(array[start:end].write(rows[start - first : end - first]), f"{array.kvstore.path}: cannot be written")


def _compressed(dtype: str) -> list[dict[str, Any]]:
    size = np.dtype(dtype).itemsize
    # Zstandard makes stained tissue 7 to 15 % smaller, and takes four times as long to write and five times to read.
    options = {**BLOSC, "typesize": size, "blocksize": 0}
    stored = {"name": "bytes", "configuration": {"endian": "little"}} if size > 1 else {"name": "bytes"}
    return [stored, {"name": "blosc", "configuration": options}, {"name": "crc32c"}]


def _sharded(place: Location, shape: tuple[int, ...], dtype: str, *, per_shard: int, inner: tuple[int, ...]) -> Any:
    sharding = {
        "chunk_shape": list(inner),
        "codecs": _compressed(dtype),
        "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}],
        "index_location": "end",
    }
    codecs = [{"name": "sharding_indexed", "configuration": sharding}]
    return _created(place, shape, dtype, (per_shard, *shape[1:]), codecs)


def _whole(place: Location, shape: tuple[int, ...], dtype: str) -> Any:
    return _created(place, shape, dtype, (max(1, shape[0]), *shape[1:]), _compressed(dtype))


def _created(
    place: Location, shape: tuple[int, ...], dtype: str, chunk: tuple[int, ...], codecs: list[dict[str, Any]]
) -> Any:
    metadata = {
        "shape": list(shape),
        "data_type": dtype,
        "fill_value": False if dtype == "bool" else 0,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(chunk)}},
        "chunk_key_encoding": {"name": "default"},
        "codecs": codecs,
    }
    # A missing chunk would read as zeros; written always, a missing one is damage and is told as such.
    spec = {"driver": "zarr3", "kvstore": kvstore(place), "metadata": metadata, "store_data_equal_to_fill_value": True}
    return settled(tensorstore.open(spec, create=True, delete_existing=True), f"{place}: cannot be written")


def stored_bytes(patches: np.ndarray) -> int:
    """What (N, P, P, 3) uint8 patches would take in a store (bytes): they are written to one in memory."""
    images = zarr.create_array(
        MemoryStore(),
        shape=patches.shape,
        dtype="uint8",
        chunks=(1, *patches.shape[1:]),
        shards=patches.shape,
        compressors=[BloscCodec(**BLOSC), Crc32cCodec()],
        config={"write_empty_chunks": True},
    )
    images[:] = patches
    return images.nbytes_stored()
