"""One level of a mask file, read as it stands."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from ...storage import AnnotationError
from ...wsi import GroupMeaning, invert_white_is_zero, page_mpp_xy

__all__ = ["SAME_SHARE", "LevelMask", "read_level_mask"]

SAME_SHARE = 0.05  # a level is the wanted one if its downsample differs by less than this
LARGEST_BYTES = 2**27  # of the level, and of a tile; CAMELYON's largest level has 20 MB


@dataclass(frozen=True, kw_only=True)
class LevelMask:
    """Tumour at one level of a mask file of the slide's size."""

    tumor: np.ndarray
    """(rows, columns) bool."""
    downsample: float
    """Level-0 px per px of the level, by the widths."""
    mpp: float | None
    """µm per level-0 px in the file; None where the file has none."""


def read_level_mask(
    path: Path,
    downsample: float,
    *,
    slide_size: tuple[int, int],
    groups: Mapping[str, GroupMeaning],
) -> LevelMask | None:
    """Read the level of a TIFF mask with about that downsample.

    None where path is no TIFF, has another size than the slide (width, height), or lacks such a
    level. groups names the values that are tumour: `mask-2`, `mask-255`, or `binary-1` where 1 is
    the only value.

    Raises:
        AnnotationError: the level cannot be decoded.
    """
    if path.suffix.lower() not in (".tif", ".tiff"):
        return None
    try:
        with tifffile.TiffFile(path) as tiff:
            page = _find_level(tiff.pages, downsample, slide_size)
            if page is None:
                return None
            mpp = page_mpp_xy(tiff)
            return LevelMask(
                tumor=_tumor(invert_white_is_zero(np.asarray(page.asarray()), page), groups),
                downsample=tiff.pages[0].imagewidth / page.imagewidth,  # pyright: ignore
                mpp=None if mpp is None else mpp[0],
            )
    except Exception as error:  # a decoder may raise anything over damaged bytes
        raise AnnotationError(
            f"{path}: its level of downsample {downsample:g} cannot be decoded: {error!r}; make "
            "the mask again"
        ) from error


def _find_level(pages: Any, downsample: float, slide_size: tuple[int, int]) -> Any:
    first = pages[0]
    whole = first.imagewidth, first.imagelength
    if any(abs(a / b - 1) > SAME_SHARE for a, b in zip(whole, slide_size, strict=True)):
        return None
    for page in pages:
        ratios = whole[0] / page.imagewidth, whole[1] / page.imagelength
        if all(abs(ratio / downsample - 1) < SAME_SHARE for ratio in ratios) and _is_small(page):
            return page
    return None


def _is_small(page: Any) -> bool:
    """Test whether a page can be decoded in little memory: a file may claim tiles far larger than
    their content."""
    tile = page.tilewidth * page.tilelength
    block = tile if page.is_tiled else page.imagewidth * page.rowsperstrip
    if page.samplesperpixel != 1 or page.dtype is None or page.dtype.kind not in "bui":
        return False
    return max(page.imagewidth * page.imagelength, block) * page.dtype.itemsize <= LARGEST_BYTES


def _tumor(values: np.ndarray, groups: Mapping[str, GroupMeaning]) -> np.ndarray:
    found = [int(value) for value in np.unique(values) if value]
    names = {1: "binary-1"} if found == [1] else {value: f"mask-{value}" for value in found}
    known = {name.casefold(): meaning for name, meaning in groups.items()}
    return np.isin(values, [v for v, name in names.items() if known.get(name) == "tumor"])
