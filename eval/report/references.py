"""Published figures of CAMELYON16's test set, read in the source that each names.

They are of those slides only: beside figures of another cohort they are a landmark, not a
comparison.
"""

from dataclasses import dataclass

__all__ = ["REFERENCES", "Reference"]


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A published sensitivity."""

    name: str
    false_positives_per_slide: float
    sensitivity: float
    """Share of lesions found."""
    cohort: str = "CAMELYON16 test set, 129 slides"
    source: str = "Liu et al. 2017, arXiv:1703.02442, abstract"


REFERENCES = (
    Reference(name="Liu et al. 2017", false_positives_per_slide=8.0, sensitivity=0.924),
    Reference(
        name="best automated method before it", false_positives_per_slide=8.0, sensitivity=0.827
    ),
)
