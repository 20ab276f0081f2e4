"""Scale of a slide (µm/px): from the cohort or an option, or from the file, checked."""

import logging
import math
from pathlib import Path

from ..storage import SpacingError, format_location
from .readers import Pyramid

__all__ = ["choose_mpp", "describe_unlikely_mpp", "read_file_mpp", "warn_of_unlikely_mpp"]

logger = logging.getLogger(__name__)

PLAUSIBLE_MPP = (0.02, 40.0)  # outside this range a number is a mistake in units
SCANNER_MPP = (0.1, 2.0)  # from 100X with oil to about 5X
UNEQUAL_MPP = 0.05  # a larger difference between µm/px in x and in y is an error of the file


def choose_mpp(path: Path | str, *choices: float | None) -> float:
    """The first µm/px that is given."""
    mpp = next((choice for choice in choices if choice is not None), None)
    if mpp is None:
        raise SpacingError(
            f"{format_location(path)}: no µm/px in the file; give it in the cohort's mpp column or "
            "with --slide-mpp"
        )
    if not _is_plausible(mpp):
        raise SpacingError(
            f"{format_location(path)}: {mpp} µm/px is not between {PLAUSIBLE_MPP[0]} and "
            f"{PLAUSIBLE_MPP[1]}; give the right one in the cohort's mpp column"
        )
    return mpp


def _is_plausible(mpp: float) -> bool:
    return math.isfinite(mpp) and PLAUSIBLE_MPP[0] <= mpp <= PLAUSIBLE_MPP[1]


def read_file_mpp(path: Path | str, pyramid: Pyramid, *, strict: bool) -> float | None:
    """µm/px stated in the file; a wrong one is an error if strict, else None."""
    if pyramid.mpp_xy is None:
        return None
    x, y = pyramid.mpp_xy
    are_equal = x > 0 and y > 0 and abs(x - y) <= UNEQUAL_MPP * max(x, y)
    if strict and not are_equal:
        raise SpacingError(
            f"{format_location(path)}: the file states {x:g} µm/px in x and {y:g} in y, which are "
            "not positive or differ by more than 5 %; give the right one in the cohort's mpp column"
        )
    mpp = (x + y) / 2
    return mpp if strict or (are_equal and _is_plausible(mpp)) else None


def describe_unlikely_mpp(mpp: float) -> str:
    """Describe a µm/px of level 0 that no slide scanner has; return "" for any other."""
    low, high = SCANNER_MPP
    if low <= mpp <= high:
        return ""
    return f"{mpp:g} µm/px at level 0, where slide scanners have {low:g} to {high:g}"


def warn_of_unlikely_mpp(slide: str, mpp: float) -> None:
    """Log a warning if no slide scanner has this µm/px of level 0; slide is the slide's id."""
    unlikely = describe_unlikely_mpp(mpp)
    if unlikely:
        logger.warning(
            "%s: %s; verify it, and give the right one in the cohort's mpp column",
            slide,
            unlikely,
            extra={"once": f"{slide}: µm/px"},
        )
