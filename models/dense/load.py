"""Loading of dense predictors from model folders, on any runtime, and whether they can be had."""

from collections.abc import Sequence
from dataclasses import asdict
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from ...storage import ModelError
from ..card import ModelCard
from ..ensemble import Ensemble
from ..quantise import find_quantised_layout, hash_quantised_tiles, load_quantised_tiles
from ..runtimes.allocator import keep_large_buffers
from ..runtimes.apart import convert_apart
from ..runtimes.backend import prepare_keras
from ..runtimes.converted import find_converted, keep_started, load_converted, read_facts
from ..runtimes.forward import Forward, Precision
from ..runtimes.loading import LOADING
from ..runtimes.registry import AUTO, RuntimeChoice, RuntimeName, StartedRuntime, start_runtime
from ..temperature import with_temperature
from ..weights import load_network
from .layout import DenseLayout, cell_steps, draw_probes, least_stride_px, pool_cells
from .predictor import DenseMember, DensePredictor

__all__ = ["check_dense", "convert_dense", "find_cam_stride", "hash_int8", "load_dense_predictor"]

PREDICTORS_KEPT = 2  # in memory of one process


def load_dense_predictor(
    folders: Path | Sequence[Path],
    *,
    stride_px: int,
    runtime: RuntimeName = "auto",
    threads: int | None = None,
    precision: Precision = "float32",
    xla: bool | None = None,
    is_cam: bool = False,
) -> DensePredictor:
    """Load model folders as `load_predictor` does, for cells that lie stride_px apart (window px of
    the finest scale).

    is_cam: the probability of a cell is that of the one feature in its middle, instead of the mean
    of the features of its patch: the class activation map, where the classifier is a 1 × 1
    convolution.

    Raises:
        ModelError: see `load_predictor`; also for a network that cannot be computed on tiles, and
            for a distance of cells that is not a whole number of features.
    """
    choice = RuntimeChoice(runtime=runtime, threads=threads, precision=precision, xla=xla)
    ensemble = Ensemble.load(folders)
    ensemble.check_weights()
    _refuse_other_runtime(ensemble, choice)
    with LOADING:
        return _load(ensemble, ensemble.hash, stride_px, choice, is_cam)


def check_dense(
    ensemble: Ensemble, stride_px: int, choice: RuntimeChoice, *, is_cam: bool = False
) -> None:
    """Check that models can be computed on tiles in that way; for OpenVINO, also convert those that
    never were, which takes up to a minute.

    Raises:
        ModelError: see `load_dense_predictor`.
    """
    _refuse_other_runtime(ensemble, choice)
    layouts = [
        _find_layout(folder, card, stride_px, choice, is_cam)
        for folder, card in zip(ensemble.folders, ensemble.cards, strict=True)
    ]
    cell_steps(ensemble.input_spec, stride_px, (layout.stride_px for layout in layouts))


def find_cam_stride(ensemble: Ensemble) -> int:
    """Return the distance of the features of models, px of the finest scale.

    Raises:
        ModelError: a network that cannot be computed on tiles.
    """
    pairs = zip(ensemble.folders, ensemble.cards, strict=True)
    strides = [_derive_layout(folder, card).stride_px for folder, card in pairs]
    return least_stride_px(ensemble.input_spec, strides)


def hash_int8(ensemble: Ensemble) -> str:
    """Return the hash of the int8 networks for tiles of models; "" unless all have one."""
    pairs = zip(ensemble.folders, ensemble.cards, strict=True)
    found = sorted(hash_quantised_tiles(folder, card) for folder, card in pairs)
    return "+".join(found) if all(found) else ""


def _refuse_other_runtime(ensemble: Ensemble, choice: RuntimeChoice) -> None:
    if choice.precision == "int8" and choice.runtime not in (AUTO, "openvino"):
        raise ModelError(
            f"{', '.join(map(str, ensemble.folders))}: int8 is computed by OpenVINO on a CPU, not "
            f"with --runtime {choice.runtime}; leave one of them out"
        )


