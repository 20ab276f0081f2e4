"""Settings of a cohort of phantom slides."""

from typing import Annotated, Literal

from pydantic import Field

from ..storage import Number, Settings
from .difficulty import Grade


class PhantomSettings(Settings):
    """Settings of `gigaslide phantom`."""

    slides: Annotated[int, Field(ge=1)] = 24
    """Number of slides."""

    size_px: Annotated[int, Field(ge=256, le=200_000)] = 6000
    """Width and height of a slide (level-0 px)."""

    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the slides. The same seed and settings give the same bytes."""

    mpp: Annotated[float, Field(ge=0.2, le=2.0)] = 0.5
    """Size of a level-0 pixel (µm/px)."""

    tumor_share: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Share of slides with tumour."""

    difficulty: Grade | Literal["graded"] = "plain"
    """Difficulty of the slides. plain: lesions of any size, stains of ordinary strength. micro:
    lesions of 0.2 to 0.6 mm. isolated: clusters of tumour cells below 0.2 mm. decoys: benign nests
    that look partly like tumour. faint: a pale stain of another hue. hard: micro, decoys and faint
    together. graded: all of these in turn; the column difficulty tells which."""

    slides_per_patient: Annotated[int, Field(ge=1)] = 2
    """Slides per patient. They share a label and a split."""

    tile_px: Annotated[Literal[128, 256, 512, 1024], Number] = 256
    """Side of a tile in the TIFF (px)."""

    jpeg_quality: Annotated[int, Field(ge=30, le=100)] = 85
    """JPEG quality of the tiles."""
