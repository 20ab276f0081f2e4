"""One level of a mask file as it stands: what the official programs read, where ours takes outlines
of the finest."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from ...storage import AnnotationError
from ...wsi import GroupMeaning, page_mpp_xy

__all__ = ["SAME_SHARE", "LevelMask", "level_mask"]

SAME_SHARE = 0.05  # a level counts as the wanted one if its downsample is this near
LARGEST_BYTES = 2**27  # of the level, and of a tile; CAMELYON's largest level has 20 MB


@dataclass(frozen=True, kw_only=True)
class LevelMask:
    """Tumour at one level of a mask file that has the slide's px."""

    tumor: np.ndarray
    """(rows, columns) bool."""
    downsample: float
    """Of the level, by the widths: level-0 px per px."""
    mpp: float | None
    """µm per level-0 px as the file says it; None where it does not."""


def level_mask(
    path: Path,
    downsample: float,
    *,
    slide_size: tuple[int, int],
    groups: Mapping[str, GroupMeaning],
) -> LevelMask | None:
    """The level of a TIFF mask with about that downsample.

    None where path is no TIFF, is of another size than the slide (width, height), or has no such
    level. groups says which values are tumour, as `mask-2`, `mask-255`, or `binary-1` where 1 is
    the only value.

    Raises:
        AnnotationError: the level cannot be decoded.
    """
    if path.suffix.lower() not in (".tif", ".tiff"):
        return None
    try:
        with tifffile.TiffFile(path) as tiff:
            pages: Any = tiff.pages
            first = pages[0]
            whole = first.imagewidth, first.imagelength
            if any(
                abs(one / other - 1) > SAME_SHARE
                for one, other in zip(whole, slide_size, strict=True)
            ):
                return None
            for page in pages:
                across = first.imagewidth / page.imagewidth
                down = first.imagelength / page.imagelength
                near = all(abs(ratio / downsample - 1) < SAME_SHARE for ratio in (across, down))
                if near and _is_small(page):
                    tumor = _tumor(np.asarray(page.asarray()), groups)
                    mpp = page_mpp_xy(tiff)
                    return LevelMask(
                        tumor=tumor, downsample=across, mpp=None if mpp is None else mpp[0]
                    )
    except AnnotationError:
        raise
    except Exception as error:  # what a decoder raises over damaged bytes is its own affair
        raise AnnotationError(
            f"{path}: its level of downsample {downsample:g} cannot be read: {error!r}"
        ) from error
    return None


def _is_small(page: Any) -> bool:
    """Whether it can be decoded in little memory: a file may claim tiles far larger than what they
    hold."""
    block = (
        page.tilewidth * page.tilelength if page.is_tiled else page.imagewidth * page.rowsperstrip
    )
    if page.samplesperpixel != 1 or page.dtype is None or page.dtype.kind not in "bui":
        return False
    return max(page.imagewidth * page.imagelength, block) * page.dtype.itemsize <= LARGEST_BYTES


def _tumor(values: np.ndarray, groups: Mapping[str, GroupMeaning]) -> np.ndarray:
    found = [int(value) for value in np.unique(values) if value]
    names = {1: "binary-1"} if found == [1] else {value: f"mask-{value}" for value in found}
    known = {name.casefold(): meaning for name, meaning in groups.items()}
    return np.isin(values, [v for v, name in names.items() if known.get(name) == "tumor"])
