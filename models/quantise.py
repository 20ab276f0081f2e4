"""A model quantised to int8 beside its weights: MODEL/int8/{network.xml, network.bin, recipe.json},
and tiles.xml and tiles.bin for a dense first pass.

Ranges come from real patches: with those of drawn tissue, probabilities moved by up to 0.2.
"""

import hashlib
import importlib.util
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..storage import ModelError, atomic_folder
from .card import ModelCard
from .dense.layout import DenseLayout, draw_probes, pool_cells, shrink_pixels
from .runtimes.forward import Forward
from .runtimes.probes import draw_probes as draw_patches
from .runtimes.registry import TOLERANCES, StartedRuntime, measure_difference
from .weights import load_network

if TYPE_CHECKING:
    import keras

    from .runtimes.openvino_runtime import ConvertedNetwork

__all__ = [
    "find_quantised_layout",
    "hash_quantised_tiles",
    "load_quantised",
    "load_quantised_tiles",
    "quantise_model",
    "refuse_missing_int8",
]

FOLDER, RECIPE = "int8", "recipe.json"
FILES = ("network.xml", "network.bin")
TILE_FILES = ("tiles.xml", "tiles.bin")
AT_ONCE = 16  # patches


def quantise_model(folder: Path, patches: np.ndarray, *, architecture: str = "") -> float:
    """Quantise the network of a model folder by post-training quantisation (NNCF), and keep it in
    the folder; return the largest difference of a probability from Keras's in float32.

    A network of one scale that can be computed on tiles is kept in that form too.

    patches: (N, scales, P, P, 3) uint8 RGB of both classes, normalised as the model takes them; one
    half gives the ranges, on the other half the network is compared. architecture: see
    `load_network`.

    Raises:
        ModelError: a damaged model, NNCF is not installed, or the difference is above 0.1.
    """
    if importlib.util.find_spec("nncf") is None:
        raise ModelError("int8 needs nncf, not installed here; run pip install 'gigaslide[int8]'")
    card = ModelCard.load(folder)
    card.check_weights(folder)
    network = load_network(folder, card, architecture=architecture)
    order = np.random.default_rng(0).permutation(len(patches))
    fitted, compared = np.array_split(patches[order], 2)
    comparison = _Comparison(folder, compared, network)
    quantised = _quantise(network, [window[None] for window in fitted])
    difference = comparison.measure(quantised)
    recipe: dict[str, Any] = {
        "weights_sha256": card.weights_sha256,
        "difference": difference,
        "patches": len(patches),
        "drawn": quantised(draw_patches(card.input_spec.shape)).tolist(),
    }
    tiles = _quantise_tiles(card, network, fitted)
    if tiles is not None:
        odds, layout = tiles
        found = comparison.measure(lambda part: _score_patches(odds, layout, part))
        recipe["tiles"] = {
            "difference": found,
            "layout": layout.to_json(),
            "drawn": _score_drawn_tile(odds, layout).tolist(),
        }
        difference = max(difference, found)
    with atomic_folder(folder / FOLDER, known_by=RECIPE) as partial:
        quantised.save(partial / FILES[0])
        if tiles is not None:
            tiles[0].save(partial / TILE_FILES[0])
        recipe["sha256"] = _checksums(partial, "tiles" in recipe)
        (partial / RECIPE).write_text(json.dumps(recipe, indent=1), encoding="utf-8")
    return difference


class _Comparison:
    """Comparison of a quantised network with Keras, on patches that it was not fitted to."""

    def __init__(self, folder: Path, patches: np.ndarray, network: "keras.Model") -> None:
        self._folder, self._batches = folder, _batches(patches)
        self._wanted = np.concatenate([network.predict_on_batch(one) for one in self._batches])

    def measure(self, score: Callable[[np.ndarray], np.ndarray]) -> float:
        """Return the largest difference of a probability.

        Raises:
            ModelError: it is too large.
        """
        found = np.concatenate([score(one) for one in self._batches])
        difference = float(np.abs(found - self._wanted).max())
        if not difference <= TOLERANCES["int8"]:
            raise ModelError(
                f"{self._folder}: in int8 probabilities differ from Keras's by up to "
                f"{difference:.2g}, more than {TOLERANCES['int8']:g}; use float32 or bfloat16"
            )
        return difference


def refuse_missing_int8(folders: Sequence[Path]) -> None:
    """Raise ModelError if a model folder holds no int8 network."""
    for folder in folders:
        if not (folder / FOLDER / RECIPE).is_file():
            raise ModelError(f"{folder}: has no int8 network; {_advise(folder)}")


def _batches(patches: np.ndarray) -> list[np.ndarray]:
    return [patches[first : first + AT_ONCE] for first in range(0, len(patches), AT_ONCE)]


def _quantise(network: "keras.Model", inputs: Sequence[np.ndarray]) -> "ConvertedNetwork":
    """Quantise a network; inputs (1, …) give its ranges."""
    import nncf

    from .runtimes.openvino_runtime import ConvertedNetwork, start_openvino

    nncf.set_log_level(logging.ERROR)
    converted = start_openvino(network, None).model
    quantised = nncf.quantize(converted, nncf.Dataset(inputs), subset_size=len(inputs))
    return ConvertedNetwork(quantised, None)


