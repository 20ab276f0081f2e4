"""What others reached on CAMELYON16's test set (129 slides): marks to hold a curve against, with
their source.

They are of those slides and of no others: beside figures of another cohort they are a landmark, not
a comparison.
"""

from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["REFERENCES", "REFERENCE_COHORT", "Reference", "reference_rows"]

REFERENCE_COHORT = "CAMELYON16 test set, 129 slides"
LIU = "Liu et al. 2017, arXiv:1703.02442"


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Published figures of one reader or model, as shares. None: not published."""

    name: str
    froc_score: float
    """Mean sensitivity at 1/4, 1/2, 1, 2, 4 and 8 false positives per slide."""
    froc_low: float | None = None
    """Of the published 95 % interval."""
    froc_high: float | None = None
    false_positives_per_slide: float
    """Where `sensitivity` was read: 8, or 0 for the pathologist, who made none."""
    sensitivity: float
    slide_auc: float
    source: str = LIU
    confirmed: tuple[str, ...] = ()
    """Fields read in the source's abstract; the others are quoted from memory of its tables and
    marked so."""

    @property
    def mark(self) -> tuple[float, float]:
        """The point to draw in a FROC plot: (false positives per slide, sensitivity)."""
        return self.false_positives_per_slide, self.sensitivity


REFERENCES = (
    Reference(
        name="pathologist without time limit (30 hours)",
        froc_score=0.733,
        false_positives_per_slide=0.0,
        sensitivity=0.733,
        slide_auc=0.966,
    ),
    Reference(
        name="challenge winner",
        froc_score=0.807,
        false_positives_per_slide=8.0,
        sensitivity=0.827,
        slide_auc=0.994,
        confirmed=("sensitivity",),
    ),
    Reference(
        name="40X",
        froc_score=0.873,
        froc_low=0.832,
        froc_high=0.911,
        false_positives_per_slide=8.0,
        sensitivity=0.911,
        slide_auc=0.967,
    ),
    Reference(
        name="40X, ImageNet start",
        froc_score=0.855,
        false_positives_per_slide=8.0,
        sensitivity=0.911,
        slide_auc=0.975,
    ),
    Reference(
        name="40X small (300 K parameters)",
        froc_score=0.864,
        false_positives_per_slide=8.0,
        sensitivity=0.924,
        slide_auc=0.971,
    ),
    Reference(
        name="ensemble of 3",
        froc_score=0.885,
        froc_low=0.843,
        froc_high=0.922,
        false_positives_per_slide=8.0,
        sensitivity=0.924,
        slide_auc=0.977,
        confirmed=("sensitivity",),
    ),
    Reference(
        name="20X small",
        froc_score=0.855,
        false_positives_per_slide=8.0,
        sensitivity=0.911,
        slide_auc=0.986,
    ),
    Reference(
        name="10X small",
        froc_score=0.793,
        false_positives_per_slide=8.0,
        sensitivity=0.849,
        slide_auc=0.965,
    ),
    Reference(
        name="40X + 20X small",
        froc_score=0.859,
        false_positives_per_slide=8.0,
        sensitivity=0.929,
        slide_auc=0.970,
    ),
    Reference(
        name="40X + 10X small",
        froc_score=0.822,
        false_positives_per_slide=8.0,
        sensitivity=0.876,
        slide_auc=0.986,
    ),
)


def reference_rows() -> list[dict[str, Any]]:
    """All of them as plain JSON, with the slides they are of."""
    return [
        {**asdict(one), "confirmed": list(one.confirmed), "slides": REFERENCE_COHORT}
        for one in REFERENCES
    ]
