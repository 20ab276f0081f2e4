"""A trained model in its folder: card.json and weights, never code."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np

from ..storage import ModelError
from .allocator import keep_large_buffers
from .card import CARD, WEIGHTS, ModelCard, hash_of
from .inception import build_classifier, parameter_counts

__all__ = ["Classifier", "Engine", "load_classifier", "write_card"]

logger = logging.getLogger(__name__)

Engine = Literal["auto", "openvino", "keras"]
"""What runs a network that is only asked: auto is OpenVINO where Keras sees no GPU."""


class Classifier:
    """A loaded model as a plain function: patches in, tumour probabilities out."""

    def __init__(self, card: ModelCard, forward: Callable[[np.ndarray], np.ndarray]) -> None:
        self.card = card
        self._forward = forward
        self._tumor = card.classes.index("tumor")

    def __call__(self, patches: np.ndarray) -> np.ndarray:
        """(N, patch_px, patch_px, 3) uint8 RGB → (N,) float32 in [0, 1].

        Raises:
            ModelError: patches of another size than the model's.
        """
        side = self.card.patch_px
        if patches.shape[1:] != (side, side, 3):
            raise ModelError(
                f"the model takes patches of {side} × {side} px, these are {patches.shape[1:]}"
            )
        return np.asarray(self._forward(patches))[:, self._tumor].astype(np.float32)


def load_classifier(folder: Path, *, engine: Engine = "auto") -> Classifier:
    """Load a model folder: the network is built from the card, then filled; nothing in the folder
    is ever run.

    Raises:
        ModelError: card or weights missing, damaged or not of one training; or OpenVINO was asked
        for and cannot do it.
    """
    keep_large_buffers()
    card = ModelCard.load(folder)
    card.check_weights(folder)
    network = build_classifier(width=card.width, patch_px=card.patch_px, classes=len(card.classes))
    try:
        network.load_weights(folder / WEIGHTS)
    except (ValueError, OSError, KeyError) as error:
        raise ModelError(
            f"{folder}: the weights do not fit the network of the card: {error}"
        ) from error
    network.compile()  # so that predict_on_batch is compiled once for each batch size
    return Classifier(card, _forward(network, engine))


def _forward(network: keras.Model, engine: Engine) -> Callable[[np.ndarray], np.ndarray]:
    if engine == "keras" or (engine == "auto" and keras.distribution.list_devices("gpu")):
        return network.predict_on_batch
    try:
        from .on_cpu import on_cpu

        return on_cpu(network)
    except Exception as error:  # whatever a converter of strangers' graphs raises
        if engine == "openvino":
            raise ModelError(
                f"OpenVINO cannot run this model: {error}; --engine keras can"
            ) from error
        logger.warning(
            "OpenVINO cannot run this model, so Keras does, at half the speed: %s", error
        )
        return network.predict_on_batch


def write_card(
    folder: Path,
    network: keras.Model,
    *,
    width: Any,
    patch_px: int,
    centre_px: int,
    mpp: float,
    training: dict[str, Any],
) -> ModelCard:
    """Describe the weights that lie in folder as `model.weights.h5`."""
    card = ModelCard(
        width=width,
        patch_px=patch_px,
        centre_px=centre_px,
        mpp=mpp,
        classes=("normal", "tumor"),
        parameters=parameter_counts(network),
        training=training,
        weights_sha256=hash_of(folder / WEIGHTS),
    )
    (folder / CARD).write_text(card.model_dump_json(indent=1), encoding="utf-8")
    return card
