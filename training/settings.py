"""Settings of the training room."""

import math
import operator
from collections.abc import Mapping
from typing import Any, Literal, get_args

from pydantic import Field, model_validator

from ..models import ArchitectureName, NetworkOptions, Width, check_widths
from ..patching import AugmentSettings
from ..storage import Settings
from ..wsi import InputSpec, StainMethod
from .report.trackers import TrackerName

__all__ = ["RECIPES", "RecipeName", "TrainSettings"]

SHRINK_FROM_PX = 200

RecipeName = Literal["modern", "paper", "probe"]

BestFigure = Literal["patch_auc", "loss", "slide_auc", "froc"]

UNCHANGED = AugmentSettings(
    jitter_px=0, orientations=False, brightness=0, saturation=0, hue=0, contrast=0
)
"""Patches as they are stored."""

RECIPES: Mapping[RecipeName, Mapping[str, Any]] = {
    "modern": {},  # the defaults of the fields
    "paper": {
        "architecture": "inception_v3_small",
        "optimizer": "rmsprop",
        "learning_rate": 0.05,
        "schedule": "halving",
        "cooldown": 0.4,
        "warm_up": 0.0,
        "clip_norm": 0.0,
        "label_smoothing": 0.0,
        "average": 0.0,
        "dropout": 0.0,
        "shrink": 1,
        "stain": "none",
        "colour_warm_up": 0.5,
        "augment": AugmentSettings().model_dump(),
    },
    "probe": {
        "architecture": "efficientnet_lite0",
        "freeze": "towers",
        "examples": 8_000,
        "dropout": 0.0,
        "average": 0.0,
        "stain": "macenko",
        "penalty": 0.1,
        "augment": UNCHANGED.model_dump(),
    },
}
"""Values of the fields that a recipe sets where the user does not."""

MODERN_AUGMENT = AugmentSettings(
    brightness=0.1, saturation=0.2, hue=0.02, contrast=0.2, stain=0.3, stain_shift=0.05
)


def _is_none(value: Any) -> bool:
    return value is None


