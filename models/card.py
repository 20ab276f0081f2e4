"""The card of a model folder: everything needed to use its weights rightly, in JSON."""

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from ..storage import ModelError

__all__ = ["CARD", "WEIGHTS", "ModelCard", "hash_of"]

CARD = "card.json"
WEIGHTS = "model.weights.h5"


class ModelCard(BaseModel):
    """What a model is and was trained on. Unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    format: Literal["gigaslide-model/1"] = "gigaslide-model/1"
    architecture: Literal["inception_v3"] = "inception_v3"
    width: Literal["full", "small"]
    patch_px: int = Field(ge=75)
    """Side of the input (px)."""
    centre_px: int = Field(ge=1)
    """Side of the centre square that the score speaks of (px)."""
    mpp: float = Field(gt=0)
    """Scale of the patches it was trained on (µm/px)."""
    classes: tuple[str, ...]
    """Names, in the order of the outputs."""
    colour: Literal["RGB in [0, 255], scaled to [-1, 1] inside the network"] = (
        "RGB in [0, 255], scaled to [-1, 1] inside the network"
    )
    parameters: dict[str, int]
    """Numbers in the network: all, trained."""
    training: dict[str, Any]
    """Settings, recipe and figures of the training; for readers, never used."""
    weights_sha256: str

    @field_validator("classes")
    @classmethod
    def _knows_tumor(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        if "tumor" not in classes:
            raise ValueError(f"one of the classes must be called tumor, they are {classes}")
        return classes

    @classmethod
    def load(cls, folder: Path) -> "ModelCard":
        """Read a folder's card.

        Raises:
            ModelError: no model folder, or a card that says something else.
        """
        try:
            return cls.model_validate(json.loads((folder / CARD).read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            why = (
                "; ".join(e["msg"] for e in error.errors())
                if isinstance(error, ValidationError)
                else error
            )
            raise ModelError(
                f"{folder}: not a model folder ({why}); make one with gigaslide train"
            ) from error

    def check_weights(self, folder: Path) -> None:
        """Raises ModelError where the weights are not those the card speaks of."""
        try:
            found = hash_of(folder / WEIGHTS)
        except OSError as error:
            raise ModelError(
                f"{folder}: no readable {WEIGHTS} ({error}); copy the whole model folder"
            ) from error
        if found != self.weights_sha256:
            raise ModelError(
                f"{folder}: {WEIGHTS} has hash {found[:12]}…, the card says "
                f"{self.weights_sha256[:12]}…; card and weights must come from one training: copy "
                "the folder again"
            )


def hash_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
