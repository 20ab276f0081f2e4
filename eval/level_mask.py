"""One level of a mask file as it stands: what the official programs read, where ours takes outlines of the finest."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from ..wsi import AnnotationError, GroupMeaning

__all__ = ["LevelMask", "level_mask"]

SAME_SHARE = 0.05  # a level counts as the wanted one if its downsample is this near
LARGEST_PX = 2**27  # of the level; CAMELYON's largest has 20 million


@dataclass(frozen=True, kw_only=True)
class LevelMask:
    """Tumour at one level of a mask file."""

    tumor: np.ndarray
    """(rows, columns) bool."""

    def downsample(self, slide_size: tuple[int, int]) -> float:
        """Level-0 px of the slide per px, by the widths."""
        return slide_size[0] / self.tumor.shape[1]


def level_mask(path: Path, downsample: float, *, groups: Mapping[str, GroupMeaning]) -> LevelMask | None:
    """The level of a TIFF mask with about that downsample; None where path is no TIFF or has no such level.

    groups says which values are tumour, as `mask-2`, `mask-255`, or `binary-1` where 1 is the only value.

    Raises:
        AnnotationError: the level cannot be decoded.
    """
    if path.suffix.lower() not in (".tif", ".tiff"):
        return None
    try:
        with tifffile.TiffFile(path) as tiff:
            first: Any = tiff.pages[0]
            for page in tiff.pages:
                across, down = first.imagewidth / page.imagewidth, first.imagelength / page.imagelength  # pyright: ignore
                near = all(abs(ratio / downsample - 1) < SAME_SHARE for ratio in (across, down))
                if near and page.imagewidth * page.imagelength <= LARGEST_PX:  # pyright: ignore
                    return _tumor(np.asarray(page.asarray()), groups)
    except AnnotationError:
        raise
    except Exception as error:  # what a decoder raises over damaged bytes is its own affair
        raise AnnotationError(f"{path}: its level of downsample {downsample:g} cannot be read: {error!r}") from error
    return None


def _tumor(values: np.ndarray, groups: Mapping[str, GroupMeaning]) -> LevelMask:
    found = [int(value) for value in np.unique(values) if value]
    names = {1: "binary-1"} if found == [1] else {value: f"mask-{value}" for value in found}
    known = {name.casefold(): meaning for name, meaning in groups.items()}
    return LevelMask(tumor=np.isin(values, [v for v, name in names.items() if known.get(name) == "tumor"]))
