"""Settings of the training room."""

from typing import Any

from pydantic import Field

from ..models import ArchitectureName, find_architecture
from ..patching import AugmentSettings
from ..storage import Settings

__all__ = ["TrainSettings"]


class TrainSettings(Settings):
    """Settings of a training: those of Liu et al. 2017, except where minutes or hours of training
    need something else.

    cooldown, colour_warm_up and batch_norm_momentum are ours; 0, 0 and 0.9997 are the paper's.
    """

    architecture: ArchitectureName = "inception_v3_small"
    """Network. inception_v3 has 21.8 million parameters; inception_v3_small, as in Liu et al., has
    0.3 million."""
    examples: int = Field(default=40_000, ge=1)
    """Patches that the network sees in all, repeats counted."""
    batch_size: int = Field(default=32, ge=2)
    """Patches per training step."""
    learning_rate: float = Field(default=0.05, gt=0)
    """Learning rate at the start. The one of Liu et al. for random weights."""
    halve_every: int = Field(default=2_000_000, ge=1)
    """Examples after which the learning rate is halved."""
    cooldown: float = Field(default=0.4, ge=0, le=1)
    """Final share of the training over which the learning rate falls to a hundredth. 0: never, as
    in Liu et al., whose trainings are long enough without."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Momentum of RMSProp."""
    rho: float = Field(default=0.9, ge=0, lt=1)
    """Decay of the mean square in RMSProp."""
    epsilon: float = Field(default=1.0, gt=0)
    """Constant added to the mean square of RMSProp under the root."""
    batch_norm_momentum: float = Field(default=0.95, ge=0, lt=1)
    """Momentum of the running statistics of batch normalisation. The 0.9997 of TF-Slim suits
    millions of steps."""
    validate_every: int = Field(default=5_000, ge=1)
    """Examples between two validations. Each validation writes a checkpoint."""
    validation_patches: int = Field(default=768, ge=2)
    """Patches scored in each validation: half of each class, always the same ones."""
    augment: AugmentSettings = AugmentSettings()
    use_copies: bool = False
    """Learn from the copies stored by gigaslide tile --copies. Patches are then not augmented while
    training: augment and colour_warm_up have no effect."""
    colour_warm_up: float = Field(default=0.5, ge=0, le=1)
    """First share of the training over which the colour changes grow to their full size. 0: full
    from the start, as in Liu et al."""
    seed: int = Field(default=0, ge=0)
    """Seed of the initial weights, the order of the patches and their augmentation."""

    @property
    def architecture_options(self) -> dict[str, Any]:
        """Options of the network that are set here, as a model card holds them."""
        options = find_architecture(self.architecture).options
        return self.model_dump(mode="json", include=set(options.model_fields))
