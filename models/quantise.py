"""A model quantised to int8 beside its weights: MODEL/int8/{network.xml, network.bin, recipe.json}.

Ranges come from real patches: with those of drawn tissue, probabilities moved by up to 0.2.
"""

import hashlib
import importlib.util
import json
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..storage import ModelError, atomic_folder
from .card import ModelCard
from .predictor import load_network
from .runtimes.probes import draw_probes
from .runtimes.registry import TOLERANCES, StartedRuntime, measure_difference

__all__ = ["load_quantised", "quantise_model", "refuse_missing_int8"]

FOLDER, RECIPE = "int8", "recipe.json"
FILES = ("network.xml", "network.bin")
AT_ONCE = 16  # patches


def quantise_model(folder: Path, patches: np.ndarray, *, architecture: str = "") -> float:
    """Quantise the network of a model folder by post-training quantisation (NNCF), and keep it in
    the folder; return the largest difference of a probability from Keras's in float32.

    patches: (N, scales, P, P, 3) uint8 RGB of both classes, normalised as the model takes them; one
    half gives the ranges, on the other half the network is compared. architecture: see
    `load_network`.

    Raises:
        ModelError: a damaged model, NNCF is not installed, or the difference is above 0.1.
    """
    if importlib.util.find_spec("nncf") is None:
        raise ModelError("int8 needs nncf, not installed here; run pip install 'gigaslide[int8]'")
    import nncf

    from .runtimes.openvino_runtime import ConvertedNetwork, start_openvino

    card = ModelCard.load(folder)
    card.check_weights(folder)
    network = load_network(folder, card, architecture=architecture)
    order = np.random.default_rng(0).permutation(len(patches))
    fitted, compared = np.array_split(patches[order], 2)
    nncf.set_log_level(logging.ERROR)
    windows = [window[None] for window in fitted]
    quantised = ConvertedNetwork(
        nncf.quantize(
            start_openvino(network, None).model, nncf.Dataset(windows), subset_size=len(windows)
        ),
        None,
    )
    parts = [compared[first : first + AT_ONCE] for first in range(0, len(compared), AT_ONCE)]
    difference = max(
        float(np.abs(quantised(part) - np.asarray(network.predict_on_batch(part))).max())
        for part in parts
    )
    if not difference <= TOLERANCES["int8"]:
        raise ModelError(
            f"{folder}: in int8 probabilities differ from Keras's by up to {difference:.2g}, more "
            f"than {TOLERANCES['int8']:g}; use float32 or bfloat16"
        )
    with atomic_folder(folder / FOLDER, known_by=RECIPE) as partial:
        quantised.save(partial / FILES[0])
        recipe = {
            "weights_sha256": card.weights_sha256,
            "sha256": _checksums(partial),
            "difference": difference,
            "patches": len(patches),
            "drawn": quantised(draw_probes(card.input_spec.shape)).tolist(),
        }
        (partial / RECIPE).write_text(json.dumps(recipe, indent=1), encoding="utf-8")
    return difference


def refuse_missing_int8(folders: Sequence[Path]) -> None:
    """Raise ModelError if a model folder holds no int8 network."""
    for folder in folders:
        if not (folder / FOLDER / RECIPE).is_file():
            raise ModelError(f"{folder}: has no int8 network; {_advise(folder)}")


def _advise(folder: Path) -> str:
    return f"run gigaslide model quantise {folder} STORE"


def load_quantised(folder: Path, card: ModelCard, threads: int | None) -> StartedRuntime:
    """Load what `quantise_model` kept.

    It was compared with Keras on real patches. On drawn tissue and noise it must give here what it
    gave there: processors differ in how they add in int8. Both differences add up.

    Raises:
        ModelError: nothing was kept, for other weights, it is damaged, or probabilities move by
            more than 0.1.
    """
    from .runtimes.openvino_runtime import ConvertedNetwork

    kept = folder / FOLDER
    advice = _advise(folder)
    refuse_missing_int8([folder])
    try:
        recipe = json.loads((kept / RECIPE).read_text(encoding="utf-8"))
        if recipe["weights_sha256"] != card.weights_sha256:
            raise ModelError(f"{kept}: is of other weights than the model's; {advice}")
        if recipe["sha256"] != _checksums(kept):
            raise ModelError(f"{kept}: damaged; {advice}")
        difference, drawn = float(recipe["difference"]), recipe["drawn"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"{kept / RECIPE}: cannot be read ({error}); {advice}") from error
    network = ConvertedNetwork.load(kept / FILES[0], threads)
    difference += measure_difference(network(draw_probes(card.input_spec.shape)), drawn)
    if not difference <= TOLERANCES["int8"]:
        raise ModelError(
            f"{kept}: on this computer probabilities differ from Keras's by up to "
            f"{difference:.2g}, more than {TOLERANCES['int8']:g}; {advice} here, or use float32"
        )
    return StartedRuntime("openvino", network, difference)


def _checksums(folder: Path) -> dict[str, str]:
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in FILES}
