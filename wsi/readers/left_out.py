"""Images of a file that are not read, because one image is the slide."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["ImageInFile", "log_left_out"]

logger = logging.getLogger(__name__)

SAME_MPP = 0.05  # thumbnails, labels and macro images are many times coarser than the slide


@dataclass(frozen=True, kw_only=True)
class ImageInFile:
    """One image of a file. Sizes in its own px."""

    number: int
    """Its place in the file, from 1 on."""
    width: int
    height: int
    mpp_xy: tuple[float, float] | None = None
    """µm/px that the file states for this image; None if it states none."""

    def __str__(self) -> str:
        return f"image {self.number} ({self.width} × {self.height} px)"


def log_left_out(
    name: str, slide_mpp_xy: tuple[float, float] | None, images: Sequence[ImageInFile]
) -> str:
    """Log which images of a file are not read; warn of those with the slide's own µm/px.

    These are further scans, of tissue that no stage would ever see. Return a list of them, empty if
    there is none.
    """
    if not images:
        return ""
    listed = ", ".join(map(str, images))
    logger.info("%s: left out, because they are no levels of the slide: %s", name, listed)
    scans = [image for image in images if _is_same_scale(image.mpp_xy, slide_mpp_xy)]
    further = ", ".join(map(str, scans))
    if further:
        logger.warning(
            "%s: only the largest image is read; further ones of the same µm/px are left out: %s; "
            "export each scan to a file of its own",
            name,
            further,
            extra={"once": f"{name}: left out"},
        )
    return further


def _is_same_scale(one: tuple[float, float] | None, other: tuple[float, float] | None) -> bool:
    if one is None or other is None:
        return False
    return all(abs(a - b) <= SAME_MPP * b for a, b in zip(one, other, strict=True))
