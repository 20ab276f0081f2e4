"""What a cohort of phantom slides should be like."""

from typing import Annotated, Literal

from pydantic import Field

from ..storage import Number, Settings


class PhantomSettings(Settings):
    """Settings of `gigaslide phantom`."""

    slides: Annotated[int, Field(ge=1)] = 24
    """How many slides to make."""

    size_px: Annotated[int, Field(ge=256, le=200_000)] = 6000
    """Width and height of every slide, level-0 px."""

    seed: Annotated[int, Field(ge=0)] = 0
    """The same seed and settings give the same bytes."""

    mpp: Annotated[float, Field(ge=0.2, le=2.0)] = 0.5
    """Size of a level-0 pixel, µm."""

    tumor_share: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Share of the slides that hold tumour."""

    slides_per_patient: Annotated[int, Field(ge=1)] = 2
    """Slides of one patient; they share a label and never part between splits."""

    tile_px: Annotated[Literal[128, 256, 512, 1024], Number] = 256
    """Side of a tile in the TIFF, px."""

    jpeg_quality: Annotated[int, Field(ge=30, le=100)] = 85
    """JPEG quality of the tiles, 1 to 100."""
