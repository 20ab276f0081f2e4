"""Writing one slide's group, shard by shard in rising order of rows; see `store` for what it looks
like.

Which rows a shard holds follows from the plan alone: a patch that cannot be read keeps its row,
black and flagged.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from itertools import groupby
from typing import Any

import numpy as np
import tensorstore
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.storage import MemoryStore

from ..storage import Location, Recipe, StoreError
from .group import whole_group
from .place import below, kvstore, settled, write_file, write_piece
from .select import Candidates
from .shard import BLOSC, Layout, Row, encoded_row, shard_of

__all__ = [
    "METADATA_ARRAYS",
    "Pixels",
    "create_arrays",
    "group_json",
    "layouts",
    "rows_at_once",
    "rows_per_block",
    "rows_per_shard",
    "shard_key",
    "stored_bytes",
    "write_rest",
    "write_rows",
    "write_shards",
    "write_slide",
    "write_stack",
]

Pixels = Mapping[str, np.ndarray]
"""Of one row: by the name of the array they go to, uint8."""

Signs = dict[str, Any]
"""What tells that files are as they were written, see `Pieces`, by their paths."""

SHARD_BYTES = 32 * 2**20  # uncompressed, of all arrays of pixels together
BLOCK_ROWS = (
    1024  # a block, in whole shards: one second to ten, so much is done again when one is cut off
)
BLOCK_STACKS = 2  # and no more than so many stacks, for rows of copies and scales take longer
STACK_BYTES = (
    4 * SHARD_BYTES
)  # uncompressed: what a writer may hold in memory, unless a shard is more
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

    classes gives, by class, the candidates and an iterable of (row among them, pixels), one
    `rows_at_once` after the other and in any order within; rows it leaves out are unreadable.
    arrays gives the shape of one row of each array of pixels: {"images": (P, P, 3)}. attributes are
    kept with the group.

    Raises:
        SettingsError: something else than a slide's group is there.
        StoreError: it cannot be written.
    """
    with whole_group(place) as partial:
        counts, unreadable = {}, {}
        for name, (rows, pixels) in classes.items():
            lost = _write_class(below(partial, name), rows, pixels, arrays)
            counts[name], unreadable[name] = int((~lost).sum()), int(lost.sum())
        made = {
            "counts": counts,
            "unreadable": unreadable,
            "arrays": {name: list(s) for name, s in arrays.items()},
        }
        write_file(
            partial,
            "zarr.json",
            group_json({"recipe": recipe.to_json(), **made, **(attributes or {})}),
        )
    return counts


def group_json(attributes: Mapping[str, Any]) -> bytes:
    """The zarr.json of a group."""
    metadata = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    return json.dumps(metadata, indent=1, ensure_ascii=False).encode()


