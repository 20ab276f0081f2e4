"""Cells that were to be scored and have no probability, in words."""

import numpy as np

from ..cohort import CohortSlide
from ..storage import SlideError, format_count, format_location
from ..wsi import CellStatus

__all__ = ["explain_no_score", "list_reasons"]


def list_reasons(*, unreadable: int, nan: int) -> list[str]:
    """Return a reason for each kind of cells without a probability, with their number."""
    reasons = [f"{format_count(unreadable, 'cell')} could not be read"] if unreadable else []
    return reasons + ([f"the network gave NaN for {format_count(nan, 'cell')}"] if nan else [])


def explain_no_score(slide: CohortSlide, status: np.ndarray) -> SlideError:
    """Return the error of a slide on which no cell has a probability; status: (rows, columns)
    uint8."""
    unreadable = int((status == CellStatus.UNREADABLE).sum())
    nan = int((status == CellStatus.FAILED).sum())
    return SlideError(
        f"{format_location(slide.path)}: no cell has a probability: "
        f"{' and '.join(list_reasons(unreadable=unreadable, nan=nan))}; "
        + ("copy the file again" if unreadable else "train the model again")
    )
