"""Metadata of OME-Zarr: the image that is the slide, its axes, its levels and their µm/px."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import zarr

from ...storage import SlideError
from .left_out import ImageInFile, log_left_out
from .pyramid import describe_not_brightfield, shows_whole
from .units import to_um

__all__ = [
    "find_levels",
    "find_slide",
    "read_axes",
    "read_mpp_xy",
    "read_scale",
    "require_brightfield",
]

logger = logging.getLogger(__name__)

MOST_IMAGES = 100


def find_slide(group: zarr.Group) -> tuple[zarr.Group, Mapping[str, Any], str]:
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
    axes, array = read_axes(multiscale), group[dataset["path"]]
    shape = array.shape if isinstance(array, zarr.Array) else ()
    if len(shape) != len(axes) or not {"x", "y"} <= set(axes):
        raise SlideError(f"not an OME-Zarr image: its axes are {', '.join(axes)}")
    return shape[axes.index("x")], shape[axes.index("y")]


def read_axes(multiscale: Mapping[str, Any]) -> tuple[str, ...]:
    axes = multiscale.get("axes", ())
    if not axes or not all(isinstance(axis, Mapping) for axis in axes):
        raise SlideError(
            f"OME-Zarr of version {multiscale.get('version', 'unknown')} states no axes with names "
            "and units, expected version 0.4 or 0.5; write it again with bioformats2raw 0.5 or "
            "later"
        )
    return tuple(axis["name"] for axis in axes)


def find_levels(group: zarr.Group, multiscale: Mapping[str, Any]) -> list[Mapping[str, Any]]:
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


def require_brightfield(array: Any, axes: tuple[str, ...]) -> zarr.Array:
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


def read_scale(dataset: Mapping[str, Any], multiscale: Mapping[str, Any], axes: int) -> np.ndarray:
    """Size of a px along each axis, in the axes' units."""
    transforms = [
        *(dataset.get("coordinateTransformations") or ()),
        *(multiscale.get("coordinateTransformations") or ()),
    ]
    scales = [transform["scale"] for transform in transforms if transform.get("type") == "scale"]
    return np.prod([np.ones(axes), *scales], axis=0)


def read_mpp_xy(axes: Sequence[Mapping[str, Any]], scale: np.ndarray) -> tuple[float, float] | None:
    um = {
        axis["name"]: to_um(float(size), axis.get("unit"))
        for axis, size in zip(axes, scale, strict=True)
    }
    return None if um["x"] is None or um["y"] is None else (um["x"], um["y"])


def _stated_mpp_xy(multiscale: Mapping[str, Any]) -> tuple[float, float] | None:
    """µm/px of an image that is not opened, which may be damaged; then None."""
    axes, dataset = multiscale["axes"], multiscale["datasets"][0]
    try:
        return read_mpp_xy(axes, read_scale(dataset, multiscale, len(axes)))
    except (KeyError, TypeError, ValueError):
        return None