@lru_cache(maxsize=PREDICTORS_KEPT)
def _load(
    ensemble: Ensemble, weights: str, stride_px: int, choice: RuntimeChoice, is_cam: bool
) -> DensePredictor:
    keep_large_buffers()
    members: dict[str, DenseMember] = {}
    cards = dict(zip(ensemble.folders, ensemble.cards, strict=True))
    layouts = {
        folder: _find_layout(folder, card, stride_px, choice, is_cam)
        for folder, card in cards.items()
    }
    strides = (layout.stride_px for layout in layouts.values())
    steps = cell_steps(ensemble.input_spec, stride_px, strides)
    for folder, card in cards.items():
        layout = layouts[folder]
        name, forward, difference = _start(folder, card, layout, steps, choice, is_cam)
        scaled = with_temperature(forward, card.temperature)
        members[card.weights_sha256] = DenseMember(
            layout=layout, started=StartedRuntime(name, scaled, difference)
        )
    return DensePredictor(
        spec=ensemble.input_spec,
        steps_px=tuple(steps),
        members=tuple(members[key] for key in sorted(members)),
        hash=weights,
    )


def _find_layout(
    folder: Path, card: ModelCard, stride_px: int, choice: RuntimeChoice, is_cam: bool
) -> DenseLayout:
    if choice.precision == "int8":
        layout = find_quantised_layout(folder, card)
        return layout.of_one_feature() if is_cam else layout
    variant = _variant(stride_px, choice.precision, is_cam)
    kept = _kept_layout(card, variant)
    if kept is None and choice.name == "openvino":
        how = {**asdict(choice), "is_cam": is_cam}
        if convert_apart(convert_dense, card, folder=str(folder), stride_px=stride_px, **how):
            kept = _kept_layout(card, variant)
    if kept is not None:
        return kept
    layout = _derive_layout(folder, card)
    return layout.of_one_feature() if is_cam else layout


def _derive_layout(folder: Path, card: ModelCard) -> DenseLayout:
    prepare_keras()
    from .network import find_layout

    try:
        return find_layout(card)
    except ModelError as error:
        raise ModelError(
            f"{folder}: this network cannot be computed densely: {error}; use --mode exact, or "
            "--first-pass one-orientation"
        ) from error


def _kept_layout(card: ModelCard, variant: str) -> DenseLayout | None:
    """Layout that was kept with the converted network; None if it was not converted."""
    path = find_converted(card, variant)
    facts = read_facts(path) if path is not None else {}
    return DenseLayout.from_json(facts["layout"]) if "layout" in facts else None


def convert_dense(folder: str, **options: Any) -> None:
    """Convert the dense form of the network of a model folder into the cache; options as for
    `load_dense_predictor`."""
    load_dense_predictor(Path(folder), **options)


def _start(
    folder: Path,
    card: ModelCard,
    layout: DenseLayout,
    steps: Sequence[int],
    choice: RuntimeChoice,
    is_cam: bool,
) -> StartedRuntime:
    threads, precision = choice.threads, choice.precision
    if precision == "int8":
        name, odds, difference = load_quantised_tiles(folder, card, threads)
        forward = partial(_score_quantised, odds, layout, steps[0])
        return StartedRuntime(name, forward, difference)
    variant = _variant(steps[0], precision, is_cam)
    probes = draw_probes(layout, steps)
    if choice.name == "openvino":
        converted = load_converted(card, threads, variant, precision, probes=probes)
        if converted is not None:
            return converted
    prepare_keras()
    from ..runtimes.keras_runtime import limit_threads
    from .network import build_dense_network

    limit_threads(threads)
    dense = build_dense_network(card, load_network(folder, card), layout, steps)
    started = start_runtime(dense, choice, probes=probes)
    facts = {"layout": layout.to_json()}
    keep_started(card, dense, started, variant, probes=probes, facts=facts)
    return started


def _score_quantised(
    odds: Forward, layout: DenseLayout, step_px: int, tiles: Sequence[np.ndarray]
) -> np.ndarray:
    return pool_cells(odds(tiles), layout, step_px)


def _variant(stride_px: int, precision: Precision = "float32", is_cam: bool = False) -> str:
    words = f"dense, {'a feature' if is_cam else 'a cell'} every {stride_px} px"
    return words if precision == "float32" else f"{words}, {precision}"
