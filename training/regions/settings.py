"""Settings of a training on outlined regions."""

from pydantic import Field, model_validator

from ...inference import WindowSettings
from ...models import NetworkOptions, RegionOptions
from ...wsi import GroupMeaning, InputSpec, StainMethod
from ..task.settings import AUGMENT, TaskAugment

__all__ = ["RegionSettings"]


class RegionSettings(WindowSettings):
    """Settings of a training on outlined regions: a U-Net that scores every px."""

    mpp: float = Field(default=2.0, gt=0)
    """Scale of the pixels that the network sees (µm/px). About 2 to 4 suits regions, 1 glands."""
    crop_px: int = Field(default=256, ge=32)
    """Side of the squares of slides that it learns from (px): a multiple of 16 with 5 stages."""
    cell_px: int = Field(default=8, ge=1)
    """Side of a cell of the heatmap, over which probabilities are averaged (px)."""
    epochs: int = Field(default=20, ge=1)
    """Length of the training. After each epoch the preview is predicted."""
    steps: int = Field(default=60, ge=1)
    """Training steps in an epoch."""
    batch_size: int = Field(default=8, ge=1)
    """Crops in a training step."""
    learning_rate: float = Field(default=0.002, gt=0)
    """Highest learning rate of Adam, which falls to nothing as a cosine."""
    positive: float = Field(default=0.5, ge=0, le=1)
    """Share of the crops that hold a px of the wanted region; the others lie anywhere on tissue
    that was looked at."""
    width: int = Field(default=16, ge=1)
    """Filters of the U-Net at full resolution: 8 make 0.5 million parameters, 16 make 2.0, 32 make
    7.9."""
    stages: int = Field(default=5, ge=2, le=7)
    """Resolutions of the U-Net. An encoder has its own."""
    encoder: str = ""
    """Network that looks at the pixels in place of the U-Net's own convolutions: a name as for
    --architecture, such as MobileNetV2, or a model folder, whose weights it begins with.
    Networks with squeeze-and-excitation (EfficientNet, MobileNetV3) are refused: they use the mean
    of the whole image, and a slide is segmented in tiles."""
    encoder_weights: str = ""
    """Weights that an encoder given by name begins with: a model folder, a .weights.h5 or .keras
    file, or imagenet. Default: random."""
    stain: StainMethod | None = None
    """Stain normalisation, fitted to each slide. Default: pixels as scanned."""
    validation_crops: int = Field(default=64, ge=1)
    """Crops of the validation slides that are scored after each epoch; the weights of the highest
    Dice are kept. Without such slides, the last."""
    previews: int = Field(default=12, ge=1)
    """Crops of the preview: of outlined training slides; a few of others come on top."""
    groups: dict[str, GroupMeaning] = Field(default_factory=dict)
    """Meaning of an annotation group: tumor for what is learnt, exclusion or other. Example:
    --regions.groups.Gland tumor."""
    augment: TaskAugment = AUGMENT

    @model_validator(mode="after")
    def _is_consistent(self) -> "RegionSettings":
        if self.encoder_weights and not self.encoder:
            raise ValueError("encoder_weights are for an encoder; name it, or leave them out")
        if self.cell_px > self.crop_px:
            raise ValueError(f"cell_px {self.cell_px} is larger than crop_px {self.crop_px}")
        if self.augment.jitter_px:
            raise ValueError("crops are drawn anywhere; leave augment.jitter_px out")
        return self

    @property
    def input_spec(self) -> InputSpec:
        """Crops and cells, as a model card holds them."""
        return InputSpec(
            patch_px=self.crop_px, centre_px=self.cell_px, mpps=(self.mpp,), stain=self.stain
        )

    def network_options(self, architecture: str, options: NetworkOptions | None) -> RegionOptions:
        """Return the options of the network. architecture and options: of the encoder, empty and
        None for none."""
        encoder = options.model_dump(mode="json") if options else {}
        return RegionOptions(
            width=self.width,
            stages=self.stages,
            encoder=architecture,
            encoder_options=encoder,
        )
