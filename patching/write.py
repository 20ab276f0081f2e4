"""Writing one slide's group, shard by shard in rising order of rows; see `store` for what it looks like.

Which rows a shard holds follows from the plan alone: a patch that cannot be read keeps its row, black and flagged.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.storage import MemoryStore

from ..wsi import Location, Recipe, StoreError, ceil_div
from .place import below, kvstore, settled, whole_group, write_file
from .select import Candidates

__all__ = [
    "METADATA_ARRAYS",
    "Pixels",
    "create_arrays",
    "group_json",
    "open_array",
    "rows_per_shard",
    "shard_files",
    "shards_of",
    "stored_bytes",
    "write_rest",
    "write_shard",
    "write_slide",
]

Pixels = Mapping[str, np.ndarray]
"""Of one row: by the name of the array they go to, uint8."""

SHARD_BYTES = 32 * 2**20  # uncompressed, of all arrays of pixels together; what a writer holds in memory
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

    classes gives, by class, the candidates and an iterable of (row among them, pixels) in rising order; rows it leaves
    out are unreadable. arrays gives the shape of one row of each array of pixels: {"images": (P, P, 3)}. attributes
    are kept with the group.

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


def _write_class(
    place: Location, rows: Candidates, pixels: Iterable[tuple[int, Pixels]], arrays: Mapping[str, tuple[int, ...]]
) -> np.ndarray:
    """(N,) bool: which rows are unreadable."""
    opened = create_arrays(place, len(rows), arrays)
    unreadable = np.ones(len(rows), bool)
    for first, blocks, readable in shards_of(len(rows), rows_per_shard(len(rows), arrays), pixels, arrays):
        unreadable[readable] = False
        for name, block in blocks.items():
            write_shard(opened[name], first, block)
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
    """An array of pixels that `create_arrays` made, to write shards to."""
    spec = {"driver": "zarr3", "kvstore": kvstore(place), "store_data_equal_to_fill_value": True}
    return settled(tensorstore.open(spec, open=True), f"{place}: cannot be opened")


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


def shards_of(
    rows: int, per_shard: int, pixels: Iterable[tuple[int, Pixels]], arrays: Mapping[str, tuple[int, ...]]
) -> Iterator[tuple[int, dict[str, np.ndarray], list[int]]]:
    """(first row, pixels of every array, readable rows) of each shard, also of those without any readable row."""
    by_shard = groupby(pixels, key=lambda item: item[0] // per_shard)
    following = next(by_shard, None)
    for shard in range(ceil_div(rows, per_shard)):
        first = shard * per_shard
        count = min(per_shard, rows - first)
        blocks = {name: np.zeros((count, *shape), np.uint8) for name, shape in arrays.items()}
        readable = []
        if following is not None and following[0] == shard:
            for row, of_row in following[1]:
                readable.append(row)
                for name, values in of_row.items():
                    blocks[name][row - first] = values
            following = next(by_shard, None)
        yield first, blocks, readable


def write_shard(array: Any, first: int, block: np.ndarray) -> None:
    """Write the rows of one whole shard of an open TensorStore array: (n, …) from row `first` on.

    Raises:
        StoreError: not the rows of one whole shard; two writers of parts of one lose data without a word.
    """
    per_shard = array.chunk_layout.write_chunk.shape[0]
    if first % per_shard or len(block) != min(per_shard, array.shape[0] - first):
        raise StoreError(
            f"{array.kvstore.path}: rows {first} to {first + len(block)} are not a whole shard of {per_shard}; "
            "nothing was written"
        )
    settled(array[first : first + len(block)].write(block), f"{array.kvstore.path}: cannot be written")


def _compressed(dtype: str) -> list[dict[str, Any]]:
    size = np.dtype(dtype).itemsize
    # Shuffled bits made stained tissue 1 % smaller and a third slower to read.
    options = {"cname": "zstd", "clevel": 1, "shuffle": "noshuffle", "typesize": size, "blocksize": 0}
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
        compressors=[BloscCodec(cname="zstd", clevel=1, shuffle="noshuffle"), Crc32cCodec()],
        config={"write_empty_chunks": True},
    )
    images[:] = patches
    return images.nbytes_stored()
