"""Reader of OME-Zarr (NGFF 0.4 on Zarr v2, 0.5 on Zarr v3): a level is an array, its chunks are
tiles."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore
import zarr
from zarr.abc.store import Store

from ...storage import SlideError, UnreadableRegionError
from ..geometry import ceil_div
from .left_out import ImageInFile, log_left_out
from .pyramid import Pyramid, PyramidLevel, describe_not_brightfield, shows_whole
from .units import to_um

__all__ = ["OmeZarrReader", "open_ome_zarr", "open_ome_zarr_store"]

logger = logging.getLogger(__name__)

MOST_IMAGES = 100
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
        self._levels = tuple(levels)
        self.pyramid = pyramid

    def tile(self, level: int, row: int, column: int) -> np.ndarray | None:
        shape, array = self.pyramid.levels[level], self._levels[level]
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
        group, multiscale, further_scans = _find_slide(open_group())
        axes = _axes(multiscale)
        datasets = _levels(group, multiscale)
        arrays = [_require_brightfield(group[dataset["path"]], axes) for dataset in datasets]
        scales = [_scale(dataset, multiscale, len(axes)) for dataset in datasets]
        mpp_xy = _mpp_xy(multiscale["axes"], scales[0])
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


def _find_slide(group: zarr.Group) -> tuple[zarr.Group, Mapping[str, Any], str]:
    """The group that holds the largest image, that image, and a list of further scans.

    bioformats2raw numbers the images of a file, and a label or macro image may be the first.
    """
    images = [
        (holder, multiscale)
        for holder in _image_groups(group)
        for multiscale in _ngff_attributes(holder).get("multiscales", ())
    ]
    if not images:
        raise SlideError(
            "not an OME-Zarr image: no multiscales in its attributes; give the image's folder"
        )
    sizes = [max(_size(*image, dataset) for dataset in image[1]["datasets"]) for image in images]
    largest = max(range(len(images)), key=lambda number: sizes[number][0] * sizes[number][1])
    scales = [_stated_mpp_xy(multiscale) for _, multiscale in images]
    rest = [
        ImageInFile(number=number + 1, width=width, height=height, mpp_xy=scales[number])
        for number, (width, height) in enumerate(sizes)
        if number != largest
    ]
    further_scans = log_left_out(str(group.store_path), scales[largest], rest)
    holder, multiscale = images[largest]
    _require_colours(_ngff_attributes(holder))
    return holder, multiscale, further_scans


def _image_groups(group: zarr.Group) -> Iterator[zarr.Group]:
    attributes = _ngff_attributes(group)
    if "multiscales" in attributes or "bioformats2raw.layout" not in attributes:
        yield group
        return
    for number in range(MOST_IMAGES):
        inner = group.get(str(number))
        if not isinstance(inner, zarr.Group):
            return
        yield inner


def _size(
    group: zarr.Group, multiscale: Mapping[str, Any], dataset: Mapping[str, Any]
) -> tuple[int, int]:
    """(width, height) of one level in px."""
    axes, array = _axes(multiscale), group[dataset["path"]]
    shape = array.shape if isinstance(array, zarr.Array) else ()
    if len(shape) != len(axes) or not {"x", "y"} <= set(axes):
        raise SlideError(f"not an OME-Zarr image: its axes are {', '.join(axes)}")
    return shape[axes.index("x")], shape[axes.index("y")]


def _axes(multiscale: Mapping[str, Any]) -> tuple[str, ...]:
    axes = multiscale.get("axes", ())
    if not axes or not all(isinstance(axis, Mapping) for axis in axes):
        raise SlideError(
            f"OME-Zarr of version {multiscale.get('version', 'unknown')} states no axes with names "
            "and units, expected version 0.4 or 0.5; write it again with bioformats2raw 0.5 or "
            "later"
        )
    return tuple(axis["name"] for axis in axes)


def _levels(group: zarr.Group, multiscale: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Datasets that show the whole slide, largest first."""
    sizes = [(_size(group, multiscale, one), one) for one in multiscale["datasets"]]
    sizes.sort(key=lambda pair: -pair[0][0])
    whole = sizes[0][0]
    for size, dataset in sizes:
        if not shows_whole(size, whole):
            logger.info(
                "%s: level %s (%d × %d px) is left out: it has another shape than the slide",
                group.store_path,
                dataset["path"],
                *size,
            )
    return [dataset for size, dataset in sizes if shows_whole(size, whole)]


def _require_colours(attributes: Mapping[str, Any]) -> None:
    """Refuse channels that are shown in other colours than red, green and blue.

    Stains of fluorescence may have three channels too.
    """
    channels = (attributes.get("omero") or {}).get("channels", ())
    colours = [str(channel.get("color", "")).upper().lstrip("#") for channel in channels]
    if len(set(colours)) == 3 and colours != ["FF0000", "00FF00", "0000FF"]:
        raise SlideError(
            describe_not_brightfield(
                f"its channels have the colours {', '.join(colours)}, expected FF0000, 00FF00, "
                "0000FF"
            )
        )


def _ngff_attributes(group: zarr.Group) -> Mapping[str, Any]:
    attributes = group.attrs.asdict()
    inner = attributes.get("ome")  # NGFF 0.5 nests under this key what 0.4 has at the top
    return inner if isinstance(inner, dict) else attributes


def _require_brightfield(array: Any, axes: tuple[str, ...]) -> zarr.Array:
    if array.dtype != np.uint8:
        fact = f"its pixels are {array.dtype}, expected uint8"
        raise SlideError(describe_not_brightfield(fact))
    lengths = dict(zip(axes, array.shape, strict=True))
    if lengths.get("c") != 3:
        fact = f"{lengths.get('c', 1)} channel(s), expected red, green and blue"
        raise SlideError(describe_not_brightfield(fact))
    for axis, length in lengths.items():
        if axis not in "cyx" and length != 1:
            fact = f"a stack of {length} planes in {axis}"
            raise SlideError(describe_not_brightfield(fact))
    return array


def _scale(dataset: Mapping[str, Any], multiscale: Mapping[str, Any], axes: int) -> np.ndarray:
    """Size of a px along each axis, in the axes' units."""
    transforms = [
        *(dataset.get("coordinateTransformations") or ()),
        *(multiscale.get("coordinateTransformations") or ()),
    ]
    scales = [transform["scale"] for transform in transforms if transform.get("type") == "scale"]
    return np.prod([np.ones(axes), *scales], axis=0)


def _mpp_xy(axes: Sequence[Mapping[str, Any]], scale: np.ndarray) -> tuple[float, float] | None:
    um = {
        axis["name"]: to_um(float(size), axis.get("unit"))
        for axis, size in zip(axes, scale, strict=True)
    }
    return None if um["x"] is None or um["y"] is None else (um["x"], um["y"])


def _stated_mpp_xy(multiscale: Mapping[str, Any]) -> tuple[float, float] | None:
    """µm/px of an image that is not opened, which may be damaged; then None."""
    axes, dataset = multiscale["axes"], multiscale["datasets"][0]
    try:
        return _mpp_xy(axes, _scale(dataset, multiscale, len(axes)))
    except (KeyError, TypeError, ValueError):
        return None


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