class TrainSettings(Settings):
    """Settings of a training. The recipe `paper` is that of Liu et al. 2017, except where minutes
    or hours of training need something else."""

    recipe: RecipeName = "modern"
    """Set of defaults. An option given beside it wins. paper is that of Liu et al.; probe is a
    linear classifier on the features of trained weights, in minutes, and the default where initial
    weights are given."""
    architecture: ArchitectureName = "compact"
    """Network, or module:function of your own. Names with capitals: keras.applications.
    compact has 0.2 million parameters and learns in minutes; inception_v3 (21.8 million) and
    inception_v3_small (0.3 million) are those of Liu et al."""
    scales: tuple[float, ...] = ()
    """Scales that the network sees (µm/px), one tower for each: the finest of the store, and others
    that it holds. Repeatable. Default: the finest."""
    initial_weights: str = ""
    """Weights to begin with: a model folder, a .weights.h5 or .keras file, or imagenet; the recipe
    is then probe, unless it is given. Default: random."""
    shrink: int | None = Field(default=None, ge=1, le=8)
    """Factor by which the network first shrinks its patches. Default: 2 for patches of 200 px or
    more, else 1; always 1 with recipe paper."""
    widths: tuple[Width, ...] = Field(default=(), exclude_if=operator.not_)
    """Factor for the filters of every layer: once for all scales, or once for each, the finest
    first. Not for keras.applications, nor for initial weights of other widths. Default: 1."""
    stain: StainMethod | Literal["none"] = "reinhard"
    """Stain normalisation of every patch, fitted to each slide, in training and prediction. none:
    pixels as scanned, as in Liu et al."""
    freeze: str = Field(default="none", pattern=r"^([1-9]\d*|[A-Za-z_]\w*)$")
    """Part of the network that does not learn. towers: all but the classifier; a number N: all but
    the last N layers with weights; the name of a layer or block, such as mixed7: all before it."""
    unfreeze_after: int = Field(default=0, ge=0)
    """Examples after which the frozen part learns too, its batch normalisation excepted. 0 means
    never."""
    unfrozen_rate: float = Field(default=0.1, gt=0)
    """Learning rate from then on, as a share of --learning-rate."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Numbers that layers compute with. bfloat16 is fast on GPUs; weights stay float32."""
    xla: bool | None = None
    """Compile the steps with XLA. Default: on a GPU, as Keras chooses."""
    devices: int = Field(default=1, ge=1)
    """Devices that share each batch: GPUs of this machine."""
    examples: int = Field(default=60_000, ge=1)
    """Patches that the network sees in all, repeats counted."""
    batch_size: int = Field(default=32, ge=2)
    """Patches per training step."""
    optimizer: Literal["adamw", "rmsprop"] = "adamw"
    """Optimiser."""
    learning_rate: float = Field(default=0.002, gt=0)
    """Highest learning rate. 0.05 suits rmsprop with epsilon 1, as in Liu et al."""
    schedule: Literal["cosine", "halving"] = "cosine"
    """Course of the learning rate: cosine falls to nothing at the end; halving is that of Liu et
    al., see --halve-every and --cooldown."""
    warm_up: float = Field(default=0.05, ge=0, lt=1)
    """First share of the training over which the learning rate grows (cosine only)."""
    halve_every: int = Field(default=2_000_000, ge=1)
    """Examples after which the learning rate is halved (halving only)."""
    cooldown: float = Field(default=0.4, ge=0, le=1)
    """Final share of the training over which the learning rate falls to a hundredth (halving only).
    0: never, as in Liu et al., whose trainings are long enough without."""
    weight_decay: float = Field(default=0.02, ge=0)
    """Weight decay (adamw only)."""
    clip_norm: float = Field(default=1.0, ge=0)
    """Largest norm of the gradient of each array of weights. 0: no limit."""
    label_smoothing: float = Field(default=0.05, ge=0, lt=1)
    """Share of each label that is spread over both classes."""
    average: float = Field(default=0, ge=0, lt=1)
    """Momentum of the running mean of the weights, which is validated and kept. 0: the weights
    themselves."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Momentum (rmsprop only)."""
    rho: float = Field(default=0.9, ge=0, lt=1)
    """Decay of the mean square (rmsprop only)."""
    epsilon: float = Field(default=1.0, gt=0)
    """Constant added to the mean square under the root (rmsprop only)."""
    batch_norm_momentum: float = Field(default=0.95, ge=0, lt=1)
    """Momentum of the running statistics of batch normalisation. The 0.9997 of TF-Slim suits
    millions of steps."""
    dropout: float = Field(default=0.2, ge=0, lt=1)
    """Share of the features left out at random before the classifier."""
    validate_every: int = Field(default=5_000, ge=1)
    """Examples between two validations. Each writes a checkpoint."""
    validation_patches: int = Field(default=768, ge=2)
    """Patches scored in each validation: half of each class, always the same ones."""
    validate_slides_every: int = Field(default=0, ge=0)
    """Examples between two validations on whole validation slides, with slide AUC and FROC. 0
    means never."""
    best: BestFigure = "patch_auc"
    """Validation figure by which the best weights are chosen. slide_auc and froc need
    --validate-slides-every."""
    patience: int = Field(default=0, ge=0)
    """Number of validations in a row without a better figure (--best) after which the training
    ends early. 0: never."""
    checkpoint_minutes: float = Field(default=5.0, ge=0)
    """Time between two checkpoints, besides those of the validations. What has been learnt since
    the last one is lost when the process is killed."""
    calibrate: bool | None = None
    """Fit a temperature to the validation patches, which divides the log-odds of every prediction.
    A finished model is not trained again: --calibrate adds it, --no-calibrate removes it. Default:
    none for a new model, and a finished one stays as it is."""
    penalty: float | None = Field(default=None, gt=0, exclude_if=_is_none)
    """Strength of the L2 regularisation of a probe; larger is more cautious (recipe probe only).
    Default: 0.1."""
    augment: AugmentSettings = MODERN_AUGMENT
    corrected: float | None = Field(default=None, ge=0, le=1, exclude_if=_is_none)
    """Share of each batch that is drawn from patches of corrections, where the store has any. See
    gigaslide tile --from-corrections. Default: 0.25."""
    use_copies: bool = False
    """Learn from the copies stored by gigaslide tile --copies. Patches are then not augmented while
    training: augment and colour_warm_up have no effect."""
    colour_warm_up: float = Field(default=0.0, ge=0, le=1)
    """First share of the training over which the colour changes grow to their full size. 0: full
    from the start, as in Liu et al."""
    members: int = Field(default=1, ge=1, le=100)
    """Networks to train, with --seed and the seeds after it. Training on features has 3
    without it. From 2 on the model is an ensemble, which predicts their mean."""
    seed: int = Field(default=0, ge=0)
    """Seed of initial weights, order of patches, augmentation."""
    track: tuple[TrackerName, ...] = ()
    """Experiment tracker that is told of every validation. Repeatable. They need
    gigaslide[track] and write to MODEL.tracking beside the model."""

    @model_validator(mode="before")
    @classmethod
    def _follow_recipe(cls, given: Any) -> Any:
        """Fill in the values of the recipe, and of its colours, that are not given."""
        if not isinstance(given, dict):
            return given
        recipe = given.get("recipe", "probe" if given.get("initial_weights") else "modern")
        if recipe not in get_args(RecipeName):
            return given  # which is told as any wrong value
        preset = dict(RECIPES[recipe])
        colours = {**MODERN_AUGMENT.model_dump(), **preset.pop("augment", {})}
        augment = given.get("augment", {})
        if isinstance(augment, AugmentSettings):
            augment = augment.model_dump(exclude_unset=True)
        if isinstance(augment, Mapping):
            augment = {**colours, **augment}
        return {**preset, "recipe": recipe, **given, "augment": augment}

    @model_validator(mode="after")
    def _has_features(self) -> "TrainSettings":
        if self.recipe == "probe":
            self._check_probe()
        elif self.penalty is not None:
            raise ValueError("only recipe probe has a penalty; leave it out")
        if self.freeze != "none" and not self.initial_weights:
            raise ValueError(
                "layers that are frozen at random values learn nothing; give initial "
                "weights, or freeze none"
            )
        if self.unfreeze_after and self.freeze == "none":
            raise ValueError("nothing is frozen; give freeze, or leave unfreeze_after out")
        check_widths(self.architecture, self.widths, scales=max(1, len(set(self.scales))))
        if self.best in ("slide_auc", "froc") and not self.validate_slides_every:
            raise ValueError(f"best {self.best} needs whole slides; give validate_slides_every")
        if self.batch_size % self.devices:
            raise ValueError(
                f"a batch of {self.batch_size} patches cannot be divided over {self.devices} "
                "devices; change batch_size"
            )
        return self

    def _check_probe(self) -> None:
        if not self.initial_weights:
            raise ValueError(
                "recipe probe learns from the features of a trained network; give its weights "
                "(--initial-weights), such as those of make study-weights"
            )
        if self.penalty is None:
            raise ValueError("recipe probe needs a penalty; leave it out for the default")
        if self.use_copies or self.augment != UNCHANGED:
            raise ValueError(
                "recipe probe learns from patches as they are stored, whose features are kept; "
                "leave out augment and use_copies"
            )

    @property
    def unfreeze_step(self) -> int | None:
        """Step from which the frozen part learns too, if it ever does."""
        return math.ceil(self.unfreeze_after / self.batch_size) if self.unfreeze_after else None

    def network_options(self, spec: InputSpec) -> NetworkOptions:
        """Return the options of a network for patches of that kind."""
        own = NetworkOptions.model_fields
        given = self.model_dump(include=set(own), exclude_none=True)
        return NetworkOptions(**{"shrink": 2 if spec.patch_px >= SHRINK_FROM_PX else 1, **given})
