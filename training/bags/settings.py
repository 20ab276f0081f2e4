"""Settings of a training on bags of features."""

from typing import Literal

from pydantic import Field, model_validator

from ...models import BagOptions, BagPooling
from ...storage import Settings
from ...wsi import GroupMeaning

__all__ = ["BagLabels", "BagSettings"]

BagLabels = Literal["slides", "windows"]


class BagSettings(Settings):
    """Settings of a training on the features of windows."""

    labels: BagLabels = "slides"
    """Labels to learn from. slides: one for each slide; windows: one for each window, from
    the outlines."""
    pooling: BagPooling | None = None
    """Way from the scores of windows to that of the slide: attention (gated, learnt), mean, max or
    log-sum-exp. Default: attention for slide labels, max for window labels."""
    hidden: int = Field(default=128, ge=1)
    """Units of the layer between the features and the classifier."""
    attention: int = Field(default=64, ge=1)
    """Units of each of the two layers of gated attention."""
    feature_dropout: float = Field(default=0.5, ge=0, lt=1)
    """Share of the features left out at random in each step: the same ones for all windows of a
    slide."""
    dropout: float = Field(default=0.25, ge=0, lt=1)
    """Share of the hidden units left out at random in each step."""
    epochs: int = Field(default=20, ge=1)
    """Length of the training: passes over the slides, or the labelled windows, each rounded up to
    whole steps. Fewer examples than a step takes are seen several times in a pass."""
    batch_size: int | None = Field(default=None, ge=1)
    """Slides per training step, or windows with window labels. Default: 8 slides, 128 windows."""
    learning_rate: float = Field(default=0.001, gt=0)
    """Highest learning rate of AdamW, which falls to nothing as a cosine."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Weight decay of AdamW."""
    max_windows: int = Field(default=4096, ge=1)
    """Maximum windows of a slide in a step, drawn at random. Prediction takes all."""
    window_dropout: float = Field(default=0.2, ge=0, lt=1)
    """Share of a slide's windows left out at random in each step."""
    validate_every: int = Field(default=5, ge=1)
    """Epochs between two validations. The weights of the lowest validation loss are kept."""
    groups: dict[str, GroupMeaning] = Field(default_factory=dict)
    """Meaning of an annotation group: tumor, exclusion or other; for window labels. Example:
    --bags.groups.Stroma other."""

    @model_validator(mode="after")
    def _can_be_pooled(self) -> "BagSettings":
        if self.labels == "windows" and self.pooling == "attention":
            raise ValueError(
                "attention is learnt from slide labels; give labels slides, or another pooling"
            )
        return self

    @property
    def options(self) -> BagOptions:
        """Options of the network."""
        default = "attention" if self.labels == "slides" else "max"
        names = ("hidden", "attention", "dropout")
        return BagOptions(
            pooling=self.pooling or default, **{name: getattr(self, name) for name in names}
        )

    @property
    def examples_per_step(self) -> int:
        """Slides, or windows, per training step."""
        return self.batch_size or (8 if self.labels == "slides" else 128)
