"""Card of an encoder: what its windows look like and how its output is read, in JSON."""

import json
import math
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, model_validator

from ...storage import ModelError
from ...wsi import InputSpec, StainMethod

__all__ = ["EncoderCard"]

FOR_PEOPLE_AND_CHECKS = (
    "format",
    "name",
    "licence",
    "source",
    "training_slides",
    "training_patients",
)
"""Fields on which no feature depends."""
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Colour = tuple[float, float, float]


class EncoderCard(BaseModel):
    """Facts about an encoder. Unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    format: Literal["gigaslide-encoder/1"] = "gigaslide-encoder/1"
    name: str = ""
    """Name for people. Default: that of the encoder's file, folder or function."""
    patch_px: int = Field(ge=1)
    """Side of a window (px)."""
    mpp: Positive
    """µm per window px."""
    further_mpp: tuple[Positive, ...] = ()
    """Further, coarser scales of a window (µm/px), for an encoder of several scales."""
    stain: StainMethod | None = None
    """Stain normalisation of the pixels; None = pixels as scanned."""
    mean: Colour | None = None
    """Mean of red, green and blue that is subtracted from pixels in [0, 1]; None = nothing is
    subtracted or divided, and the encoder gets pixels from 0 to 255."""
    std: Colour | None = None
    """Standard deviation by which red, green and blue are then divided."""
    layout: Literal["channels_first", "channels_last"] | None = None
    """Axes of the input, (N, 3, rows, columns) or (N, rows, columns, 3); None = told from its
    shape."""
    output: str = ""
    """Name of the output with the features, where a file has several."""
    pooling: Literal["none", "cls", "mean", "cls+mean"] = "none"
    """Rule by which an output of tokens (N, tokens, D) becomes (N, D): the first token (cls), the
    mean of the tokens of the window, or both side by side. mean also averages a map of features
    over its rows and columns. none: the output is (N, D)."""
    prefix_tokens: int = Field(default=1, ge=0)
    """Tokens before those of the window, which mean leaves out: the class token and registers."""
    training_slides: tuple[str, ...] = ()
    """Slides that the encoder learnt from, by their ids in a cohort. They and their patients are
    refused as test slides of a model on its features."""
    training_patients: tuple[str, ...] = ()
    """Patients that the encoder learnt from, as in a cohort's column patient; refused likewise."""
    licence: str = Field(default="", validation_alias=AliasChoices("licence", "license"))
    """Licence of the weights; for readers, never used."""
    source: str = ""
    """Origin of the weights; for readers, never used."""

    @model_validator(mode="after")
    def _is_consistent(self) -> "EncoderCard":
        if (self.mean is None) != (self.std is None):
            raise ValueError("give mean and std together, or neither")
        numbers = (*(self.mean or ()), *(self.std or ()))
        if not all(map(math.isfinite, numbers)) or any(one <= 0 for one in self.std or ()):
            raise ValueError("mean and std must be finite, and std positive")
        if any(abs(one) > 2 for one in numbers):
            raise ValueError("mean and std are of pixels in [0, 1]; divide them by 255")
        if self.pooling.startswith("cls") and self.prefix_tokens < 1:
            raise ValueError(f"pooling {self.pooling} needs prefix_tokens of 1 or more")
        return self

    @property
    def input_spec(self) -> InputSpec:
        """Windows that the encoder takes."""
        return InputSpec(
            patch_px=self.patch_px,
            centre_px=self.patch_px,
            mpps=(self.mpp, *self.further_mpp),
            stain=self.stain,
        )

    @property
    def identity(self) -> dict[str, Any]:
        """Plain JSON on which features depend, for recipes."""
        return self.model_dump(mode="json", exclude=set(FOR_PEOPLE_AND_CHECKS))

    @classmethod
    def load(cls, path: Path, **given: Any) -> "EncoderCard":
        """Read a card; `given` fills in fields that the card leaves out.

        Raises:
            ModelError: no card, a damaged one, or a field given with another value.
        """
        try:
            card = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ModelError(f"{path}: not a readable card of an encoder ({error})") from error
        if not isinstance(card, dict):
            raise ModelError(f"{path}: not a card of an encoder: it holds no JSON object")
        return cls.of_fields(card, str(path), **given)

    @classmethod
    def of_fields(cls, card: dict[str, Any], origin: str, **given: Any) -> "EncoderCard":
        """Check the fields of a card, see `load`; origin begins a message."""
        given = {name: value for name, value in given.items() if value is not None}
        for name, value in given.items():
            if name in card and card[name] != value:
                raise ModelError(
                    f"{origin}: {name} is {card[name]}, and {value} was given; leave out "
                    f"--{name.replace('_', '-')}, or give another encoder"
                )
        try:
            return cls.model_validate({**card, **given})
        except ValidationError as error:
            why = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise ModelError(
                f"{origin}: not a card of an encoder ({why}); see docs/features.md"
            ) from error
