"""Settings of an evaluation."""

from itertools import pairwise
from typing import Literal

from pydantic import Field, field_validator

from ..storage import Settings
from ..wsi import GroupMeaning

__all__ = ["EvaluateSettings"]


class EvaluateSettings(Settings):
    """Figures and a report from predictions and annotations."""

    split: Literal["train", "validation", "test", ""] = "test"
    """Split to evaluate; empty, or in a cohort without splits: every slide."""
    groups: dict[str, GroupMeaning] = Field(default_factory=dict)
    """Meaning of further annotation groups, by name: tumor, exclusion or other; as in
    --groups.Stroma other."""
    lesion_mpp: float = Field(default=7.776, gt=0)
    """Scale (µm/px) of the mask in which lesions are labelled where the outlines are too detailed
    to be grown exactly."""
    growth_um: float = Field(default=37.5, ge=0)
    """Growth of annotated tumour on each side (µm); pieces closer than twice that are one
    lesion."""
    itc_um: float = Field(default=275.0, ge=0)
    """Longest axis (µm), growth included, below which a lesion is isolated tumour cells, which
    count neither as found nor as missed."""
    false_positives_per_slide: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
    """False positives per slide at which the FROC curve is read, ascending, the option repeated for
    each; the FROC score is the mean sensitivity."""
    slide_threshold: float = Field(default=0.5, ge=0, le=1)
    """Operating point (probability): slides with at least this score are called tumour; missed
    lesions and false positives are listed for detections with at least this probability."""
    specificities: tuple[float, ...] = (0.9, 0.95)
    """Specificities at which the sensitivity of the slide score is computed, the option repeated
    for each."""
    sensitivities: tuple[float, ...] = (0.9, 0.95)
    """Sensitivities at which the specificity of the slide score is computed, the option repeated
    for each."""
    calibration_bins: int = Field(default=10, ge=2, le=100)
    """Number of equal bins of the calibration curve."""
    subgroups: tuple[str, ...] = ()
    """Columns of the cohort table, such as scanner or centre, for each value of which the figures
    are computed again."""
    official: bool | None = None
    """Add the scores of the two official CAMELYON16 programs; by default if the slides are named as
    CAMELYON16's."""
    pn_stages: bool | None = None
    """Add the pN stages of patients as in CAMELYON17; by default if patients have several slides
    and the cohort has their classes in a column "stage"."""
    resamples: int = Field(default=2000, ge=0)
    """Bootstrap resamples behind every interval; 0: no intervals."""
    confidence: float = Field(default=0.95, gt=0, lt=1)
    """Confidence level of the intervals (share)."""
    seed: int = Field(default=0, ge=0)
    """Seed of the bootstrap."""
    picture_px: int = Field(default=600, ge=64, le=4000)
    """Longer side of the slide pictures in the report (px); smaller where the page would exceed 60
    MB."""
    gallery: int = Field(default=100, ge=0, le=1000)
    """Maximum number of missed lesions, and of false positives, pictured in the report; the tables
    hold all."""

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
