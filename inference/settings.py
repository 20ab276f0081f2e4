"""Settings of the inference room."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ..models import EncoderSource, Precision, RuntimeName
from ..storage import Number, Settings
from ..wsi import TissueSettings

__all__ = ["FeatureSettings", "FirstPass", "Mode", "PredictSettings", "WindowSettings"]

Mode = Literal["exact", "fast", "fastest"]
FirstPass = Literal["dense", "one-orientation", "coarse", "cam"]
FirstPassPrecision = Literal["auto", "float32", "bfloat16", "int8"]


class WindowSettings(Settings):
    """Settings of which windows of a slide a network sees."""

    min_tissue: float = Field(default=0.5, ge=0, le=1)
    """Minimum share of tissue in a cell; others are background."""
    tissue: TissueSettings = TissueSettings()
    slide_mpp: float | None = Field(default=None, gt=0)
    """µm/px of slides whose file and cohort row do not give it."""
    allow_upsampling: bool = False
    """Accept slides that are coarser than the model's µm/px."""


class PredictSettings(WindowSettings):
    """Settings of a heatmap and of its detections (Liu et al. 2017)."""

    mode: Mode = "exact"
    """Way to score cells. exact: each in all its orientations, as in Liu et al.; the reference of
    both others. fast: a quick first pass over all cells, then exactly those that --exact-above and
    --exact-within choose. fastest: the first pass only."""
    first_pass: FirstPass = "dense"
    """First pass of fast and fastest. dense: the network runs once over large tiles, in one
    orientation. one-orientation: each cell's window in one orientation. coarse: one window for
    2 x 2 cells, in one orientation. cam, of fastest: the class activation map, as dense, but a cell
    is one feature of the network."""
    exact_above: float = Field(default=0.4, ge=0, le=1)
    """Probability in the first pass above which fast scores a cell exactly. After a first pass that
    is not dense, also the 8 neighbours of such a cell."""
    exact_within: float = Field(default=1.0, ge=0)
    """Difference in log-odds, ln(p / (1 - p)). After a dense first pass, a cell that one of its 8
    neighbours exceeds by more than this is no peak: fast keeps its score of the first pass, also
    where --exact-above chose it. 99: every cell that --exact-above chose is scored exactly."""
    stride_px: int | None = Field(default=None, ge=1)
    """Side of a heatmap cell (px at the model's µm/px). Default: the centre square of the model's
    training patches."""
    orientations: Annotated[Literal[1, 8], Number] = 8
    """Rotations and reflections averaged per window: all 8, or 1."""
    batch_size: int = Field(default=64, ge=1)
    """Windows per call of the network; each orientation of a window counts as one."""
    runtime: RuntimeName = "auto"
    """Runtime of the network. auto is OpenVINO on a CPU and Keras on a GPU. onnx is ONNX Runtime on
    the CPU, which needs gigaslide[onnx]. Probabilities equal Keras's to 1e-5."""
    precision: Precision = "float32"
    """Numbers that the network computes with. bfloat16 is for GPUs and for CPUs that have it, and
    refused where a probability differs from Keras's in float32 by more than 0.05. int8 is for a
    model of gigaslide model quantise, in OpenVINO."""
    first_pass_precision: FirstPassPrecision = "auto"
    """Numbers of a dense first pass. auto is int8 for a model of gigaslide model quantise that runs
    in OpenVINO, about twice as fast, and else that of --precision; an activation map takes
    --precision. Cells that fast scores exactly take --precision."""
    xla: bool | None = None
    """Compile the network of the Keras runtime with XLA, compared with float32 without it. Default:
    on a GPU, as Keras chooses."""
    architecture: str = ""
    """Module and function (module:function) of a network of your own, as given to gigaslide train.
    Default: the network is one of gigaslide's."""
    allow_tumor_on_glass: bool = False
    """Predict also with a model that calls glass tumour, see gigaslide model check; gigaslide run
    does."""
    detect: Literal["peaks", "components"] = "peaks"
    """Rule of the detections. peaks: highest cells, at least radius-um apart (Liu et al.);
    components: one detection for each region of touching cells above the threshold, at its highest
    cell."""
    radius_um: float = Field(default=192.0, gt=0)
    """Minimum distance between peaks (µm). Around a detection, all cells are suppressed. 192
    are 6 cells of 32 µm, as in Liu et al."""
    threshold: float = Field(default=0.5, ge=0, le=1)
    """Probability above which a cell becomes a detection."""
    splits: tuple[Literal["train", "validation", "test"], ...] = ("test",)
    """Split to predict. Repeatable. In a cohort without splits, all slides."""

    @model_validator(mode="after")
    def _maps_only(self) -> Self:
        if self.mode == "fast" and self.first_pass == "cam":
            raise ValueError("a class activation map is no guess of windows; give mode fastest")
        return self

    @property
    def is_cam(self) -> bool:
        """True if the heatmap is a class activation map."""
        return self.mode == "fastest" and self.first_pass == "cam"

    @property
    def needs_dense(self) -> bool:
        """True if the network runs over tiles that hold many cells."""
        return self.mode != "exact" and self.first_pass in ("dense", "cam")

    @property
    def dense_precision(self) -> Precision:
        """Precision of a dense first pass; for auto, which `predict_cohort` replaces, that of
        patches."""
        chosen = self.first_pass_precision
        return self.precision if chosen == "auto" else chosen


class FeatureSettings(WindowSettings):
    """Settings of the features of a slide's windows."""

    encoder: str
    """Model folder of gigaslide, ONNX file, name of a network (DenseNet121), or module:function of
    your own."""
    encoder_weights: Path | None = None
    """File of weights of a network that is given by name."""
    encoder_card: Path | None = None
    """JSON file with the facts about an encoder: px, µm/px, mean, std, layout, pooling, licence.
    Default: MODEL.json beside MODEL.onnx."""
    patch_px: int | None = Field(default=None, ge=1)
    """Side of a window (px). Default: that of the encoder's card."""
    mpp: float | None = Field(default=None, gt=0)
    """µm per window px. Default: that of the encoder's card."""
    stride_px: int | None = Field(default=None, ge=1)
    """Distance between neighbouring windows (px). Default: the side of a window, without
    overlap."""
    batch_size: int = Field(default=64, ge=1)
    """Windows per call of the encoder."""
    runtime: RuntimeName = "auto"
    """Runtime of a network of gigaslide or keras.applications. auto is OpenVINO on a CPU and Keras
    on a GPU. An ONNX file runs in OpenVINO."""
    architecture: str = ""
    """Module and function (module:function) of a network of your own in a model folder, as given to
    gigaslide train."""
    splits: tuple[Literal["train", "validation", "test"], ...] = ()
    """Split whose slides are encoded. Repeatable. Default: all slides."""

    @property
    def source(self) -> EncoderSource:
        """Source of the encoder."""
        return EncoderSource(
            encoder=self.encoder,
            weights=self.encoder_weights and self.encoder_weights.absolute(),
            card=self.encoder_card and self.encoder_card.absolute(),
            patch_px=self.patch_px,
            mpp=self.mpp,
            architecture=self.architecture,
        )
