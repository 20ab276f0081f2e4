"""Reader of OME-Zarr (NGFF 0.4 on Zarr v2, 0.5 on Zarr v3): a level is an array, its chunks are
tiles."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore
import zarr
from zarr.abc.store import Store

from ...storage import SlideError, UnreadableRegionError
from ..geometry import ceil_div
from .omezarr_metadata import (
    find_levels,
    find_slide,
    read_axes,
    read_mpp_xy,
    read_scale,
    require_brightfield,
)
from .pyramid import Pyramid, PyramidLevel

__all__ = ["OmeZarrReader", "open_ome_zarr", "open_ome_zarr_store"]

SMALLEST_TILE_PX = 256  # smaller chunks are joined to a tile
LARGEST_TILE_PX = 2**26  # 200 MB as RGB

Fetch = Callable[[tuple[slice | int, ...]], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class ZarrLevel:
    """One array of an image: its function to fetch a part, and its axes."""

    fetch: Fetch
    axes: tuple[str, ...]
    """Names in the array's order: "c", "y", "x", and others of length one."""
    fill_value: int
    chunk: tuple[int, int]
    """(rows, columns)."""


class OmeZarrReader:
    """Chunks of an OME-Zarr image as tiles; chunks that were never written show the background."""

    name = "OME-Zarr chunks"

    def __init__(self, levels: Sequence[ZarrLevel], pyramid: Pyramid) -> None:
        self.find_levels = tuple(levels)
        self.pyramid = pyramid

    def tile(self, level: int, row: int, column: int) -> np.ndarray | None:
        shape, array = self.pyramid.levels[level], self.find_levels[level]
        y, x = row * shape.tile_height, column * shape.tile_width
        part = {"c": slice(0, 3), "y": slice(y, min(y + shape.tile_height, shape.height))}
        part["x"] = slice(x, min(x + shape.tile_width, shape.width))
        try:
            pixels = array.fetch(tuple(part.get(axis, 0) for axis in array.axes))
        except Exception as error:  # stores and codecs have their own errors
            raise UnreadableRegionError(str(error) or repr(error)) from error
        order = [axis for axis in array.axes if axis in part]
        tile = np.array(pixels.transpose([order.index(axis) for axis in "yxc"]), order="C")
        # A missing chunk reads as the fill value throughout; scanned chunks never do.
        unwritten = (tile == array.fill_value).all(axis=2)
        if unwritten.all():
            return None
        for top in range(0, tile.shape[0], array.chunk[0]):
            for left in range(0, tile.shape[1], array.chunk[1]):
                chunk = slice(top, top + array.chunk[0]), slice(left, left + array.chunk[1])
                if unwritten[chunk].all():
                    tile[chunk] = self.pyramid.background
        return tile

    def reopen(self) -> None:
        """Nothing to do: every chunk is opened anew."""

    def close(self) -> None:
        """Nothing to do: nothing is held open."""


def open_ome_zarr(path: Path) -> OmeZarrReader:
    """Open the image in a folder; TensorStore reads its chunks.

    Raises:
        SlideError: no OME-Zarr, or no brightfield image. The message is the reason alone.
    """

    def fetch_from(array: zarr.Array) -> Fetch:
        driver = {2: "zarr", 3: "zarr3"}[array.metadata.zarr_format]
        kvstore = {"driver": "file", "path": f"{(path / array.path).resolve()}/"}
        store = tensorstore.open(
            {"driver": driver, "kvstore": kvstore}, open=True, read=True
        ).result()
        return lambda part: np.asarray(store[part].read().result())

    if not any((path / name).exists() for name in ("zarr.json", ".zgroup")):
        raise SlideError(
            "not a slide: a folder without OME-Zarr metadata; give a file, for DICOM one of the "
            "slide's files"
        )
    return _build_reader(lambda: zarr.open_group(path, mode="r"), fetch_from)


def open_ome_zarr_store(
    store: Store, with_retries: Callable[[Callable[[], Any]], Any]
) -> OmeZarrReader:
    """Open the image in a store of zarr-python; with_retries calls its argument and retries it."""

    def fetch_from(array: zarr.Array) -> Fetch:
        return lambda part: np.asarray(with_retries(lambda: array[part]))

    return _build_reader(lambda: with_retries(lambda: zarr.open_group(store, mode="r")), fetch_from)


def _build_reader(
    open_group: Callable[[], zarr.Group], fetch_from: Callable[[zarr.Array], Fetch]
) -> OmeZarrReader:
    try:
        group, multiscale, further_scans = find_slide(open_group())
        axes = read_axes(multiscale)
        datasets = find_levels(group, multiscale)
        arrays = [require_brightfield(group[dataset["path"]], axes) for dataset in datasets]
        scales = [read_scale(dataset, multiscale, len(axes)) for dataset in datasets]
        mpp_xy = read_mpp_xy(multiscale["axes"], scales[0])
        levels = [
            ZarrLevel(
                fetch=fetch_from(array),
                axes=axes,
                fill_value=int(array.fill_value or 0),
                chunk=(array.chunks[axes.index("y")], array.chunks[axes.index("x")]),
            )
            for array in arrays
        ]
    except SlideError:
        raise
    except Exception as error:  # the folder may hold anything, so errors are of any class
        raise SlideError(f"not an OME-Zarr image, or a damaged one: {error!r}") from error
    fill = levels[0].fill_value
    pyramid = Pyramid(
        levels=tuple(
            _pyramid_level(array, axes, scale, arrays[0], scales[0])
            for array, scale in zip(arrays, scales, strict=True)
        ),
        mpp_xy=mpp_xy,
        background=(fill, fill, fill) if fill else (255, 255, 255),
        vendor="ome-zarr",
        further_scans=further_scans,
    )
    return OmeZarrReader(levels, pyramid)


def _pyramid_level(
    array: zarr.Array,
    axes: tuple[str, ...],
    scale: np.ndarray,
    first: zarr.Array,
    first_scale: np.ndarray,
) -> PyramidLevel:
    at_x, at_y = axes.index("x"), axes.index("y")
    chunk = array.chunks[at_x], array.chunks[at_y]
    tile = [px * ceil_div(SMALLEST_TILE_PX, px) for px in chunk]
    if tile[0] * tile[1] > LARGEST_TILE_PX:
        raise SlideError(
            f"its chunks have {tile[0]} × {tile[1]} px; write it with chunks of 256 to 1024 px"
        )
    ratio = []
    for axis in (at_x, at_y):
        stated, from_size = scale[axis] / first_scale[axis], first.shape[axis] / array.shape[axis]
        # Some writers give every level the scale of the first one, so check it against the sizes.
        fits = abs(array.shape[axis] - first.shape[axis] / stated) < 2
        ratio.append(float(stated) if fits else from_size)
    return PyramidLevel(
        width=array.shape[at_x],
        height=array.shape[at_y],
        tile_width=tile[0],
        tile_height=tile[1],
        downsample=(ratio[0] + ratio[1]) / 2,
        downsample_xy=(ratio[0], ratio[1]),
    )
