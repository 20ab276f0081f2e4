"""Card of a model folder: everything needed to use its weights rightly, in JSON."""

import hashlib
import json
import math
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..storage import ModelError, atomic_file
from ..wsi import InputSpec
from .bags.options import BAG_ARCHITECTURE
from .networks.architectures import find_architecture
from .regions.options import REGION_ARCHITECTURE

if TYPE_CHECKING:
    import keras

__all__ = [
    "CARD",
    "ENSEMBLE",
    "WEIGHTS",
    "FeatureInput",
    "ModelCard",
    "OperatingThreshold",
    "Temperature",
    "hash_weights",
    "parameter_counts",
]

CARD = "card.json"
WEIGHTS = "model.weights.h5"
ENSEMBLE = "ensemble.json"  # card of a folder of model folders, see `ensemble`
OLD_WIDTHS = {"full": "inception_v3", "small": "inception_v3_small"}


class OperatingThreshold(BaseModel):
    """Threshold on the slide score, chosen on validation slides."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    value: float = Field(ge=0, le=1)
    """Lowest score of a slide that is called tumour."""
    tumor_slides: int
    """Validation slides that it was chosen on."""
    normal_slides: int
    origin: str
    """Way in which it was chosen, in words."""

    def save(self, path: Path) -> None:
        """Write plain JSON."""
        with atomic_file(path) as partial:
            partial.write_text(self.model_dump_json(indent=1), encoding="utf-8")


class Temperature(BaseModel):
    """Number that divides the log-odds of every patch, so that probabilities are neither too sure
    nor too unsure; fitted on validation patches, half of them tumour."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    value: float = Field(gt=0, allow_inf_nan=False)
    patches: int
    """Validation patches that it was fitted on."""
    log_loss: tuple[float, float]
    """Mean log loss of these patches without it and with it, nats."""
    calibration_error: tuple[float, float]
    """Expected calibration error of these patches without it and with it."""

    @property
    def origin(self) -> str:
        """Describe what it changed."""
        (loss, scaled_loss), (error, scaled_error) = self.log_loss, self.calibration_error
        return (
            f"fitted on {self.patches} validation patches: log loss {loss:.3f} → "
            f"{scaled_loss:.3f}, calibration error {error:.3f} → {scaled_error:.3f}"
        )


class FeatureInput(BaseModel):
    """Features that a model takes instead of pixels."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    encoder: str
    """Name of the encoder."""
    encoder_hash: str
    """SHA-256 of its weights, hexadecimal; empty if unknown."""
    length: int = Field(ge=1)
    """Number of features of a window."""


def _is_patches(task: str) -> bool:
    return task == "patches"


class ModelCard(BaseModel):
    """Facts about a trained network. Unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    format: Literal["gigaslide-model/2"] = "gigaslide-model/2"
    architecture: str
    """Name in `ARCHITECTURES`, or module:function of a network of the user's own, which is only
    recorded: a card never makes gigaslide import it."""
    options: dict[str, Any] = {}
    """Options of the architecture."""
    task: Literal["patches", "regions"] = Field(default="patches", exclude_if=_is_patches)
    """Task of the network: to score patches as a whole, or every px of a region."""
    input_spec: InputSpec
    """Windows the network takes and classes it gives."""
    features: FeatureInput | None = Field(default=None, exclude_if=lambda value: value is None)
    """Features that the network takes, of an encoder that sees the windows; None: it takes the
    windows' pixels."""
    pixels: str = ""
    """Preprocessing inside the network; for readers, never used."""
    parameters: dict[str, int]
    """Numbers in the network: all, trained."""
    training: dict[str, Any]
    """Settings, recipe and figures of the training; for readers, never used."""
    weights_sha256: str
    operating_threshold: OperatingThreshold | None = None
    """None: not chosen yet."""
    temperature: Temperature | None = None
    """None: probabilities as the network gives them."""

    @model_validator(mode="before")
    @classmethod
    def _upgrade(cls, card: Any) -> Any:
        """Read a card of format 1, which had two networks and one scale."""
        if not isinstance(card, dict) or card.get("format") != "gigaslide-model/1":
            return card
        kept = ("parameters", "training", "weights_sha256")
        spec = {name: card[name] for name in ("patch_px", "centre_px", "classes")}
        return {
            "architecture": OLD_WIDTHS[card["width"]],
            "input_spec": {**spec, "mpps": [card["mpp"]]},
            **{name: card[name] for name in kept},
        }

    @classmethod
    def load(cls, folder: Path) -> "ModelCard":
        """Read the card of a model folder.

        Raises:
            ModelError: no model folder, a damaged card, or an architecture that this version does
                not know.
        """
        try:
            card = cls.model_validate(json.loads((folder / CARD).read_text(encoding="utf-8")))
            if (card.architecture == BAG_ARCHITECTURE) != (card.features is not None):
                raise ValueError(f"architecture {card.architecture}: features are not as it needs")
            if (card.architecture == REGION_ARCHITECTURE) != (card.task == "regions"):
                raise ValueError(f"architecture {card.architecture}: is not for task {card.task}")
            if card.features is None and card.task == "patches":
                find_architecture(card.architecture)
        except ModelError as error:
            raise ModelError(f"{folder}: {error}; update gigaslide") from error
        except (OSError, ValueError, KeyError) as error:
            if (folder / ENSEMBLE).is_file():
                raise ModelError(
                    f"{folder}: is an ensemble, and a single model is needed; give one of its "
                    f"members, such as {folder / 'member_1'}"
                ) from error
            if not folder.is_dir():
                raise ModelError(
                    f"{folder}: no such folder; check the path, or make a model with gigaslide "
                    "train"
                ) from error
            why = (
                "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
                if isinstance(error, ValidationError)
                else f"it has no {CARD}"
                if isinstance(error, FileNotFoundError)
                else str(error)
            )
            raise ModelError(
                f"{folder}: not a model folder ({why}); make one with gigaslide train"
            ) from error
        return card

    @property
    def hash(self) -> str:
        """Hash of what probabilities depend on: that of the weights, and with a temperature another
        one."""
        if self.temperature is None:
            return self.weights_sha256
        scaled = f"{self.weights_sha256} {self.temperature.value!r}"
        return hashlib.sha256(scaled.encode()).hexdigest()

    def save(self, folder: Path) -> None:
        with atomic_file(folder / CARD) as partial:
            partial.write_text(self.model_dump_json(indent=1), encoding="utf-8")

    def check_weights(self, folder: Path) -> None:
        """Compare the weights with the card. A process reads a file only once.

        Raises:
            ModelError: the weights are missing or are not those of the card.
        """
        try:
            found = hash_weights(folder)
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


def hash_weights(folder: Path) -> str:
    """SHA-256 of a folder's weights, hexadecimal.

    Raises:
        OSError: the file cannot be read.
    """
    path = folder / WEIGHTS
    stat = path.stat()
    return _hash_file(path, stat.st_size, stat.st_mtime_ns, stat.st_ino)


@lru_cache(maxsize=64)
def _hash_file(path: Path, *_identity: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def parameter_counts(network: "keras.Model") -> dict[str, int]:
    """Count the numbers in a network: {"all": …, "trained": …}."""
    trained = sum(math.prod(weight.shape) for weight in network.trainable_weights)
    return {"all": int(network.count_params()), "trained": int(trained)}
