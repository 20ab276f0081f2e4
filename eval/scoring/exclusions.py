"""What is left out of which figures, and why: slides, patients, outlines, lesions, and detections
that hit nothing."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import pandas as pd

from .slide_result import Judgement

__all__ = ["LeftOut", "left_out_of", "left_out_rows", "left_out_table"]

MOST_LISTED = 50  # detections outside one slide; the others are counted


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """One thing, the figures it is left out of, and the reason."""

    slide: str
    what: Literal["slide", "patient", "outline", "lesion", "detection"]
    name: str
    """Of a patient or an outline, or the number of a lesion as in lesions.csv; empty for a slide.
    """
    left_out_of: str
    reason: str


def left_out_of(judgements: Sequence[Judgement]) -> list[LeftOut]:
    """Slide by slide, in their order, and then patients. Figures that no slide defines say so
    themselves."""
    return [
        *(one for judgement in judgements for one in _of_slide(judgement)),
        *_patients(judgements),
    ]


def _patients(judgements: Sequence[Judgement]) -> Iterator[LeftOut]:
    """Those without a pN stage, where heatmaps give any: one slide that lacks a class may
    hold it."""
    if not any(j.predicted_class for j in judgements):
        return
    lacking = {
        j.slide.patient: (j, words) for j in reversed(judgements) if (words := _classless(j))
    }
    for patient in sorted(lacking.keys() - {""}):
        judgement, words = lacking[patient]
        yield LeftOut(
            slide=judgement.slide.id,
            what="patient",
            name=patient,
            left_out_of="pN stages",
            reason=words,
        )


def _classless(judgement: Judgement) -> str:
    """Why a slide gives no true or no predicted class; empty where it gives both."""
    if not judgement.in_figures or judgement.is_absent:
        return f"{judgement.slide.id}: {judgement.status}: {judgement.reason}"
    if not judgement.true_class:
        return f"{judgement.slide.id}: the class of its largest lesion is not known"
    return "" if judgement.predicted_class else f"{judgement.slide.id}: no heatmap"


def _of_slide(judgement: Judgement) -> Iterator[LeftOut]:
    slide, truth = judgement.slide.id, judgement.truth
    if not judgement.in_figures:
        reason = f"{judgement.status}: {judgement.reason}"
        yield LeftOut(slide=slide, what="slide", name="", left_out_of="every figure", reason=reason)
    if judgement.is_absent:
        reason, figures = (
            f"{judgement.status}: {judgement.reason}",
            "all but FROC, where its lesions are missed",
        )
        yield LeftOut(slide=slide, what="slide", name="", left_out_of=figures, reason=reason)
    if truth is None:
        return
    if truth.unjudged:
        figures = (
            "FROC, lesions and patches"
            if judgement.true_class
            else "FROC, lesions, patches and sizes"
        )
        yield LeftOut(
            slide=slide, what="slide", name="", left_out_of=figures, reason=truth.unjudged
        )
    if truth.no_official:
        reason, figures = truth.no_official, "the official programs' FROC"
        yield LeftOut(slide=slide, what="slide", name="", left_out_of=figures, reason=reason)
    for outline in truth.left_out:
        yield LeftOut(
            slide=slide,
            what="outline",
            name=outline.name,
            left_out_of="lesions",
            reason=outline.reason,
        )
    if judgement.verdicts is not None and judgement.lesions is not None:
        for label in judgement.lesions.is_itc.nonzero()[0] + 1:
            reason = judgement.lesions.itc_words
            yield LeftOut(
                slide=slide,
                what="lesion",
                name=str(label),
                left_out_of="hits and misses",
                reason=reason,
            )
    yield from _outside(judgement)


def _outside(judgement: Judgement) -> Iterator[LeftOut]:
    reason = (
        "lies outside the slide: a false positive in ours, no part of the slide's score; the "
        "official programs end "
    )
    reason += "with an error over it, so that their whole score is undefined"
    more = len(judgement.outside) - MOST_LISTED
    for name in (*judgement.outside[:MOST_LISTED], *([f"{more} more"] if more > 0 else [])):
        figures = "the official programs' FROC"
        yield LeftOut(
            slide=judgement.slide.id,
            what="detection",
            name=name,
            left_out_of=figures,
            reason=reason,
        )


def left_out_rows(judgements: Sequence[Judgement]) -> list[dict[str, Any]]:
    """The same as plain JSON."""
    return [asdict(one) for one in left_out_of(judgements)]


def left_out_table(judgements: Sequence[Judgement]) -> pd.DataFrame:
    """The same as a table; a row each."""
    return pd.DataFrame(
        left_out_rows(judgements), columns=["slide", "what", "name", "left_out_of", "reason"]
    )
