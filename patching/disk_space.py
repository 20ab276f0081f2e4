"""Disk space that a store may take, estimated before anything is written."""

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..storage import StoreError
from ..wsi import ceil_div
from .quota import Quota
from .settings import TileSettings
from .write import METADATA_ARRAYS, rows_per_shard

__all__ = ["StoreSize", "refuse_if_full", "store_size"]

COMPRESSED_SHARE = 0.85
"""Share of its bytes that stained tissue takes compressed: 0.79 on sharp scans, more with noise."""


@dataclass(frozen=True, kw_only=True)
class StoreSize:
    """Approximate maximum: every quota filled."""

    patches: int
    bytes: int
    files: int


def store_size(shares: Iterable[Quota], settings: TileSettings) -> StoreSize:
    """Estimate the size of slides with these quotas."""
    per_patch = sum(int(np.prod(shape)) for shape in settings.arrays.values())
    patches = files = 0
    for share in shares:
        for count in (share.tumor, share.normal):
            shards = ceil_div(count, rows_per_shard(count, settings.arrays))
            # An array is a zarr.json and chunks or shards.
            files += 1 + 2 * len(METADATA_ARRAYS) + len(settings.arrays) * (1 + shards)
            patches += count
        files += 1
    return StoreSize(
        patches=patches, bytes=round(patches * per_patch * COMPRESSED_SHARE), files=files
    )


def refuse_if_full(store: Path, size: StoreSize, *, replaced: Iterable[str] = ()) -> None:
    """Pass if the disk of the store, which need not exist yet, has room for that size.

    replaced are groups of the store that are made again: each is removed once the new one is whole,
    so the largest of them counts as occupied.

    Raises:
        StoreError: the room is not enough.
    """
    place = next(
        folder for folder in (store.resolve(), *store.resolve().parents) if folder.exists()
    )
    groups = [
        [path.stat().st_size for path in (store / name).rglob("*") if path.is_file()]
        for name in replaced
    ]
    free, free_files = shutil.disk_usage(place).free, _free_files(place)
    free += sum(map(sum, groups)) - max(map(sum, groups), default=0)
    if free_files is not None:
        free_files += sum(map(len, groups)) - max(map(len, groups), default=0)
    if size.bytes <= free and (free_files is None or size.files <= free_files):
        return
    room = f"{free / 1e9:.3g} GB" + ("" if free_files is None else f" and {free_files} files")
    raise StoreError(
        f"{store}: up to {size.patches} patches may take {size.bytes / 1e9:.3g} GB in {size.files} "
        f"files, but the disk has room for {room}; lower --tumor-per-slide and --normal-per-slide, "
        "give another disk, or say --no-check-space if most slides will not fill their quotas"
    )


def _free_files(place: Path) -> int | None:
    """Number of files that still fit; None if the file system sets no limit."""
    found = os.statvfs(place)
    return found.f_favail if found.f_files else None
