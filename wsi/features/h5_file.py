"""Bounded reading of HDF5 files that strangers wrote: plain numbers of the file itself, nothing
else."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...storage import StoreError

if TYPE_CHECKING:
    import h5py

__all__ = ["H5Contents", "read_h5"]

MOST_BYTES = 2**34
"""Of one array: 4 million windows of 1 024 numbers in 4 bytes."""


@dataclass(frozen=True, kw_only=True)
class H5Contents:
    """Arrays and attributes of the top level of an HDF5 file."""

    path: Path
    arrays: Mapping[str, np.ndarray]
    attributes: Mapping[str, Mapping[str, Any]]
    """Attributes by array; those of the file under ""."""
    found: str
    """Content of the file, in words."""


def read_h5(path: Path, names: tuple[str, ...]) -> H5Contents:
    """Read the arrays of these names that a file has, and every attribute of theirs.

    Links to other files are not followed, and only numbers are read.

    Raises:
        StoreError: no HDF5 file, a damaged one, or an array that is a link, no numbers, or too
            large.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            arrays = {name: _read(file, name, path) for name in names if name in file.keys()}  # noqa: SIM118
            attributes = {name: _attributes(file[name]) for name in arrays}
            return H5Contents(
                path=path,
                arrays=arrays,
                attributes={"": _attributes(file), **attributes},
                found=_describe(file),
            )
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, MemoryError) as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(f"{path}: not an HDF5 file that can be read ({error})") from error


def _read(file: "h5py.File", name: str, path: Path) -> np.ndarray:
    import h5py

    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        raise StoreError(f"{path}: {name} is a link to another place, which is not followed")
    item: Any = file[name]
    if not isinstance(item, h5py.Dataset):
        raise StoreError(f"{path}: {name} is a group, not an array of numbers")
    if item.external or item.is_virtual:
        raise StoreError(f"{path}: {name} lies in another file, which is not read")
    if item.dtype.kind not in "fiu":
        raise StoreError(f"{path}: {name} holds {item.dtype}, not numbers")
    if item.nbytes > MOST_BYTES:
        raise StoreError(f"{path}: {name} has {item.nbytes / 1e9:.0f} GB, more than is read")
    return item[()]


def _attributes(item: Any) -> dict[str, Any]:
    """Attributes that are numbers, words, or short lists of them."""
    found = {}
    for name in item.attrs:
        with suppress(OSError, TypeError, ValueError):
            value = item.attrs[name]
            if isinstance(value, bytes):
                value = value.decode(errors="replace")
            found[name] = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
    return found


def _describe(file: "h5py.File") -> str:
    import h5py

    parts = []
    for name in sorted(file.keys()):
        item = file[name] if isinstance(file.get(name, getlink=True), h5py.HardLink) else None
        shape = f" {item.shape}" if isinstance(item, h5py.Dataset) else ""
        attributes = sorted(item.attrs) if item is not None else []
        listed = f" with attributes {', '.join(attributes)}" if attributes else ""
        parts.append(f"{name}{shape}{listed}")
    own = f"; attributes of the file: {', '.join(sorted(file.attrs))}" if len(file.attrs) else ""
    return f"{'; '.join(parts) or 'no arrays'}{own}"
