"""Settings of the inference room."""

from typing import Annotated, Literal

from pydantic import Field

from ..models import Runtime
from ..storage import Number, Settings
from ..wsi import TissueSettings

__all__ = ["PredictSettings"]


class PredictSettings(Settings):
    """How a model is slid over a slide, and how its heatmap becomes detections (Liu et al.
    2017)."""

    stride_px: int | None = Field(default=None, ge=1)
    """Side of a heatmap cell (px at the model's µm/px); by default the centre square the model was
    trained on."""
    orientations: Annotated[Literal[1, 8], Number] = 8
    """Average over the 8 rotations and mirrorings of each window, or take it as it is."""
    batch_size: int = Field(default=64, ge=1)
    """Windows per call of the network; the orientations of a window count one each."""
    runtime: Runtime = "auto"
    """Runtime of the network: auto is OpenVINO on a CPU (it equals Keras to 1e-5), Keras where it
    sees a GPU."""
    min_tissue: float = Field(default=0.5, ge=0, le=1)
    """Cells with a smaller share of tissue are background."""
    tissue: TissueSettings = TissueSettings()
    radius_um: float = Field(default=192.0, gt=0)
    """Around a detection all cells are silenced up to this distance (µm): 6 of the paper's cells of
    32 µm."""
    threshold: float = Field(default=0.5, ge=0, le=1)
    """A cell becomes a detection only above this probability."""
    splits: tuple[Literal["train", "validation", "test"], ...] = ("test",)
    """Sides of the split that are predicted, the option repeated for each; in a cohort without
    splits, all."""
    slide_mpp: float | None = Field(default=None, gt=0)
    """µm/px for slides whose file and cohort row do not say it."""
    allow_upsampling: bool = False
    """Accept slides that are coarser than the model's µm/px."""
