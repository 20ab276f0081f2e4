"""Slides, patients, outlines, lesions and detections that a figure excludes, with the reason."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from .slide_result import SlideResult

__all__ = ["Exclusion", "list_exclusions"]

MOST_LISTED = 50  # detections outside one slide; the others are counted
OUTSIDE = "lies outside the slide: a false positive"


@dataclass(frozen=True, kw_only=True)
class Exclusion:
    """One thing, the figures that exclude it, and the reason."""

    slide: str
    kind: Literal["slide", "patient", "outline", "lesion", "detection"]
    name: str = ""
    """Name of a patient or an outline, number of a lesion, place of a detection."""
    excluded_from: str
    reason: str


def list_exclusions(results: Sequence[SlideResult]) -> list[Exclusion]:
    """List what is excluded, slide by slide, in the order of the slides."""
    return [one for result in results for one in _of_slide(result)]


def _of_slide(result: SlideResult) -> Iterator[Exclusion]:
    slide, truth = result.slide.id, result.truth
    status = f"{result.status}: {result.reason}"
    if not result.in_figures:
        yield Exclusion(slide=slide, kind="slide", excluded_from="every figure", reason=status)
    if not result.is_predicted:
        figures = "all but FROC, where its lesions are missed"
        yield Exclusion(slide=slide, kind="slide", excluded_from=figures, reason=status)
    if truth is None:
        return
    if truth.unjudged:
        sizes = ", lesions and patches" if result.true_class else ", lesions, patches and sizes"
        yield Exclusion(
            slide=slide, kind="slide", excluded_from=f"FROC{sizes}", reason=truth.unjudged
        )
    for outline in truth.excluded:
        yield Exclusion(
            slide=slide,
            kind="outline",
            name=outline.name,
            excluded_from="lesions",
            reason=outline.reason,
        )
    if result.matches is not None and result.lesions is not None:
        for label in result.lesions.is_itc.nonzero()[0] + 1:
            yield Exclusion(
                slide=slide,
                kind="lesion",
                name=str(label),
                excluded_from="hits and misses",
                reason=result.lesions.itc_reason,
            )
    more = len(result.outside) - MOST_LISTED
    for name in (*result.outside[:MOST_LISTED], *([f"{more} more"] if more > 0 else [])):
        yield Exclusion(
            slide=slide,
            kind="detection",
            name=name,
            excluded_from="the slide's score",
            reason=OUTSIDE,
        )
