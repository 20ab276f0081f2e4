"""Settings of the study of starts."""

import re
from pathlib import Path

from pydantic import Field, field_validator

from ...training import FineTuneSettings
from ..settings import PrimaryFigure, StudySettings

__all__ = ["RANDOM", "FinetuneSettings"]

RANDOM = "random"


class FinetuneSettings(StudySettings, FineTuneSettings):
    """Settings of gigaslide study finetune."""

    seeds: int = Field(default=3, ge=1)
    """Trainings of each kind and fold, which differ in their seed."""
    primary: PrimaryFigure = "window_auc"
    """Figure that is tested; all others are exploratory."""
    store: Path | None = None
    """Required: patch store of the cohort's slides, made by gigaslide tile."""
    starts: dict[str, Path] = Field(default_factory=dict)
    """Weights to begin with by their name, such as --starts.imagenet FILE: a model folder or a
    .weights.h5 file of the same network. Repeatable. The first is compared with each other one,
    and with random weights, which are always added."""
    freeze: tuple[str, ...] = ("towers", "10", "none")
    """Part that does not learn: towers (all but the classifier), a number N (all but the last N
    layers with weights), or none. Repeatable."""
    learning_rates: tuple[float, ...] = (0.001, 0.0001)
    """Highest learning rate of AdamW. Repeatable."""
    patches_per_slide: int = Field(default=40, ge=2)
    """Maximum patches of a slide, half of them with tumour where it has any."""

    @field_validator("starts")
    @classmethod
    def _check_names(cls, starts: dict[str, Path]) -> dict[str, Path]:
        for name in starts:
            if not re.fullmatch(r"\w+", name) or name == RANDOM:
                raise ValueError(f"{name!r} is no name of a start: use letters and digits")
        return starts

    @property
    def training(self) -> FineTuneSettings:
        """Settings of the trainings alone."""
        names = FineTuneSettings.model_fields
        return FineTuneSettings(**{name: getattr(self, name) for name in names})
