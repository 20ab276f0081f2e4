"""Settings of `gigaslide doctor`."""

from pydantic import Field

from ..eval import EvaluateSettings
from ..inference import PredictSettings
from ..patching import TileSettings
from ..storage import Settings
from ..training import TrainSettings

__all__ = ["DoctorSettings", "SampleSettings"]


class SampleSettings(Settings):
    """The part of a slide that is read."""

    tiles: int = Field(default=64, ge=1)
    """Tiles decoded per slide at the finest level. They are spread over its tissue."""
    tiles_per_level: int = Field(default=8, ge=0)
    """Tiles decoded at each other level."""
    patches: int = Field(default=32, ge=1)
    """Patches read and compressed on each slide, to estimate bytes and time."""
    overview_mpx: float = Field(default=400.0, gt=0)
    """Maximum pixels to read for the tissue mask (million px). Slides that need more are not
    searched for tissue."""
    minutes: float = Field(default=5.0, gt=0)
    """Time limit per slide (minutes), against files or disks that hang."""


class DoctorSettings(Settings):
    """The sample, and the settings of the stages for which the cohort is checked."""

    sample: SampleSettings = SampleSettings()
    tile: TileSettings = TileSettings()
    train: TrainSettings = TrainSettings()
    predict: PredictSettings = PredictSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
