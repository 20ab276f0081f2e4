"""Settings of the training room."""

from typing import Any, Literal

from pydantic import Field

from ..patching import AugmentSettings
from ..storage import Settings

__all__ = ["TrainSettings"]


class TrainSettings(Settings):
    """How a model is trained: as in Liu et al. 2017, except for what makes a training of minutes to
    hours possible.

    cooldown, colour_warm_up and batch_norm_momentum are ours; 0, 0 and 0.9997 are the paper's.
    """

    width: Literal["full", "small"] = "small"
    """Network: full = InceptionV3 (21.8 million parameters), small = the paper's of 0.3 million."""
    examples: int = Field(default=40_000, ge=1)
    """Patches the network sees in all, repeats counted."""
    batch_size: int = Field(default=32, ge=2)
    """Patches per training step."""
    learning_rate: float = Field(default=0.05, gt=0)
    """Learning rate at the start; the paper's for random weights."""
    halve_every: int = Field(default=2_000_000, ge=1)
    """The learning rate is halved after every so many examples."""
    cooldown: float = Field(default=0.4, ge=0, le=1)
    """Last part of the training over which the learning rate falls to a hundredth; 0 = never, as in
    the paper, whose trainings are long enough without."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Momentum of RMSProp."""
    rho: float = Field(default=0.9, ge=0, lt=1)
    """Decay of RMSProp's mean square."""
    epsilon: float = Field(default=1.0, gt=0)
    """Added to RMSProp's mean square under the root."""
    batch_norm_momentum: float = Field(default=0.95, ge=0, lt=1)
    """How slowly batch normalisation's running statistics follow; TF-Slim's 0.9997 suits millions
    of steps."""
    validate_every: int = Field(default=5_000, ge=1)
    """Examples between two validations, each with a checkpoint."""
    validation_patches: int = Field(default=768, ge=2)
    """Patches of the validation slides that are scored each time, half of each class, always the
    same."""
    augment: AugmentSettings = AugmentSettings()
    use_copies: bool = False
    """Learn from the augmented copies that gigaslide tile --copies stored, in place of changing
    patches anew; augment and colour_warm_up are then without effect."""
    colour_warm_up: float = Field(default=0.5, ge=0, le=1)
    """First part of training over which the colour changes grow from none to their full size; 0 =
    full at once, as in the paper, whose millions of examples can afford the slow start."""
    seed: int = Field(default=0, ge=0)
    """Seed of the first weights, of the order of the patches and of their augmentation."""

    @property
    def architecture(self) -> str:
        """Name of the network in `models.ARCHITECTURES`."""
        return {"full": "inception_v3", "small": "inception_v3_small"}[self.width]

    @property
    def architecture_options(self) -> dict[str, Any]:
        """Options of the network, as a model card holds them."""
        return {"batch_norm_momentum": self.batch_norm_momentum}
