"""Why a FROC definition gives another score than ours on the same detections, in one sentence of
counted causes."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..scoring.matching import Verdicts
from ..scoring.slide_result import Judgement
from .froc import DEFINITIONS, Froc, froc_curve

__all__ = ["difference_words"]

SAME = 5e-4  # scores are told with three decimals


def difference_words(
    curve: Froc, ours: Froc, *, verdicts: Verdicts, slides: Sequence[Judgement]
) -> str:
    """The sentence: by how much it differs, and what of that its lesions, and what its curve and
    reading make."""
    if curve.score is None or ours.score is None:
        return f"Not defined: {curve.undefined or ours.undefined}."
    whole = curve.score - ours.score
    if curve.definition.slides == "normal":
        return _same_or(whole, _of_normal_slides(verdicts))
    by_lesions = froc_curve(verdicts, DEFINITIONS["gigaslide"], rates=curve.rates)
    lesions = (by_lesions.score or 0.0) - ours.score
    parts = []
    if abs(lesions) >= SAME:
        parts.append(f"{lesions:+.3f} from its lesions ({_lesions_words(verdicts, slides)})")
    for words, value in _of_reading(verdicts, by_lesions, curve):
        if abs(value) >= SAME:
            parts.append(f"{value:+.3f} {words}")
    if not parts and verdicts.countable != _ours(slides)[0]:
        parts.append(f"although it counts other lesions ({_lesions_words(verdicts, slides)})")
    return _same_or(whole, ", ".join(parts))


def _same_or(whole: float, reason: str) -> str:
    if abs(whole) < SAME:
        return f"The same score as ours{', ' + reason if reason else ''}."
    return f"{abs(whole):.3f} {'higher' if whole > 0 else 'lower'} than ours: {reason}."


def _of_normal_slides(verdicts: Verdicts) -> str:
    normal = int((verdicts.is_normal & verdicts.is_predicted).sum())
    there = int(verdicts.is_normal[verdicts.false_positive_slide].sum())
    return (
        f"counting the {there} of {len(verdicts.false_positive)} false positives that lie on the "
        f"{normal} tumour-negative slides, over those instead of {int(verdicts.is_predicted.sum())}"
    )


def _of_reading(verdicts: Verdicts, by_lesions: Froc, curve: Froc) -> list[tuple[str, float]]:
    """What the programs' thresholds, number format, and then their reading, change on the same
    lesions."""
    chosen = curve.definition
    thresholds = replace(DEFINITIONS["gigaslide"], thresholds=chosen.thresholds)
    cut, rounded = (
        froc_curve(verdicts, definition, rates=curve.rates).score or 0.0
        for definition in (thresholds, replace(thresholds, hits=chosen.hits))
    )
    reading = {
        "interpolated": "from interpolating between operating points",
        "first at least": "from reading the first point with at least f false positives",
        "reachable": "",
    }[chosen.reading]
    dropped = (
        "the smallest threshold"
        if chosen.thresholds == "all but the smallest"
        else "the threshold 0"
    )
    return [
        (f"from dropping {dropped}", cut - (by_lesions.score or 0.0)),
        (
            "from holding hits as float32, which parts them from equal false positives",
            rounded - cut,
        ),
        (reading, (curve.score or 0.0) - rounded),
    ]


def _ours(slides: Sequence[Judgement]) -> tuple[int, int]:
    known = [j.verdicts for j in slides if j.verdicts is not None]
    countable = sum(v.countable for v in known)
    return countable, sum(len(v.best) for v in known) - countable


def _lesions_words(verdicts: Verdicts, slides: Sequence[Judgement]) -> str:
    countable, itc = _ours(slides)
    of_isolated = int(np.count_nonzero(verdicts.is_itc))
    return (
        f"{verdicts.countable} countable and {of_isolated} of isolated cells, ours {countable} and "
        f"{itc}"
    )
