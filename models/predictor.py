"""A trained network, or several, as a function: patches in, probabilities out."""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..storage import ModelError
from ..wsi import InputSpec
from .card import ModelCard
from .ensemble import Ensemble
from .quantise import load_quantised
from .runtimes.allocator import keep_large_buffers
from .runtimes.apart import convert_apart
from .runtimes.backend import prepare_keras
from .runtimes.converted import keep_started, load_converted
from .runtimes.forward import Forward, Precision
from .runtimes.loading import LOADING
from .runtimes.probes import draw_probes
from .runtimes.registry import (
    AUTO,
    RuntimeChoice,
    RuntimeName,
    StartedRuntime,
    compiles_each_size,
    start_runtime,
)
from .temperature import with_temperature
from .weights import load_network

if TYPE_CHECKING:
    import keras

__all__ = [
    "Predictor",
    "cut_classifier",
    "load_predictor",
    "start_model",
]

logger = logging.getLogger(__name__)

NetworkPart = Literal["", "features"]
"""The whole network, or all but its classifier; names a variant of a converted network."""
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
    difference: float = 0.0
    """Largest difference of a probability from Keras's that was measured when the runtime started;
    0.0 for Keras."""

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

    @property
    def compiles_each_size(self) -> bool:
        """True if another size of a batch costs another compilation, as it does in Keras and may
        elsewhere."""
        return compiles_each_size(self.runtime)

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
    precision: Precision = "float32",
    xla: bool | None = None,
) -> Predictor:
    """Load one model folder, or several as an ensemble that averages their probabilities; a folder
    may also hold the model folders.

    Networks are built from their cards, then filled; nothing in a folder is ever run. A process
    keeps the last predictors by the hash of their weights, so that asking again costs nothing.
    threads limits what the runtime uses; None = all cores.
    architecture is the module:function of models that have a network of the user's own. precision
    other than float32 is for one runtime or another, see `TOLERANCES`; xla is for Keras, see
    `RuntimeChoice`.

    Raises:
        ModelError: card or weights missing, damaged or not of one training; models that do not go
            together; a network of somebody's own that was not given; or a runtime that cannot run
            them.
    """
    choice = RuntimeChoice(runtime=runtime, threads=threads, precision=precision, xla=xla)
    ensemble = Ensemble.load(folders)
    ensemble.check_architecture(architecture)
    ensemble.check_weights()
    with LOADING:
        return _load(ensemble, ensemble.hash, choice, architecture)


@lru_cache(maxsize=PREDICTORS_KEPT)
def _load(ensemble: Ensemble, weights: str, choice: RuntimeChoice, architecture: str) -> Predictor:
    keep_large_buffers()
    started: dict[str, StartedRuntime] = {}
    for folder, card in zip(ensemble.folders, ensemble.cards, strict=True):
        name, forward, difference = start_model(folder, card, choice, architecture=architecture)
        scaled = with_temperature(forward, card.temperature)
        started[card.weights_sha256] = StartedRuntime(name, scaled, difference)
    names, forwards, differences = zip(*(started[key] for key in sorted(started)), strict=True)
    is_single = len(forwards) == 1
    return Predictor(
        spec=ensemble.input_spec,
        forward=forwards[0] if is_single else _mean_of(forwards),
        hash=weights,
        runtime="+".join(sorted({*names})),
        members=() if is_single else forwards,
        difference=max(differences),
    )


def start_model(
    folder: Path,
    card: ModelCard,
    choice: RuntimeChoice,
    *,
    architecture: str = "",
    part: NetworkPart = "",
) -> StartedRuntime:
    """Start the runtime of one model, or of a part of it, without temperature.

    A network that OpenVINO has converted before comes from the cache, without Keras. Where Keras is
    not loaded yet, another process converts it into the cache.
    """
    threads, precision = choice.threads, choice.precision
    if precision == "int8":
        return _load_int8(folder, card, choice, part)
    variant = " ".join(filter(None, [part, precision if precision != "float32" else ""]))
    if choice.name == "openvino":
        probes = draw_probes(card.input_spec.shape)
        converted = load_converted(card, threads, variant, precision, probes=probes)
        if converted is None and convert_apart(
            convert_model, card, folder=str(folder), part=part, **asdict(choice)
        ):
            converted = load_converted(card, threads, variant, precision, probes=probes)
        if converted is not None:
            return converted
    prepare_keras()
    from .runtimes.keras_runtime import limit_threads

    limit_threads(threads)
    network = load_network(folder, card, architecture=architecture)
    if part == "features":
        network = cut_classifier(network)
    started = start_runtime(network, choice)
    keep_started(card, network, started, variant, probes=draw_probes(card.input_spec.shape))
    return started


def convert_model(folder: str, part: NetworkPart, **choice: Any) -> None:
    """Convert the network of a model folder into the cache; choice: fields of `RuntimeChoice`."""
    path = Path(folder)
    start_model(path, ModelCard.load(path), RuntimeChoice(**choice), part=part)


def _load_int8(
    folder: Path, card: ModelCard, choice: RuntimeChoice, part: NetworkPart
) -> StartedRuntime:
    if part or choice.runtime not in (AUTO, "openvino"):
        raise ModelError(f"{folder}: int8 is for probabilities, by OpenVINO on a CPU")
    return load_quantised(folder, card, choice.threads)


def cut_classifier(network: "keras.Model") -> "keras.Model":
    """Return the network without its last layer, up to the features that the classifier takes.

    Raises:
        ModelError: the last layer is not a dense one.
    """
    import keras

    last = network.layers[-1]
    if not isinstance(last, keras.layers.Dense) or last.output is not network.outputs[0]:
        raise ModelError(
            f"{network.name}: its last layer {last.name} is {type(last).__name__}, but features "
            "are what a last Dense layer takes; end the network with one"
        )
    features = keras.Model(network.inputs, last.input, name="features")
    features.compile()
    return features


def _mean_of(forwards: Sequence[Forward]) -> Forward:
    def forward(patches: np.ndarray) -> np.ndarray:
        return np.mean([np.asarray(one(patches), np.float64) for one in forwards], axis=0)

    return forward