def _quantise_tiles(
    card: ModelCard, network: "keras.Model", patches: np.ndarray
) -> "tuple[ConvertedNetwork, DenseLayout] | None":
    """Quantise the dense form of a network; None if it has several scales, or none."""
    from .dense.network import build_odds_network, find_layout

    if len(card.input_spec.mpps) > 1:
        return None
    try:
        layout = find_layout(card)
    except ModelError:
        return None
    inputs = [shrink_pixels(patch[0], layout.shrink)[None] for patch in patches]
    return _quantise(build_odds_network(card, network), inputs), layout


def _score_patches(odds: Forward, layout: DenseLayout, patches: np.ndarray) -> np.ndarray:
    """Probabilities of whole patches, (N, classes), from the log-odds of their features."""
    shrunk = [shrink_pixels(patch[0], layout.shrink) for patch in patches]
    alone = DenseLayout.from_json({**layout.to_json(), "halo_features": 0})
    found = [pool_cells(odds([patch[None]]), alone, layout.stride_px) for patch in shrunk]
    return np.concatenate([cells[0, 0] for cells in found])


def _score_drawn_tile(odds: Forward, layout: DenseLayout) -> np.ndarray:
    """Probabilities of the cells of a drawn tile, which do not overlap."""
    step_px = layout.features * layout.stride_px
    return pool_cells(odds(draw_probes(layout, [step_px])), layout, step_px)


def load_quantised(folder: Path, card: ModelCard, threads: int | None) -> StartedRuntime:
    """Load what `quantise_model` kept for patches.

    It was compared with Keras on real patches. On drawn tissue and noise it must give here what it
    gave there: processors differ in how they add in int8. Both differences add up.

    Raises:
        ModelError: nothing was kept, for other weights, it is damaged, or probabilities move by
            more than 0.1.
    """
    from .runtimes.openvino_runtime import ConvertedNetwork

    recipe = _read_recipe(folder, card)
    network = ConvertedNetwork.load(folder / FOLDER / FILES[0], threads)
    found = network(draw_patches(card.input_spec.shape))
    return StartedRuntime("openvino", network, _compare(folder, recipe, found))


def load_quantised_tiles(folder: Path, card: ModelCard, threads: int | None) -> StartedRuntime:
    """Load what `quantise_model` kept for tiles, compared as `load_quantised` does: the function
    from a shrunk tile to the log-odds of its features, see `build_odds_network`.

    Raises:
        ModelError: see `load_quantised`; also for a network that has no such form.
    """
    from .runtimes.openvino_runtime import ConvertedNetwork

    layout, made = find_quantised_layout(folder, card), _read_recipe(folder, card)["tiles"]
    odds = ConvertedNetwork.load(folder / FOLDER / TILE_FILES[0], threads)
    difference = _compare(folder, made, _score_drawn_tile(odds, layout))
    return StartedRuntime("openvino", odds, difference)


def find_quantised_layout(folder: Path, card: ModelCard) -> DenseLayout:
    """Return the layout of the int8 network for tiles.

    Raises:
        ModelError: see `load_quantised_tiles`.
    """
    recipe = _read_recipe(folder, card)
    if "tiles" not in recipe:
        raise ModelError(
            f"{folder}: has no int8 network for tiles; {_advise(folder)}, which makes it for "
            "networks of one scale, or give --first-pass-precision float32"
        )
    return DenseLayout.from_json(recipe["tiles"]["layout"])


def hash_quantised_tiles(folder: Path, card: ModelCard) -> str:
    """Return the hash of the int8 network for tiles in a model folder; "" if there is none."""
    try:
        recipe = _read_recipe(folder, card)
    except ModelError:
        return ""
    return recipe["sha256"][TILE_FILES[1]] if "tiles" in recipe else ""


def _read_recipe(folder: Path, card: ModelCard) -> dict[str, Any]:
    """Read the recipe of the int8 networks of a model folder, whose files are whole."""
    kept, advice = folder / FOLDER, _advise(folder)
    refuse_missing_int8([folder])
    try:
        recipe = json.loads((kept / RECIPE).read_text(encoding="utf-8"))
        if recipe["weights_sha256"] != card.weights_sha256:
            raise ModelError(f"{kept}: is of other weights than the model's; {advice}")
        if recipe["sha256"] != _checksums(kept, "tiles" in recipe):
            raise ModelError(f"{kept}: damaged; {advice}")
        recipe["difference"], recipe["drawn"] = float(recipe["difference"]), list(recipe["drawn"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"{kept / RECIPE}: cannot be read ({error}); {advice}") from error
    return recipe


def _compare(folder: Path, made: dict[str, Any], found: np.ndarray) -> float:
    """Return the difference that was measured when a network was made, and that of its results on
    drawn pixels here from those there."""
    difference = made["difference"] + measure_difference(found, made["drawn"])
    if not difference <= TOLERANCES["int8"]:
        raise ModelError(
            f"{folder / FOLDER}: on this computer probabilities differ from Keras's by up to "
            f"{difference:.2g}, more than {TOLERANCES['int8']:g}; {_advise(folder)} here, or use "
            "float32"
        )
    return difference


def _advise(folder: Path) -> str:
    return f"run gigaslide model quantise {folder} STORE"


def _checksums(folder: Path, has_tiles: bool) -> dict[str, str]:
    names = FILES + TILE_FILES if has_tiles else FILES
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