def rows_per_shard(rows: int, arrays: Mapping[str, tuple[int, ...]]) -> int:
    """How many rows a shard holds, at least 1: the same rows in all arrays."""
    return max(1, min(rows, SHARD_BYTES // max(1, _row_bytes(arrays))))


def rows_per_block(rows: int, arrays: Mapping[str, tuple[int, ...]]) -> int:
    """How many rows are one task: whole shards."""
    per_shard = rows_per_shard(rows, arrays)
    return per_shard * max(
        1, min(BLOCK_ROWS, BLOCK_STACKS * rows_at_once(rows, arrays)) // per_shard
    )


def rows_at_once(rows: int, arrays: Mapping[str, tuple[int, ...]]) -> int:
    """How many rows are read and written together: whole shards, as far as memory allows, of one
    block."""
    per_shard, row_bytes = rows_per_shard(rows, arrays), _row_bytes(arrays)
    # Windows of further scales wait, as they are, for those of the first; then all are held until
    # they are written.
    waiting = _row_bytes(
        {name: shape for name, shape in arrays.items() if name.startswith("images_")}
    )
    held = min(BLOCK_ROWS, STACK_BYTES // max(1, row_bytes + waiting))
    return per_shard * max(1, held // per_shard)


def _row_bytes(arrays: Mapping[str, tuple[int, ...]]) -> int:
    return sum(int(np.prod(shape)) for shape in arrays.values())


def _write_class(
    place: Location,
    rows: Candidates,
    pixels: Iterable[tuple[int, Pixels]],
    arrays: Mapping[str, tuple[int, ...]],
) -> np.ndarray:
    """(N,) bool: which rows are unreadable."""
    create_arrays(place, len(rows), arrays)
    readable, _ = write_rows(place, layouts(len(rows), arrays), range(len(rows)), pixels)
    unreadable = np.ones(len(rows), bool)
    unreadable[readable] = False
    write_rest(place, rows, unreadable)
    return unreadable


def layouts(rows: int, arrays: Mapping[str, tuple[int, ...]]) -> dict[str, Layout]:
    """Of the arrays of pixels of one class."""
    per_shard = rows_per_shard(rows, arrays)
    return {
        name: Layout(rows=rows, per_shard=per_shard, shape=shape) for name, shape in arrays.items()
    }


def create_arrays(place: Location, rows: int, arrays: Mapping[str, tuple[int, ...]]) -> None:
    """Make the arrays of pixels of one class, still without shards."""
    for name, layout in layouts(rows, arrays).items():
        _sharded(below(place, name), layout)


def shard_key(shard: int, shape: tuple[int, ...]) -> str:
    """The file of a shard below its array of pixels, whose rows have that shape."""
    return "/".join(["c", str(shard), *("0" for _ in shape)])


def write_rest(place: Location, rows: Candidates, unreadable: np.ndarray) -> None:
    """Write what is known of the patches of one class besides their pixels, and its zarr.json."""
    for name in METADATA_ARRAYS:
        values = unreadable if name == "unreadable" else getattr(rows, name)
        array = _whole(below(place, name), values.shape, values.dtype.name)
        settled(array.write(values), f"{place}: {name} cannot be written")
    write_file(place, "zarr.json", group_json({}))


def write_rows(
    place: Location,
    planned: Mapping[str, Layout],
    rows: range,
    pixels: Iterable[tuple[int, Pixels]],
) -> tuple[list[int], Signs]:
    """Write the rows of whole shards of all arrays of a class: `write_stack`, one `rows_at_once`
    after the other.

    Raises:
        StoreError: as `write_stack`, or a row that came after those of a later stack.
    """
    total = next(iter(planned.values())).rows
    at_once = rows_at_once(total, {name: layout.shape for name, layout in planned.items()})
    by_stack = groupby(pixels, key=lambda item: (item[0] - rows.start) // at_once)
    nothing: tuple[int | None, Iterable[tuple[int, Pixels]]] = (None, ())
    number, part = next(by_stack, nothing)
    readable: list[int] = []
    signs: Signs = {}
    for first in range(rows.start, rows.stop, at_once):
        is_there = number == (first - rows.start) // at_once
        stack = range(first, min(first + at_once, rows.stop))
        of_stack, written = write_stack(place, planned, stack, part if is_there else ())
        readable += of_stack
        signs |= written
        if is_there:
            number, part = next(by_stack, nothing)
    if number is not None:  # written twice or nowhere
        row = next(row for row, _ in part)
        raise StoreError(
            f"{place}: row {row} of {total} came out of order; nothing of these rows is kept"
        )
    return readable, signs


def write_stack(
    place: Location,
    planned: Mapping[str, Layout],
    rows: range,
    pixels: Iterable[tuple[int, Pixels]],
) -> tuple[list[int], Signs]:
    """Write the rows of whole shards of all arrays of a class, pixels in any order; the rows that
    are left out, black.

    Returns which of them are readable, and the signs of the shards by their paths below `place`.

    Raises:
        StoreError: pixels of another row, array, shape or dtype than planned, or of a row that was
        there; a checksum
            would vouch for them.
    """
    stacks = {name: [layout.black] * len(rows) for name, layout in planned.items()}
    readable: list[int] = []
    came: set[int] = set()
    for row, of_row in pixels:
        if row not in rows or of_row.keys() != planned.keys():
            raise StoreError(
                f"{place}: row {row} with {', '.join(of_row)} came where rows {rows.start} to "
                f"{rows.stop} with {', '.join(planned)} were expected; nothing of these rows is "
                "kept"
            )
        if row in came:
            raise StoreError(f"{place}: row {row} came twice; nothing of these rows is kept")
        came.add(row)
        readable.append(row)
        for name, values in of_row.items():
            if values.shape != planned[name].shape or values.dtype != np.uint8:
                raise StoreError(
                    f"{place}/{name}: row {row} is {values.dtype} of shape {values.shape}, not "
                    f"uint8 of shape {planned[name].shape}; nothing of these rows is kept"
                )
            stacks[name][row - rows.start] = encoded_row(values)
    signs = {
        f"{name}/{key}": sign
        for name, stack in stacks.items()
        for key, sign in write_shards(below(place, name), planned[name], rows.start, stack).items()
    }
    return readable, signs


def write_shards(place: Location, layout: Layout, first: int, stack: Sequence[Row]) -> Signs:
    """Write whole shards of an array of pixels, encoded rows from row `first` on: their signs by
    their keys.

    Raises:
        StoreError: not the rows of whole shards; two writers of parts of one lose data without a
        word.
    """
    stop = first + len(stack)
    if first % layout.per_shard or (stop % layout.per_shard and stop != layout.rows):
        raise StoreError(
            f"{place}: rows {first} to {stop} are no whole shards of {layout.per_shard}; nothing "
            "was written"
        )
    signs = {}
    for start in range(0, len(stack), layout.per_shard):
        parts = shard_of(stack[start : start + layout.per_shard], per_shard=layout.per_shard)
        key = shard_key((first + start) // layout.per_shard, layout.shape)
        signs[key] = write_piece(place, key, parts)
    return signs


def _compressed(dtype: str) -> list[dict[str, Any]]:
    size = np.dtype(dtype).itemsize
    options = {**BLOSC, "typesize": size, "blocksize": 0}
    stored = (
        {"name": "bytes", "configuration": {"endian": "little"}} if size > 1 else {"name": "bytes"}
    )
    return [stored, {"name": "blosc", "configuration": options}, {"name": "crc32c"}]


def _sharded(place: Location, layout: Layout) -> None:
    sharding = {
        "chunk_shape": list(layout.chunk),
        "codecs": _compressed("uint8"),
        "index_codecs": [
            {"name": "bytes", "configuration": {"endian": "little"}},
            {"name": "crc32c"},
        ],
        "index_location": "end",
    }
    codecs = [{"name": "sharding_indexed", "configuration": sharding}]
    _created(
        place, (layout.rows, *layout.shape), "uint8", (layout.per_shard, *layout.shape), codecs
    )


def _whole(place: Location, shape: tuple[int, ...], dtype: str) -> Any:
    return _created(place, shape, dtype, (max(1, shape[0]), *shape[1:]), _compressed(dtype))


def _created(
    place: Location,
    shape: tuple[int, ...],
    dtype: str,
    chunk: tuple[int, ...],
    codecs: list[dict[str, Any]],
) -> Any:
    metadata = {
        "shape": list(shape),
        "data_type": dtype,
        "fill_value": False if dtype == "bool" else 0,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(chunk)}},
        "chunk_key_encoding": {"name": "default"},
        "codecs": codecs,
    }
    # A missing chunk would read as zeros; written always, a missing one is damage and is told as
    # such.
    spec = {
        "driver": "zarr3",
        "kvstore": kvstore(place),
        "metadata": metadata,
        "store_data_equal_to_fill_value": True,
    }
    return settled(
        tensorstore.open(spec, create=True, delete_existing=True), f"{place}: cannot be written"
    )


def stored_bytes(patches: np.ndarray) -> int:
    """What (N, P, P, 3) uint8 patches would take in a store (bytes): they are written to one in
    memory."""
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
