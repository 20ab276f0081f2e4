"""Write the arrays of one class of patches, shard by shard; `store` shows their layout.

A row is one patch in all arrays. The plan alone decides which rows a shard holds: an unreadable
patch keeps its row, black and flagged.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from itertools import groupby
from typing import Any

import numpy as np
import tensorstore

from ..storage import (
    Checksum,
    Location,
    StoreError,
    group_json,
    join_location,
    kvstore_spec,
    wait_for,
    write_checksummed,
    write_file,
)
from .sampling import Candidates
from .shard import BLOSC, Layout, Row, build_shard, encode_row

__all__ = [
    "METADATA_ARRAYS",
    "Checksums",
    "Pixels",
    "block_layout",
    "create_arrays",
    "layouts",
    "rows_per_block",
    "rows_per_shard",
    "rows_per_stack",
    "shard_key",
    "stored_bytes",
    "write_rest",
    "write_rows",
    "write_shards",
    "write_stack",
]

Pixels = Mapping[str, np.ndarray]
"""Pixels of one row by the name of their array, uint8."""

Checksums = dict[str, Checksum]
"""Checksums of files by their paths."""

SHARD_BYTES = 32 * 2**20
"""Uncompressed pixels of all arrays together."""
BLOCK_ROWS = 1024
"""Rows of a block, rounded to whole shards: 1 to 10 s, which is what an interruption costs."""
BLOCK_STACKS = 2
"""Maximum stacks of a block: rows with copies or several scales take longer."""
STACK_BYTES = 4 * SHARD_BYTES
"""Uncompressed pixels that a writer holds in memory; one shard at least."""
METADATA_ARRAYS = (*(field.name for field in fields(Candidates)), "unreadable")


def block_layout() -> dict[str, Any]:
    """Constants that decide which rows a block and a shard hold, and how they are compressed."""
    sizes = {
        "shard_bytes": SHARD_BYTES,
        "block_rows": BLOCK_ROWS,
        "block_stacks": BLOCK_STACKS,
        "stack_bytes": STACK_BYTES,
    }
    return {**sizes, "compression": BLOSC}


def rows_per_shard(rows: int, arrays: Mapping[str, tuple[int, ...]]) -> int:
    """Return the number of rows in a shard, at least 1; every array has the same rows."""
    return max(1, min(rows, SHARD_BYTES // max(1, _row_bytes(arrays))))


def rows_per_block(rows: int, arrays: Mapping[str, tuple[int, ...]]) -> int:
    """Return the number of rows in a block, as whole shards."""
    per_shard = rows_per_shard(rows, arrays)
    most = min(BLOCK_ROWS, BLOCK_STACKS * rows_per_stack(rows, arrays))
    return per_shard * max(1, most // per_shard)


def rows_per_stack(rows: int, arrays: Mapping[str, tuple[int, ...]]) -> int:
    """Return the number of rows that are read and written together: whole shards of one block, as
    many as memory allows."""
    per_shard, row_bytes = rows_per_shard(rows, arrays), _row_bytes(arrays)
    # Windows of further scales wait for those of the first, then all are held until written.
    waiting = _row_bytes(
        {name: shape for name, shape in arrays.items() if name.startswith("images_")}
    )
    held = min(BLOCK_ROWS, STACK_BYTES // max(1, row_bytes + waiting))
    return per_shard * max(1, held // per_shard)


def _row_bytes(arrays: Mapping[str, tuple[int, ...]]) -> int:
    return sum(int(np.prod(shape)) for shape in arrays.values())


def layouts(rows: int, arrays: Mapping[str, tuple[int, ...]]) -> dict[str, Layout]:
    """Return the layout of each array of pixels of one class."""
    per_shard = rows_per_shard(rows, arrays)
    return {
        name: Layout(rows=rows, per_shard=per_shard, shape=shape) for name, shape in arrays.items()
    }


def create_arrays(group: Location, rows: int, arrays: Mapping[str, tuple[int, ...]]) -> None:
    """Create the arrays of pixels of one class, still without shards."""
    for name, layout in layouts(rows, arrays).items():
        _create_sharded(join_location(group, name), layout)


def shard_key(shard: int, shape: tuple[int, ...]) -> str:
    """Return the file name of a shard below its array, whose rows have that shape."""
    return "/".join(["c", str(shard), *("0" for _ in shape)])


def write_rest(group: Location, rows: Candidates, unreadable: np.ndarray) -> None:
    """Write the arrays of one class that hold no pixels, and the zarr.json of its group."""
    for name in METADATA_ARRAYS:
        values = unreadable if name == "unreadable" else getattr(rows, name)
        array = _create_unsharded(join_location(group, name), values.shape, values.dtype.name)
        wait_for(array.write(values), f"{group}: {name} cannot be written")
    write_file(group, "zarr.json", group_json({}))


def write_rows(
    group: Location,
    planned: Mapping[str, Layout],
    rows: range,
    pixels: Iterable[tuple[int, Pixels]],
) -> tuple[list[int], Checksums]:
    """Write the rows of whole shards of all arrays of a class, one stack after the other.

    pixels must come stack by stack, in any order within one; missing rows are unreadable. Returns
    the readable rows, and the checksums of the shards by their paths below group.

    Raises:
        StoreError: as `write_stack`, or a row came after those of a later stack.
    """
    total = next(iter(planned.values())).rows
    at_once = rows_per_stack(total, {name: layout.shape for name, layout in planned.items()})
    by_stack = groupby(pixels, key=lambda item: (item[0] - rows.start) // at_once)
    nothing: tuple[int | None, Iterable[tuple[int, Pixels]]] = (None, ())
    number, part = next(by_stack, nothing)
    readable: list[int] = []
    checksums: Checksums = {}
    for first in range(rows.start, rows.stop, at_once):
        is_there = number == (first - rows.start) // at_once
        stack = range(first, min(first + at_once, rows.stop))
        of_stack, written = write_stack(group, planned, stack, part if is_there else ())
        readable += of_stack
        checksums |= written
        if is_there:
            number, part = next(by_stack, nothing)
    if number is not None:  # written twice or nowhere
        row = next(row for row, _ in part)
        raise StoreError(
            f"{group}: row {row} of {total} came out of order; nothing of these rows is kept"
        )
    return readable, checksums


def write_stack(
    group: Location,
    planned: Mapping[str, Layout],
    rows: range,
    pixels: Iterable[tuple[int, Pixels]],
) -> tuple[list[int], Checksums]:
    """Write the rows of whole shards of all arrays of a class, from pixels in any order.

    Missing rows are written black. Returns the readable rows, and the checksums of the shards by
    their paths below group.

    Raises:
        StoreError: pixels of another row, array, shape or dtype than planned, or the same row
            twice: their checksum would make them look right.
    """
    stacks = {name: [layout.black] * len(rows) for name, layout in planned.items()}
    readable: list[int] = []
    came: set[int] = set()
    for row, of_row in pixels:
        if row not in rows or of_row.keys() != planned.keys():
            raise StoreError(
                f"{group}: row {row} with {', '.join(of_row)} came where rows {rows.start} to "
                f"{rows.stop} with {', '.join(planned)} were expected; nothing of these rows is "
                "kept"
            )
        if row in came:
            raise StoreError(f"{group}: row {row} came twice; nothing of these rows is kept")
        came.add(row)
        readable.append(row)
        for name, values in of_row.items():
            if values.shape != planned[name].shape or values.dtype != np.uint8:
                raise StoreError(
                    f"{group}/{name}: row {row} is {values.dtype} of shape {values.shape}, not "
                    f"uint8 of shape {planned[name].shape}; nothing of these rows is kept"
                )
            stacks[name][row - rows.start] = encode_row(values)
    checksums = {
        f"{name}/{key}": checksum
        for name, stack in stacks.items()
        for key, checksum in write_shards(
            join_location(group, name), planned[name], rows.start, stack
        ).items()
    }
    return readable, checksums


def write_shards(group: Location, layout: Layout, first: int, stack: Sequence[Row]) -> Checksums:
    """Write whole shards of an array from encoded rows, beginning at row first; return their
    checksums by file name.

    Raises:
        StoreError: the rows are not those of whole shards. Two writers of one shard would lose data
            without an error.
    """
    stop = first + len(stack)
    if first % layout.per_shard or (stop % layout.per_shard and stop != layout.rows):
        raise StoreError(
            f"{group}: rows {first} to {stop} are not whole shards of {layout.per_shard}; "
            "nothing was written"
        )
    checksums = {}
    for start in range(0, len(stack), layout.per_shard):
        parts = build_shard(stack[start : start + layout.per_shard], per_shard=layout.per_shard)
        key = shard_key((first + start) // layout.per_shard, layout.shape)
        checksums[key] = write_checksummed(group, key, parts)
    return checksums


def _compression(dtype: str) -> list[dict[str, Any]]:
    size = np.dtype(dtype).itemsize
    options = {**BLOSC, "typesize": size, "blocksize": 0}
    stored = (
        {"name": "bytes", "configuration": {"endian": "little"}} if size > 1 else {"name": "bytes"}
    )
    return [stored, {"name": "blosc", "configuration": options}, {"name": "crc32c"}]


def _create_sharded(group: Location, layout: Layout) -> None:
    sharding = {
        "chunk_shape": list(layout.chunk),
        "codecs": _compression("uint8"),
        "index_codecs": [
            {"name": "bytes", "configuration": {"endian": "little"}},
            {"name": "crc32c"},
        ],
        "index_location": "end",
    }
    codecs = [{"name": "sharding_indexed", "configuration": sharding}]
    _create(group, (layout.rows, *layout.shape), "uint8", (layout.per_shard, *layout.shape), codecs)


def _create_unsharded(group: Location, shape: tuple[int, ...], dtype: str) -> Any:
    return _create(group, shape, dtype, (max(1, shape[0]), *shape[1:]), _compression(dtype))


def _create(
    group: Location,
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
    # Zeros are written too, so that a missing chunk is an error and does not read as zeros.
    spec = {
        "driver": "zarr3",
        "kvstore": kvstore_spec(group),
        "metadata": metadata,
        "store_data_equal_to_fill_value": True,
    }
    return wait_for(
        tensorstore.open(spec, create=True, delete_existing=True), f"{group}: cannot be written"
    )


def stored_bytes(patches: np.ndarray) -> int:
    """Measure the size of (N, P, P, 3) uint8 patches in one shard of a store (bytes)."""
    parts = build_shard([encode_row(patch) for patch in patches], per_shard=len(patches))
    return sum(map(len, parts))
