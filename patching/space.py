"""What a store will take on its disk, reckoned before anything is written, and whether the disk has
it."""

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

KEPT_SHARE = (
    0.85  # of the bytes of stained tissue that compression leaves; 0.79 on sharp scans, noise more
)


@dataclass(frozen=True, kw_only=True)
class StoreSize:
    """At most about so much, all quotas filled."""

    patches: int
    bytes: int
    files: int


def store_size(shares: Iterable[Quota], settings: TileSettings) -> StoreSize:
    """Of slides with these quotas."""
    per_patch = sum(int(np.prod(shape)) for shape in settings.arrays.values())
    patches = files = 0
    for share in shares:
        for count in (share.tumor, share.normal):
            shards = ceil_div(count, rows_per_shard(count, settings.arrays))
            # An array is its zarr.json and its chunks or shards.
            files += 1 + 2 * len(METADATA_ARRAYS) + len(settings.arrays) * (1 + shards)
            patches += count
        files += 1
    return StoreSize(patches=patches, bytes=round(patches * per_patch * KEPT_SHARE), files=files)


def refuse_if_full(store: Path, size: StoreSize, *, replaced: Iterable[str] = ()) -> None:
    """Pass if the disk of the store, which need not exist yet, has room for so much.

    replaced are its groups that are removed, each before it is made again.

    Raises:
        StoreError: it has not.
    """
    place = next(
        folder for folder in (store.resolve(), *store.resolve().parents) if folder.exists()
    )
    files = [path for name in replaced for path in (store / name).rglob("*") if path.is_file()]
    free, free_files = shutil.disk_usage(place).free, _free_files(place)
    free += sum(path.stat().st_size for path in files)
    free_files = None if free_files is None else free_files + len(files)
    if size.bytes <= free and (free_files is None or size.files <= free_files):
        return
    room = f"{free / 1e9:.3g} GB" + ("" if free_files is None else f" and {free_files} files")
    raise StoreError(
        f"{store}: up to {size.patches} patches may take {size.bytes / 1e9:.3g} GB in {size.files} "
        f"files, but the disk has room for {room}; lower --tumor-per-slide and --normal-per-slide, "
        "give another disk, or say --no-check-space if most slides will not fill their quotas"
    )


def _free_files(place: Path) -> int | None:
    """None where the file system makes room for files as they come."""
    found = os.statvfs(place)
    return found.f_favail if found.f_files else None
