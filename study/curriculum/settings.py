"""Settings of the study of a curriculum."""

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from ...training import WholeSlideSettings
from ...wsi import StainMethod
from ..settings import StudySettings

__all__ = ["Augmentation", "CurriculumSettings"]

Augmentation = Literal["none", "blur"]


class CurriculumSettings(StudySettings, WholeSlideSettings):
    """Settings of gigaslide study curriculum."""

    seeds: int = Field(default=3, ge=1)
    """Trainings of each kind and fold, which differ in their seed."""
    initial_weights: Path | None = None
    """Weights to begin with: a model folder or a .weights.h5 file of the network that
    --architecture names. Default: random."""
    stain: StainMethod | Literal["none"] = "none"
    """Stain normalisation of the pictures."""
    mpp: float = Field(default=8.0, gt=0)
    """Size of a pixel of the slides' pictures (µm/px)."""
    most_px: int = Field(default=768, ge=64)
    """Longest side of a picture (px); larger slides are refused, and need a larger mpp."""
    findings: tuple[str, ...] = ()
    """Further column of the cohort, a finding of the slide: yes, no, or empty where it is unknown.
    Repeatable. Each gets a sigmoid beside that of tumour."""
    augmentation: tuple[Augmentation, ...] = ("none", "blur")
    """Change of the training pictures besides turning: none, or blur (blurred or sharpened at
    random). Repeatable."""
    radius_um: float = Field(default=400.0, gt=0)
    """Minimum distance between two detections of a map (µm)."""

    @field_validator("initial_weights")
    @classmethod
    def _check_weights(cls, source: Path | None) -> Path | None:
        if source is not None and str(source) in ("imagenet", "random"):
            raise ValueError(
                f"{source} is no file: make study-weights fetches ImageNet's weights of "
                "efficientnet_lite0; without this option the network begins at random"
            )
        return source

    @property
    def training(self) -> WholeSlideSettings:
        """Settings of the trainings alone."""
        names = WholeSlideSettings.model_fields
        found = WholeSlideSettings(**{name: getattr(self, name) for name in names})
        return found.resolve(has_weights=self.initial_weights is not None)
