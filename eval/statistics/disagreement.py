"""Slides on which models disagree, those with the largest disagreement first."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..scoring.slide_result import SlideResult
from ..scoring.threshold import reaches

__all__ = ["list_disagreements"]


def list_disagreements(
    scored: Mapping[str, Sequence[SlideResult]], *, threshold: float
) -> list[dict[str, Any]]:
    """List the slides that every model has a score of, as plain JSON; scored is by model name.

    Slides that not all models call alike come first, then the rest by the spread of their counts
    of lesions and false positives at the threshold, then by the spread of their scores.
    """
    by_id = [{r.slide.id: r for r in results if r.score is not None} for results in scored.values()]
    shared = [name for name in by_id[0] if all(name in one for one in by_id)]
    rows = [
        _row(dict(zip(scored, (one[name] for one in by_id), strict=True)), threshold)
        for name in shared
    ]
    return sorted(
        rows,
        key=lambda row: (not row["called_differently"], -row["count_spread"], -row["score_spread"]),
    )


def _row(by_model: Mapping[str, SlideResult], threshold: float) -> dict[str, Any]:
    first = next(iter(by_model.values()))
    models = {name: _model_row(result, threshold) for name, result in by_model.items()}
    scores = [one["score"] for one in models.values()]
    counts = [
        [one[name] or 0 for one in models.values()] for name in ("lesions_found", "false_positives")
    ]
    return {
        "slide": first.slide.id,
        "label": first.slide.label,
        "patient": first.slide.patient,
        "lesions": None if first.matches is None else first.matches.countable,
        "called_differently": len({one["called_tumor"] for one in models.values()}) > 1,
        "count_spread": sum(max(one) - min(one) for one in counts),
        "score_spread": max(scores) - min(scores),
        "models": models,
    }


def _model_row(result: SlideResult, threshold: float) -> dict[str, Any]:
    matches = result.matches
    return {
        "score": result.score,
        "called_tumor": bool(reaches(result.score, threshold)),
        "lesions_found": None if matches is None else matches.hits_from(threshold),
        "false_positives": None if matches is None else int(matches.is_false_from(threshold).sum()),
    }
