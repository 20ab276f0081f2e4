"""Settings of the doctor's room."""

from pydantic import Field

from ..eval import EvaluateSettings
from ..inference import PredictSettings
from ..patching import TileSettings
from ..storage import Settings
from ..training import TrainSettings

__all__ = ["DoctorSettings", "SampleSettings"]


class SampleSettings(Settings):
    """How much of a slide is looked at."""

    tiles: int = Field(default=64, ge=1)
    """Tiles of the finest level that are decoded on each slide, spread over its tissue."""
    tiles_per_level: int = Field(default=8, ge=0)
    """Tiles decoded of each other level."""
    patches: int = Field(default=32, ge=1)
    """Patches that are read and compressed on each slide, to learn their bytes and seconds."""
    overview_mpx: float = Field(default=400.0, gt=0)
    """Tissue is not looked for where that would read more than so much (million px)."""
    minutes: float = Field(default=5.0, gt=0)
    """A slide that takes longer is given up: its file or its disk hangs (minutes)."""


class DoctorSettings(Settings):
    """The sample, and the settings of the stages that the cohort is to be fit for."""

    sample: SampleSettings = SampleSettings()
    tile: TileSettings = TileSettings()
    train: TrainSettings = TrainSettings()
    predict: PredictSettings = PredictSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
