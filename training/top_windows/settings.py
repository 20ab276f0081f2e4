"""Settings of a training from slide labels through the highest-scoring windows."""

from typing import Literal

from pydantic import Field, model_validator

from ...inference import PredictSettings, WindowSettings
from ...models import ArchitectureName
from ...wsi import InputSpec, StainMethod
from ..settings import TrainSettings
from ..task.settings import AUGMENT, TaskAugment

__all__ = ["TopWindowSettings"]


class TopWindowSettings(WindowSettings):
    """Settings of a training from slide labels, end to end."""

    top_k: int = Field(default=8, ge=1)
    """Windows of a slide with the highest scores, from which the network learns the slide's label.
    1: the highest alone. No more than the smallest tumour has."""
    sampled_windows: int = Field(default=256, ge=0)
    """Windows of a slide that are scored in a step, drawn at random. 0: all."""
    glass_windows: int = Field(default=1, ge=0)
    """Synthetic windows of empty glass that each step adds as normal ones. 0: none. Only windows
    with tissue are taken from slides, and a network that never saw glass may call it tumour."""
    mpp: float = Field(default=1.0, gt=0)
    """Scale of the windows (µm/px)."""
    patch_px: int = Field(default=128, ge=32)
    """Side of a window (px)."""
    stride_px: int | None = Field(default=None, ge=1)
    """Distance between neighbouring windows (px). Default: the side of a window."""
    epochs: int = Field(default=20, ge=1)
    """Length of the training. After each epoch the validation slides are scored."""
    steps: int = Field(default=50, ge=1)
    """Training steps in an epoch."""
    slides_per_step: int = Field(default=4, ge=2)
    """Slides in a training step, half of them with tumour."""
    learning_rate: float = Field(default=0.001, gt=0)
    """Highest learning rate of AdamW, which falls to nothing as a cosine."""
    weight_decay: float = Field(default=0.02, ge=0)
    """Weight decay of AdamW."""
    architecture: ArchitectureName = "compact"
    """Network, by the names of --architecture."""
    initial_weights: str = ""
    """Weights to begin with, as for --initial-weights. Default: random."""
    freeze: str = Field(default="none", pattern=r"^([1-9]\d*|[A-Za-z_]\w*)$")
    """Part of the network that does not learn, as for --freeze."""
    dropout: float = Field(default=0.2, ge=0, lt=1)
    """Share of the features left out at random before the classifier."""
    stain: StainMethod | Literal["none"] = "reinhard"
    """Stain normalisation, fitted to each slide. none: pixels as scanned."""
    validation_windows: int = Field(default=1024, ge=1)
    """Maximum windows of a validation slide that are scored after each epoch, spread over its
    tissue. The weights of the lowest loss are kept; without such slides, the last."""
    checkpoint_minutes: float = Field(default=5.0, ge=0)
    """Time between two checkpoints, besides those after each epoch."""
    augment: TaskAugment = AUGMENT

    @model_validator(mode="after")
    def _is_consistent(self) -> "TopWindowSettings":
        if self.sampled_windows and self.sampled_windows < self.top_k:
            raise ValueError(
                f"sampled_windows {self.sampled_windows} is less than top_k {self.top_k}; draw more"
            )
        if self.freeze != "none" and not self.initial_weights:
            raise ValueError(
                "layers that are frozen at random values learn nothing; give initial_weights, or "
                "freeze none"
            )
        if self.augment.jitter_px:
            raise ValueError("windows lie on a grid; leave augment.jitter_px out")
        return self

    @property
    def input_spec(self) -> InputSpec:
        """Windows, as a model card holds them."""
        return InputSpec(
            patch_px=self.patch_px,
            centre_px=min(self.patch_px, self.stride_px or self.patch_px),
            mpps=(self.mpp,),
            stain=None if self.stain == "none" else self.stain,
        )

    @property
    def predict_settings(self) -> PredictSettings:
        """Settings by which gigaslide predict scores the same windows."""
        names = ("tissue", "min_tissue", "slide_mpp", "allow_upsampling", "stride_px")
        return PredictSettings(orientations=1, **{name: getattr(self, name) for name in names})

    def network_settings(self, seed: int) -> TrainSettings:
        """Return the settings of the network and its optimiser."""
        names = ("architecture", "initial_weights", "freeze", "dropout", "stain")
        return TrainSettings(
            recipe="modern",
            batch_size=self.slides_per_step * self.top_k,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            label_smoothing=0.0,
            seed=seed,
            **{name: getattr(self, name) for name in names},
        )
