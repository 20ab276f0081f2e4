"""Settings of the rooms' shared questions: where is tissue, and how slides are read."""

from typing import Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

__all__ = ["Number", "Settings", "TissueSettings"]

Number = BeforeValidator(
    lambda value: int(value) if isinstance(value, str) and value.isdecimal() else value
)
"""Marks a Literal of numbers, which would else refuse the command line's words:
Annotated[Literal[1, 8], Number]."""


class Settings(BaseModel):
    """Base of every stage's settings: frozen, unknown keys refused, docstrings become the help."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class TissueSettings(Settings):
    """Where there is tissue."""

    method: Literal["stain", "grey"] = "stain"
    """stain: coloured over the slide's own glass, and textured where pale. grey: the paper's ≤ 0.8.
    """
    mpp: float = Field(default=8.0, gt=0)
    """Scale at which tissue is looked for (µm/px)."""
    cut_ink: bool = True
    """stain only: blue, green and red pen is no tissue. False for blue or green stains, which have
    a pen's hue."""
    min_area_um2: float = Field(default=10_000.0, ge=0)
    """Smaller pieces of tissue are dirt (µm²)."""
    min_hole_um2: float = Field(default=10_000.0, ge=0)
    """Smaller holes in tissue are filled (µm²)."""
