"""Settings of the studies: a common base, and a class for each study."""

import re
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from ..models import BagPooling
from ..storage import Settings, SettingsError
from ..training import BagSettings
from ..wsi import GroupMeaning

__all__ = [
    "FINE_TUNED",
    "STRONG_ONLY",
    "WEAK_ONLY",
    "FeatureStudySettings",
    "LabelsSettings",
    "Learner",
    "NoiseSettings",
    "PrimaryFigure",
    "SizeSettings",
    "StudySettings",
    "TransferSettings",
    "WeakSettings",
    "WeakSource",
]

Learner = Literal["weak", "strong"]
PrimaryFigure = Literal["slide_auc", "window_auc"]
WeakSource = Literal["scores", "outlines"]
FINE_TUNED, STRONG_ONLY, WEAK_ONLY = "fine-tuned", "strong-only", "weak-only"
"""Learners of a study of weak labels."""


class StudySettings(Settings):
    """Settings that every study has."""

    folds: int = Field(default=5, ge=1)
    """Folds of the cross-validation, by patient. 1: no folds; the slides of split test are tested,
    the others train."""
    repeats: int = Field(default=1, ge=1)
    """Repetitions of the cross-validation, each with other folds."""
    seeds: int = Field(default=5, ge=1)
    """Trainings of each kind and fold, which differ in their seed."""
    seed: int = Field(default=0, ge=0)
    """Seed of folds, samples, trainings and bootstrap."""
    primary: PrimaryFigure = "slide_auc"
    """Figure that is tested; all others are exploratory."""
    groups: dict[str, GroupMeaning] = Field(default_factory=dict)
    """Meaning of an annotation group: tumor, exclusion or other. Example: --groups.Stroma other."""
    resamples: int = Field(default=2000, ge=100)
    """Bootstrap resamples for every interval."""
    confidence: float = Field(default=0.95, gt=0, lt=1)
    """Coverage of the intervals (share)."""

    @model_validator(mode="after")
    def _check_repeats(self) -> Self:
        if self.folds == 1 and self.repeats > 1:
            raise ValueError("repeats need folds: with folds 1 the cohort's own split is the test")
        return self


class FeatureStudySettings(StudySettings, ABC):
    """Settings of studies that train on features."""

    epochs: int = Field(default=20, ge=1)
    """Length of a training: passes over its slides, or its labelled windows."""
    pooling: BagPooling | None = None
    """Way from the scores of windows to that of the slide, of learners of slide labels: attention
    (gated, learnt), mean, max or log-sum-exp. Default: attention."""

    @property
    def learners_of_bags(self) -> dict[Learner, BagSettings]:
        """Settings of a learner of slide labels (weak), and of one of window labels (strong)."""
        return {
            "weak": BagSettings(labels="slides", pooling=self.pooling, epochs=self.epochs),
            "strong": BagSettings(labels="windows", epochs=self.epochs),
        }

    @property
    @abstractmethod
    def feature_folders(self) -> dict[str, Path]:
        """Folders of features by the name of their encoder, which is empty where there is one.

        Raises:
            SettingsError: none is given.
        """


class OneEncoderSettings(FeatureStudySettings):
    """Settings of studies on features of one encoder."""

    features: Path | None = None
    """Required: folder of features of the cohort's slides, made by gigaslide features."""

    @property
    def feature_folders(self) -> dict[str, Path]:
        if self.features is None:
            raise SettingsError(
                "a study needs features: make them with gigaslide features, then give --features"
            )
        return {"": self.features}


class SampledSettings(OneEncoderSettings):
    """Settings of studies that train on samples of the training slides."""

    draws: int = Field(default=10, ge=1)
    """Samples of each size below few: small samples vary a lot. At least seeds are drawn."""
    few: int = Field(default=24, ge=1)
    """Size below which a sample is small."""
    target: float = Field(default=0.95, gt=0, le=1)
    """Share of the figure with all labels that counts as reached."""

    @field_validator("weak_labels", "strong_labels", "slides", check_fields=False)
    @classmethod
    def _check_sizes(cls, sizes: tuple[int, ...]) -> tuple[int, ...]:
        if any(size < 2 for size in sizes) or list(sizes) != sorted(set(sizes)):
            raise ValueError(f"sizes must ascend from 2 on, not {sizes}")
        return sizes

    def count_seeds(self, size: int | str) -> int:
        """Return how many samples of a size are drawn."""
        is_small = isinstance(size, int) and size < self.few
        return max(self.draws, self.seeds) if is_small else self.seeds


