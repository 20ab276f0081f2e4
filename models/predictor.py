"""A trained network, or several, as a function: patches in, probabilities out."""

import logging
import threading
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..storage import ModelError
from ..wsi import InputSpec
from .allocator import keep_large_buffers
from .architectures import build_network
from .backend import prepare_keras
from .card import WEIGHTS, ModelCard
from .converted import find_converted, keep_converted
from .device import has_gpu
from .ensemble import Ensemble
from .own_network import refuse_other_network
from .runtimes import AUTO, Forward, RuntimeName, start_runtime
from .temperature import with_temperature

if TYPE_CHECKING:
    import keras

__all__ = ["Predictor", "load_network", "load_predictor"]

logger = logging.getLogger(__name__)

PREDICTORS_KEPT = 2  # in memory of one process


@dataclass(frozen=True, kw_only=True)
class Predictor:
    """Probabilities of patches. Any function of the right shape can be one, which tests use."""

    spec: InputSpec
    forward: Forward
    hash: str
    """Identity of the weights and of the temperature."""
    runtime: str = ""
    """Name of what computes it."""
    members: tuple[Forward, ...] = ()
    """Members of an ensemble, whose mean forward is; empty for a single network."""

    def __call__(self, patches: np.ndarray) -> np.ndarray:
        """(N, scales, P, P, 3) uint8 RGB → (N, classes) float32 in [0, 1].

        Raises:
            ModelError: patches of another shape than the network's.
        """
        self._check_shape(patches)
        return np.asarray(self.forward(patches), np.float32)

    def score_members(self, patches: np.ndarray) -> np.ndarray:
        """(N, scales, P, P, 3) uint8 RGB → (members, N, classes) float32 in [0, 1]; a single
        network has one member.

        Raises:
            ModelError: see `__call__`.
        """
        self._check_shape(patches)
        forwards = self.members or (self.forward,)
        return np.stack([np.asarray(forward(patches), np.float32) for forward in forwards])

    def _check_shape(self, patches: np.ndarray) -> None:
        if patches.shape[1:] != self.spec.shape:
            raise ModelError(
                f"the model takes patches of shape {self.spec.shape} (scales, rows, columns, RGB), "
                f"these have {patches.shape[1:]}"
            )


def load_predictor(
    folders: Path | Sequence[Path],
    *,
    runtime: RuntimeName = "auto",
    threads: int | None = None,
    architecture: str = "",
) -> Predictor:
    """Load one model folder, or several as an ensemble that averages their probabilities; a folder
    may also hold the model folders.

    Networks are built from their cards, then filled; nothing in a folder is ever run. A process
    keeps the last predictors by the hash of their weights, so that asking again costs nothing.
    threads limits what the runtime uses; None = all cores.
    architecture is the module:function of models that have a network of the user's own.

    Raises:
        ModelError: card or weights missing, damaged or not of one training; models that do not go
            together; a network of somebody's own that was not given; or a runtime that cannot run
            them.
    """
    ensemble = Ensemble.load(folders)
    ensemble.check_architecture(architecture)
    ensemble.check_weights()
    with _LOADING:
        return _load(ensemble, ensemble.hash, runtime, threads, architecture)


_LOADING = threading.Lock()  # threads that ask at the same time load once


@lru_cache(maxsize=PREDICTORS_KEPT)
def _load(
    ensemble: Ensemble, weights: str, runtime: RuntimeName, threads: int | None, architecture: str
) -> Predictor:
    keep_large_buffers()
    started: dict[str, tuple[str, Forward]] = {}
    for folder, card in zip(ensemble.folders, ensemble.cards, strict=True):
        name, forward = _start(folder, card, runtime, threads, architecture)
        started[card.weights_sha256] = name, with_temperature(forward, card.temperature)
    names, forwards = zip(*(started[key] for key in sorted(started)), strict=True)
    is_single = len(forwards) == 1
    return Predictor(
        spec=ensemble.input_spec,
        forward=forwards[0] if is_single else _mean_of(forwards),
        hash=weights,
        runtime="+".join(sorted({*names})),
        members=() if is_single else forwards,
    )


def _start(
    folder: Path, card: ModelCard, runtime: RuntimeName, threads: int | None, architecture: str
) -> tuple[str, Forward]:
    """Return the name of the runtime of one model, and its forward pass, without temperature.

    A network that OpenVINO has converted before comes from the cache, without Keras.
    """
    if runtime == "openvino" or (runtime == AUTO and not has_gpu()):
        converted = _load_converted(card, threads)
        if converted is not None:
            return "openvino", converted
    prepare_keras()
    from .keras_runtime import limit_threads

    limit_threads(threads)
    name, forward = start_runtime(
        load_network(folder, card, architecture=architecture), runtime, threads=threads
    )
    save = getattr(forward, "save", None)
    if save is not None:
        keep_converted(card, save)
    return name, forward


def _load_converted(card: ModelCard, threads: int | None) -> Forward | None:
    path = find_converted(card)
    if path is None:
        return None
    from .openvino_runtime import ConvertedNetwork

    try:
        return ConvertedNetwork.load(path, threads)
    except RuntimeError as error:  # whatever OpenVINO dislikes
        logger.info("%s: cannot be loaded; the network is converted again: %s", path, error)
        return None


def _mean_of(forwards: Sequence[Forward]) -> Forward:
    def forward(patches: np.ndarray) -> np.ndarray:
        return np.mean([np.asarray(one(patches), np.float64) for one in forwards], axis=0)

    return forward


def load_network(folder: Path, card: ModelCard, *, architecture: str = "") -> "keras.Model":
    """Build the network of a card and fill it with the folder's weights.

    architecture: the module:function of a network of the user's own, which the card only records.

    Weights files of format 1 also hold the optimiser's state, which is not read.

    Raises:
        ModelError: the weights do not fit, or the network is somebody's own and was not given.
    """
    refuse_other_network(folder, recorded=card.architecture, given=architecture)
    network = build_network(card.architecture, card.input_spec, card.options, trusted=architecture)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # a layer that stays as it was is a fault
            network.load_weights(folder / WEIGHTS)
    except (ValueError, OSError, KeyError, UserWarning) as error:
        raise ModelError(
            f"{folder}: the weights do not fit the network of the card: {error}"
        ) from error
    network.compile()  # so that predict_on_batch is compiled once for each batch size
    return network
