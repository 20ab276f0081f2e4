"""Parts of slides that figures exclude, each with its reason."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from .slide_result import SlideResult

__all__ = ["Exclusion", "list_exclusions"]

Kind = Literal["slide", "patient", "outline", "lesion", "detection"]
MOST_LISTED = 50  # detections outside one slide; the others are counted
OUTSIDE = "lies outside the slide: a false positive"


@dataclass(frozen=True, kw_only=True)
class Exclusion:
    """One thing, the figures that exclude it, and the reason."""

    slide: str
    kind: Kind
    name: str = ""
    """Name of a patient or an outline, number of a lesion, place of a detection."""
    excluded_from: str
    reason: str


def list_exclusions(results: Sequence[SlideResult]) -> list[Exclusion]:
    """List what is excluded, slide by slide, in the order of the slides."""
    return [
        Exclusion(slide=result.slide.id, kind=kind, name=name, excluded_from=figures, reason=reason)
        for result in results
        for kind, name, figures, reason in _list_parts(result)
    ]


def _list_parts(result: SlideResult) -> Iterator[tuple[Kind, str, str, str]]:
    """Kind, name, figures and reason of each part that is excluded."""
    truth, status = result.truth, f"{result.status}: {result.reason}"
    if not result.in_figures:
        yield "slide", "", "every figure", status
    if not result.is_predicted:
        yield "slide", "", "all but FROC, where its lesions are missed", status
    if truth is None:
        return
    if truth.unjudged:
        sizes = ", lesions and patches" if result.true_class else ", lesions, patches and sizes"
        yield "slide", "", f"FROC{sizes}", truth.unjudged
    for outline in truth.excluded:
        yield "outline", outline.name, "lesions", outline.reason
    if result.matches is not None and result.lesions is not None:
        for label in result.lesions.is_itc.nonzero()[0] + 1:
            yield "lesion", str(label), "hits and misses", result.lesions.itc_reason
    more = len(result.outside) - MOST_LISTED
    for name in (*result.outside[:MOST_LISTED], *([f"{more} more"] if more > 0 else [])):
        yield "detection", name, "the slide's score", OUTSIDE
