"""Settings of the inference room."""

from typing import Annotated, Literal

from pydantic import Field

from ..models import RuntimeName
from ..storage import Number, Settings
from ..wsi import TissueSettings

__all__ = ["PredictSettings"]


class PredictSettings(Settings):
    """Settings of a heatmap and of its detections (Liu et al. 2017)."""

    stride_px: int | None = Field(default=None, ge=1)
    """Side of a heatmap cell (px at the model's µm/px). Default: the centre square of the model's
    training patches."""
    orientations: Annotated[Literal[1, 8], Number] = 8
    """Rotations and reflections averaged per window: all 8, or 1."""
    batch_size: int = Field(default=64, ge=1)
    """Windows per call of the network; each orientation of a window counts as one."""
    runtime: RuntimeName = "auto"
    """Runtime of the network. auto is OpenVINO on a CPU (probabilities equal Keras's to 1e-5) and
    Keras on a GPU."""
    architecture: str = ""
    """Module and function (module:function) of a network of your own, as given to gigaslide train.
    Default: the network is one of gigaslide's."""
    min_tissue: float = Field(default=0.5, ge=0, le=1)
    """Minimum share of tissue in a cell; others are background."""
    tissue: TissueSettings = TissueSettings()
    radius_um: float = Field(default=192.0, gt=0)
    """Minimum distance between detections (µm). Around a detection, all cells are suppressed. 192
    are 6 cells of 32 µm, as in Liu et al."""
    threshold: float = Field(default=0.5, ge=0, le=1)
    """Probability above which a cell becomes a detection."""
    splits: tuple[Literal["train", "validation", "test"], ...] = ("test",)
    """Split to predict. Repeatable. In a cohort without splits, all slides."""
    slide_mpp: float | None = Field(default=None, gt=0)
    """µm/px of slides whose file and cohort row do not give it."""
    allow_upsampling: bool = False
    """Accept slides that are coarser than the model's µm/px."""
