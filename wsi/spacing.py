"""Scale of a slide (µm/px): from the cohort or an option, or from the file, checked."""

import logging
import math
from pathlib import Path

from ..storage import SpacingError, format_location
from .readers import Pyramid

__all__ = [
    "SNAP",
    "choose_mpp",
    "describe_too_coarse",
    "describe_unlikely_mpp",
    "is_same_mpp",
    "read_file_mpp",
    "warn_of_unlikely_mpp",
]

logger = logging.getLogger(__name__)

SNAP = 0.03  # a level within 3 % of the requested µm/px is read without resampling
SAME_MPP = (1 + SNAP) / (1 - SNAP) - 1  # two slides may snap to opposite sides
PLAUSIBLE_MPP = (0.02, 40.0)  # outside this range a number is a mistake in units
SCANNER_MPP = (0.1, 2.0)  # from 100X with oil to about 5X
UNEQUAL_MPP = 0.05  # a larger difference between µm/px in x and in y is an error of the file


def is_same_mpp(one: float, other: float) -> bool:
    """Return True if windows at these two scales (µm/px) can come from one requested scale: a slide
    is read at a level of its own that is up to 3 % finer or coarser."""
    return max(one, other) / min(one, other) - 1 <= SAME_MPP + 1e-9


def choose_mpp(
    path: Path | str, pyramid: Pyramid, *, given: float | None, fallback: float | None
) -> float:
    """Choose the µm/px of a slide: the given one, else the file's, else fallback.

    Raises:
        SpacingError: none of them, an implausible one, or a file whose x and y differ by more than
            5 %.
    """
    found = given
    if found is None:
        _require_equal(path, pyramid)
        found = read_file_mpp(pyramid)
    if found is None:
        found = fallback
    if found is None:
        raise SpacingError(
            f"{format_location(path)}: {_describe_missing(pyramid)}; give the right one in the "
            "cohort's mpp column or with --slide-mpp"
        )
    if not _is_plausible(found):
        raise SpacingError(
            f"{format_location(path)}: {found:g} µm/px is not between {PLAUSIBLE_MPP[0]:g} and "
            f"{PLAUSIBLE_MPP[1]:g}; give the right one in the cohort's mpp column"
        )
    return found


def read_file_mpp(pyramid: Pyramid) -> float | None:
    """µm/px stated in the file, mean of x and y; None if it states none or a wrong one.

    Programs that know no µm/px write 0, or a resolution for printing such as 72 px per inch.
    """
    if not _states_plausible(pyramid) or pyramid.mpp_xy is None:
        return None
    x, y = pyramid.mpp_xy
    return (x + y) / 2 if _are_equal(x, y) else None


def _states_plausible(pyramid: Pyramid) -> bool:
    return pyramid.mpp_xy is not None and all(_is_plausible(mpp) for mpp in pyramid.mpp_xy)


def _is_plausible(mpp: float) -> bool:
    return math.isfinite(mpp) and PLAUSIBLE_MPP[0] <= mpp <= PLAUSIBLE_MPP[1]


def _are_equal(x: float, y: float) -> bool:
    return abs(x - y) <= UNEQUAL_MPP * max(x, y)


def _require_equal(path: Path | str, pyramid: Pyramid) -> None:
    """Refuse a file whose px are no squares: a fallback would not make them square."""
    x, y = pyramid.mpp_xy or (1.0, 1.0)
    if _states_plausible(pyramid) and not _are_equal(x, y):
        raise SpacingError(
            f"{format_location(path)}: the file states {x:g} µm/px in x and {y:g} in y, which "
            "differ by more than 5 %; give the right one in the cohort's mpp column"
        )


def _describe_missing(pyramid: Pyramid) -> str:
    if pyramid.mpp_xy is None:
        return "no µm/px in the file"
    x, y = pyramid.mpp_xy
    stated = f"{x:.4g} µm/px" if x == y else f"{x:.4g} µm/px in x and {y:.4g} in y"
    low, high = PLAUSIBLE_MPP
    return f"the file states {stated}, not between {low:g} and {high:g}"


def describe_unlikely_mpp(mpp: float) -> str:
    """Describe a µm/px of level 0 that no slide scanner has; return "" for any other."""
    low, high = SCANNER_MPP
    if low <= mpp <= high:
        return ""
    return f"{mpp:g} µm/px at level 0, where slide scanners have {low:g} to {high:g}"


def describe_too_coarse(mpp: float, *, wanted: float, network: str = "") -> str:
    """Say that a slide of mpp µm/px is coarser than the wanted µm/px, and what to do.

    network: noun of what was trained at the wanted µm/px, such as "model"; empty where a setting
    asks for it.
    """
    unlikely = describe_unlikely_mpp(mpp)
    verify = f"verify it ({unlikely}) and give the right one in the cohort's mpp column"
    if not network:
        advice = verify if unlikely else f"give --mpp {mpp:.4g} or more, or --allow-upsampling"
        return f"has {mpp:g} µm/px, coarser than the requested {wanted:g}; {advice}"
    train = "" if network != "model" else f" (gigaslide tile --mpp {mpp:.4g}, then train)"
    advice = (
        f"use another {network} trained at {mpp:.4g} µm/px or coarser{train}, or enlarge the slide "
        "with --allow-upsampling, which adds no detail, and expect worse results"
    )
    if unlikely:
        advice = f"{verify}, or {advice}"
    return f"has {mpp:g} µm/px, coarser than the {wanted:g} µm/px of the {network}; {advice}"


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
