"""A trained U-Net, or several, on tiles: pixels in, a probability for every px out."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import ValidationError

from ...storage import ModelError
from ...wsi import orient
from ..card import ModelCard
from ..ensemble import Ensemble
from ..runtimes.allocator import keep_large_buffers
from ..runtimes.backend import prepare_keras
from ..runtimes.converted import find_converted, keep_started, load_converted, read_facts
from ..runtimes.forward import Precision
from ..runtimes.loading import LOADING
from ..runtimes.probes import draw_tile
from ..runtimes.registry import RuntimeChoice, RuntimeName, start_runtime
from ..tile_predictor import TileMember, TilePredictor
from ..weights import load_weights
from .options import RegionOptions

if TYPE_CHECKING:
    import keras

    from .network import RegionLayout

__all__ = [
    "RegionMember",
    "RegionPredictor",
    "load_region_predictor",
    "restore",
]

PREDICTORS_KEPT = 2  # in memory of one process
PROBE_STEPS = 4  # sides of the tile that is compared with Keras, in steps of the network
VARIANT = "regions"


@dataclass(frozen=True, kw_only=True)
class RegionMember(TileMember):
    """One network on tiles: (1, T, T, 3) uint8 RGB, in a list, → (1, T, T, 1) probabilities."""

    step_px: int
    """See `RegionLayout`."""
    reach_px: int


@dataclass(frozen=True, kw_only=True)
class RegionPredictor(TilePredictor[RegionMember]):
    """Probabilities of the px of tiles."""

    @property
    def step_px(self) -> int:
        """Tiles begin at multiples of this many px from the slide's corner, and end at one."""
        return max(member.step_px for member in self.members)

    @property
    def reach_px(self) -> int:
        """Px at each border of a tile whose probability depends on what lies outside of it."""
        return max(member.reach_px for member in self.members)

    def score_members(self, tile: np.ndarray, *, orientations: int = 1) -> np.ndarray:
        """Score a tile (T, T, 3) uint8 RGB, T a multiple of `step_px`: (members, T, T) float32 in
        [0, 1], the mean over so many orientations, each turned back."""
        if tile.shape[0] != tile.shape[1] or tile.shape[0] % self.step_px:
            raise ModelError(
                f"a tile of {tile.shape[0]} × {tile.shape[1]} px; squares with a side of a "
                f"multiple of {self.step_px} px are needed"
            )
        total = np.zeros((len(self.members), *tile.shape[:2]), np.float64)
        for number in range(orientations):
            turned = np.ascontiguousarray(orient(tile, number))[None]
            for member, found in zip(self.members, total, strict=True):
                scores = np.asarray(member.started.forward([turned]), np.float32)[0]
                found += restore(scores, number)[..., 0]
        return (total / orientations).astype(np.float32)


def restore(image: np.ndarray, orientation: int) -> np.ndarray:
    """Turn (..., rows, columns, channels) back from an orientation, see `orient`."""
    turned = np.rot90(image, -(orientation % 4), axes=(-3, -2))
    return turned[..., ::-1, :] if orientation >= 4 else turned


def load_region_predictor(
    folders: Path | Sequence[Path],
    *,
    runtime: RuntimeName = "auto",
    threads: int | None = None,
    precision: Precision = "float32",
    xla: bool | None = None,
) -> RegionPredictor:
    """Load one model folder that segments regions, or several as an ensemble.

    A process keeps the last predictors. threads limits what the runtime uses; None = all cores.

    Raises:
        ModelError: models of patches or features, damaged ones, or a runtime that cannot run them.
    """
    choice = RuntimeChoice(runtime=runtime, threads=threads, precision=precision, xla=xla)
    ensemble = Ensemble.load(folders)
    for folder, card in zip(ensemble.folders, ensemble.cards, strict=True):
        if card.task != "regions":
            raise ModelError(
                f"{folder}: scores patches, not regions; give a model that gigaslide train "
                "--task regions made"
            )
    if precision == "int8":
        raise ModelError(
            f"{ensemble.folders[0]}: int8 is for models of patches; leave out --precision"
        )
    ensemble.check_weights()
    with LOADING:
        return _load(ensemble, ensemble.hash, choice)


@lru_cache(maxsize=PREDICTORS_KEPT)
def _load(ensemble: Ensemble, weights: str, choice: RuntimeChoice) -> RegionPredictor:
    keep_large_buffers()
    members = {
        card.weights_sha256: _start(folder, card, choice)
        for folder, card in zip(ensemble.folders, ensemble.cards, strict=True)
    }
    ordered = tuple(members[key] for key in sorted(members))
    return RegionPredictor(spec=ensemble.input_spec, members=ordered, hash=weights)


def _start(folder: Path, card: ModelCard, choice: RuntimeChoice) -> RegionMember:
    variant = VARIANT if choice.precision == "float32" else f"{VARIANT} {choice.precision}"
    kept = find_converted(card, variant) if choice.name == "openvino" else None
    if kept is not None:
        layout = read_facts(kept)["layout"]
        probes = _draw_probe(layout["step_px"])
        found = load_converted(card, choice.threads, variant, choice.precision, probes=probes)
        if found is not None:
            return RegionMember(started=found, **layout)
    prepare_keras()
    from ..runtimes.keras_runtime import limit_threads

    limit_threads(choice.threads)
    network, layout = _load_network(folder, card)
    probes = _draw_probe(layout.step_px)
    started = start_runtime(network, choice, probes=probes)
    facts = {"layout": asdict(layout)}
    keep_started(card, network, started, variant, probes=probes, facts=facts)
    return RegionMember(started=started, **asdict(layout))


def _draw_probe(step_px: int) -> list[np.ndarray]:
    return [draw_tile(PROBE_STEPS * step_px)]


def _load_network(folder: Path, card: ModelCard) -> "tuple[keras.Model, RegionLayout]":
    """Build the network of a card, which gives probabilities, and fill it."""
    from .network import build_unet, find_region_layout, with_probabilities

    try:
        options = RegionOptions.model_validate(card.options)
    except ValidationError as error:
        raise ModelError(f"{folder}: options of the card cannot be used: {error}") from error
    network = build_unet(options, None)
    load_weights(network, folder)
    scored = with_probabilities(network)
    scored.compile()
    return scored, find_region_layout(options)
