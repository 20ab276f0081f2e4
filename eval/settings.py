"""Settings of an evaluation."""

from itertools import pairwise
from typing import Literal

from pydantic import Field, field_validator

from ..storage import Settings
from ..wsi import GroupMeaning

__all__ = ["UNCHOSEN_THRESHOLD", "EvaluateSettings"]

UNCHOSEN_THRESHOLD = 0.5


class EvaluateSettings(Settings):
    """Figures and a report from predictions and annotations."""

    split: Literal["train", "validation", "test", ""] = "test"
    """Split to evaluate; empty: every slide. In a cohort without splits, every slide."""
    groups: dict[str, GroupMeaning] = Field(default_factory=dict)
    """Meaning of an annotation group: tumor, exclusion or other. Example: --groups.Stroma other."""
    lesion_mpp: float = Field(default=7.776, gt=0)
    """Scale of the mask for outlines too detailed to be grown exactly (µm/px)."""
    growth_um: float = Field(default=37.5, ge=0)
    """Growth of annotated tumour on each side (µm). Pieces closer than twice this are one
    lesion."""
    itc_um: float = Field(default=275.0, ge=0)
    """Longest axis below which a lesion counts as isolated tumour cells (µm). Growth included; such
    lesions are neither hit nor missed."""
    false_positives_per_slide: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
    """False positives per slide at which sensitivity is read off the FROC curve. Ascending,
    repeatable; the FROC score is the mean."""
    slide_threshold: float | None = Field(default=None, ge=0, le=1)
    """Operating point: minimum probability of a tumour slide or a detection. Used for the lists of
    missed lesions and false positives, and for the size of predicted lesions. Default: the
    threshold of the model card, or 0.5."""
    specificities: tuple[float, ...] = (0.9, 0.95)
    """Specificity at which the sensitivity of the slide score is reported. Repeatable."""
    sensitivities: tuple[float, ...] = (0.9, 0.95)
    """Sensitivity at which the specificity of the slide score is reported. Repeatable."""
    calibration_bins: int = Field(default=10, ge=2, le=100)
    """Bins of equal width of the calibration curve."""
    subgroups: tuple[str, ...] = ()
    """Cohort column, such as scanner, with figures for each value. Repeatable."""
    official: bool | None = None
    """Add the scores of the official CAMELYON16 programs. Default: if the slides have CAMELYON16's
    names."""
    pn_stages: bool | None = None
    """Add the pN stages of patients as in CAMELYON17. Default: if patients have several slides
    and their classes stand in a cohort column "stage"."""
    resamples: int = Field(default=2000, ge=0)
    """Bootstrap resamples for every interval. 0: no intervals."""
    confidence: float = Field(default=0.95, gt=0, lt=1)
    """Coverage of the intervals (share)."""
    seed: int = Field(default=0, ge=0)
    """Seed of the bootstrap."""
    picture_px: int = Field(default=600, ge=64, le=4000)
    """Longer side of the slide pictures in the report (px). Smaller where the page would exceed 60
    MB."""
    gallery: int = Field(default=100, ge=0, le=1000)
    """Maximum missed lesions, and maximum false positives, pictured in the report. The tables hold
    all."""

    @property
    def threshold(self) -> float:
        """Threshold of the operating point: `slide_threshold`, or 0.5."""
        return UNCHOSEN_THRESHOLD if self.slide_threshold is None else self.slide_threshold

    @field_validator("specificities", "sensitivities")
    @classmethod
    def _check_shares(cls, shares: tuple[float, ...]) -> tuple[float, ...]:
        if any(not 0 < share <= 1 for share in shares):
            raise ValueError(f"shares must be above 0 and at most 1, not {shares}")
        return shares

    @field_validator("false_positives_per_slide")
    @classmethod
    def _check_rates(cls, rates: tuple[float, ...]) -> tuple[float, ...]:
        if not rates or rates[0] <= 0 or any(b <= a for a, b in pairwise(rates)):
            raise ValueError(
                f"false positives per slide must be positive and ascending, not {rates}"
            )
        return rates
