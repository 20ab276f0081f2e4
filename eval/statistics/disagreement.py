"""Where models disagree: slide by slide, what each calls and finds, the slides they differ on most
first."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..report.tables import counts_from
from ..scoring.slide_result import Judgement
from ..scoring.threshold import reaches

__all__ = ["disagreements"]


def disagreements(
    judged: Mapping[str, Sequence[Judgement]], *, threshold: float
) -> list[dict[str, Any]]:
    """A row for each slide that every model has a score of, as plain JSON; judged is by the models'
    names.

    First the slides that not all models call alike, then by how many lesions and false positives
    their counts differ at the threshold, then by how far their scores lie apart.
    """
    by_id = [
        {j.slide.id: j for j in judgements if j.score is not None} for judgements in judged.values()
    ]
    shared = [
        j.slide.id for j in next(iter(judged.values())) if all(j.slide.id in one for one in by_id)
    ]
    rows = [
        _row(dict(zip(judged, (one[name] for one in by_id), strict=True)), threshold)
        for name in shared
    ]
    return sorted(
        rows,
        key=lambda row: (not row["called_differently"], -row["count_spread"], -row["score_spread"]),
    )


def _row(slide: Mapping[str, Judgement], threshold: float) -> dict[str, Any]:
    first = next(iter(slide.values()))
    models = {name: _of_model(j, threshold) for name, j in slide.items()}
    scores = [one["score"] for one in models.values()]
    counts = [
        [one[name] or 0 for one in models.values()] for name in ("lesions_found", "false_positives")
    ]
    return {
        "slide": first.slide.id,
        "label": first.slide.label,
        "patient": first.slide.patient,
        "lesions": None if first.verdicts is None else first.verdicts.countable,
        "called_differently": len({one["called_tumor"] for one in models.values()}) > 1,
        "count_spread": sum(max(one) - min(one) for one in counts),
        "score_spread": max(scores) - min(scores),
        "models": models,
    }


def _of_model(judgement: Judgement, threshold: float) -> dict[str, Any]:
    score = judgement.score
    found, false = counts_from(judgement.verdicts, threshold).values()
    return {
        "score": score,
        "called_tumor": bool(reaches(score, threshold)),
        "lesions_found": found,
        "false_positives": false,
    }
