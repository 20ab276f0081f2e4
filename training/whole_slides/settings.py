"""Settings of a training on whole slides."""

from typing import Self

from pydantic import Field

from ...models import WholeSlideArchitecture
from ...storage import Settings

__all__ = ["WholeSlideSettings"]


class WholeSlideSettings(Settings):
    """Settings of a training of a fully convolutional network on pictures of whole slides."""

    architecture: WholeSlideArchitecture = "compact"
    """Network, as far as its cells have 16 px."""
    steps: int = Field(default=200, ge=2)
    """Optimiser steps of a training."""
    patch_steps: float = Field(default=0.5, gt=0, lt=1)
    """Share of the steps that a curriculum takes on patches, before its whole slides."""
    patch_px: int = Field(default=64, ge=32, multiple_of=16)
    """Side of a patch (picture px)."""
    patches_per_step: int = Field(default=16, ge=2)
    """Patches in a step, half of them with tumour."""
    slides_per_step: int = Field(default=4, ge=2)
    """Whole slides in a step, half of them with tumour."""
    learning_rate: float | None = Field(default=None, gt=0)
    """Highest learning rate of AdamW, which falls to nothing as a cosine over all steps. Default:
    0.002 with random weights, 0.0003 with given ones."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Weight decay of AdamW."""
    width: float | None = Field(default=None, gt=0, le=8)
    """Factor for the filters of the network. Default: 0.5 for compact with random weights, else
    1."""
    sharpness: float = Field(default=4.0, gt=0)
    """Sharpness of the log-sum-exp pooling of a slide's cells: small, their mean; large, their
    maximum."""
    checkpoints: int = Field(default=10, ge=2)
    """Number of times that a training is tested, at equal distances; the last is its end."""

    def resolve(self, *, has_weights: bool) -> Self:
        """Return these settings with the width and the learning rate that they stand for.

        has_weights: the network begins with weights that were learnt before.
        """
        is_small = self.architecture == "compact" and not has_weights
        found = {
            "width": self.width or (0.5 if is_small else 1.0),
            "learning_rate": self.learning_rate or (0.0003 if has_weights else 0.002),
        }
        return self.model_copy(update=found)
