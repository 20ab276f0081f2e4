"""How many slides went into the figures, how many did not, and how much of their tissue nobody
looked at."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from ...wsi import CellStatus
from ..predictions.prediction import NO_ROW
from ..scoring.slide_result import Judgement

__all__ = ["cohort_counts"]


def cohort_counts(judgements: Sequence[Judgement]) -> dict[str, Any]:
    """Plain JSON; patients is None where the cohort names none."""
    used = [j for j in judgements if j.in_figures]
    cells = Counter[CellStatus]()
    for judgement in used:
        cells.update(judgement.cells or {})
    lost = cells[CellStatus.UNREADABLE] + cells[CellStatus.FAILED]
    looked = cells[CellStatus.SCORED] + lost
    return {
        "slides": len(judgements),
        "in_figures": len(used),
        "left_out": len(judgements) - len(used),
        "patients": len({j.slide.patient for j in used if j.slide.patient}) or None,
        "patients_with_normal_slides": len(
            {j.slide.patient for j in used if j.slide.patient and not j.is_tumor}
        )
        or None,
        "statuses": dict(Counter(str(j.status) for j in judgements)),
        "cells_scored": cells[CellStatus.SCORED],
        "cells_background": cells[CellStatus.BACKGROUND],
        "cells_unreadable": cells[CellStatus.UNREADABLE],
        "cells_failed": cells[CellStatus.FAILED],
        "lost_share": lost / looked if looked else 0.0,
        "tumor_cells_not_scored": sum(j.patches.tumor_not_scored for j in used if j.patches),
        "without_row": sum(NO_ROW in j.notes for j in used),
        "without_picture": sum(j.pictures is None for j in used),
    }