class LabelsSettings(SampledSettings):
    """Settings of gigaslide study labels."""

    weak_labels: tuple[int, ...] = ()
    """Number of slide labels that the weak learner gets. Ascending, repeatable; all labels are
    always added. Default: 6, doubled up to all."""
    strong_labels: tuple[int, ...] = ()
    """Number of window labels that the strong learner gets. Ascending, repeatable; all labels are
    always added. Default: 6, doubled up to all."""
    minutes_per_slide_label: float = Field(default=1.0, gt=0)
    """Expert's time to say whether a slide has tumour (min)."""
    minutes_per_outline: float = Field(default=15.0, gt=0)
    """Expert's time to outline all tumour of a slide (min)."""
    minutes_per_window: float = Field(default=0.1, gt=0)
    """Expert's time to label one window (min)."""


class SizeSettings(SampledSettings):
    """Settings of gigaslide study size."""

    slides: tuple[int, ...] = ()
    """Number of training slides. Ascending, repeatable; all slides are always added. Default: 6,
    doubled up to all."""
    learners: tuple[Learner, ...] = ("weak", "strong")
    """Learner: weak learns from slide labels, strong from window labels. Repeatable."""


class WeakSettings(SampledSettings):
    """Settings of gigaslide study weak."""

    primary: PrimaryFigure = "window_auc"
    """Figure that is tested; all others are exploratory."""
    source: WeakSource = "scores"
    """Source of the weak window labels. scores: those that attention MIL, trained on the slide
    labels of the training side, gives its windows; outlines: slides with quality weak in the
    cohort, which are never tested."""
    slides: tuple[int, ...] = (2, 4, 8, 16)
    """Number of training slides with strong outlines. Ascending, repeatable; all are always
    added."""
    score_above: float = Field(default=0.5, ge=0, lt=1)
    """Score above which source scores labels a window of a tumour slide as tumour; the highest
    window always is."""
    frozen_share: float = Field(default=0.5, ge=0, le=1)
    """Share of the fine-tuning in which only the classifier learns, and the layer below it does
    not."""
    unfrozen_rate: float = Field(default=0.1, gt=0)
    """Factor of the learning rate once all layers are fine-tuned."""

    def count_seeds(self, size: int | str) -> int:
        """Return how many samples of a size are drawn; without strong slides there is nothing to
        draw."""
        return self.seeds if size == 0 else super().count_seeds(size)


class NoiseSettings(OneEncoderSettings):
    """Settings of gigaslide study noise."""

    flipped: tuple[float, ...] = (0.05, 0.1, 0.2, 0.3, 0.4)
    """Share of training labels that are made wrong. Ascending, repeatable; 0 is always added."""
    learners: tuple[Learner, ...] = ("weak", "strong")
    """Learner: weak learns from slide labels, strong from window labels. Repeatable."""

    @field_validator("flipped")
    @classmethod
    def _check_shares(cls, shares: tuple[float, ...]) -> tuple[float, ...]:
        if any(not 0 < share <= 0.5 for share in shares) or list(shares) != sorted(set(shares)):
            raise ValueError(f"shares must ascend, above 0 and up to 0.5, not {shares}")
        return shares


class TransferSettings(FeatureStudySettings):
    """Settings of gigaslide study transfer."""

    encoders: dict[str, Path] = Field(default_factory=dict)
    """Required, two or more: folder of features by the name of its encoder, such as
    --encoders.imagenet DIR. Each is compared with the first."""
    learners: tuple[Learner, ...] = ("strong",)
    """Learner: weak learns from slide labels, strong from window labels. Repeatable."""

    @field_validator("encoders")
    @classmethod
    def _check_names(cls, encoders: dict[str, Path]) -> dict[str, Path]:
        for name in encoders:
            if not re.fullmatch(r"\w[\w.]*", name):
                raise ValueError(f"{name!r} is no name of an encoder: use letters and digits")
        return encoders

    @property
    def feature_folders(self) -> dict[str, Path]:
        if len(self.encoders) < 2:
            raise SettingsError(
                "a study of transfer compares encoders: give two or more, --encoders.first DIR "
                "--encoders.second DIR, each a folder of gigaslide features"
            )
        return self.encoders
