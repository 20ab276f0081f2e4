"""Speed of prediction: ratios of medians, rounds in turn in one process, the same weights and
windows.

    python benchmarks/inference/prediction.py [--only PART …] [--model MODEL --slides SLIDE …]
        [--exact-slides N] [--rounds 3]

parts
exact     a phantom slide in mode exact: ours ÷ Keras `predict` over OpenSlide's `read_region`, and
          ours ÷ the network alone on windows in memory; for each of --networks
modes     exact ÷ fast and exact ÷ fastest, processor time, on the slides given, or on two phantoms
          and with a network trained on others (minutes); int8 in the first pass of a model that
          gigaslide model quantise quantised; exact runs once, whatever the --rounds

`memory.py` measures memory, `gpu.py` a GPU, `peers.py` others.
Speeds of networks do not depend on their weights, which are random in exact.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import openslide
from gigaslide.inference import PredictSettings, heatmap_grid, predict_slide
from gigaslide.models import (
    Ensemble,
    build_network,
    hash_int8,
    keep_large_buffers,
    load_dense_predictor,
    load_predictor,
    prepare_keras,
)
from gigaslide.phantom import PhantomSettings, make_slide, plan_cohort
from gigaslide.wsi import CellStatus, Heatmap, InputSpec, Slide, open_slide, orient

GIGASLIDE = Path(sys.executable).with_name("gigaslide")
MPP, CENTRE_PX, ORIENTATIONS = 0.5, 128, 8
NETWORKS = {"inception_v3_small": 8, "compact": 8, "inception_v3": 1}
"""By name, the share of a phantom's cells that is predicted, in eighths: the full network is
slow."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="*", choices=tuple(PARTS), default=tuple(PARTS))
    parser.add_argument("--networks", nargs="*", default=tuple(NETWORKS))
    parser.add_argument("--model", type=Path, help="model folder for modes")
    parser.add_argument("--slides", type=Path, nargs="*", default=(), help="slides for modes")
    parser.add_argument(
        "--exact-slides",
        type=int,
        default=1_000_000,
        help="of modes: predict only the first so many in exact; others take its time per cell",
    )
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    keep_large_buffers()
    prepare_keras()
    with tempfile.TemporaryDirectory() as folder:
        for part in arguments.only:
            PARTS[part](Path(folder), arguments)


def compare_exact(folder: Path, arguments: argparse.Namespace) -> None:
    """Print ours ÷ Keras over OpenSlide, and ours ÷ the network alone."""
    path = make_phantoms(folder / "exact", slides=1, size_px=3000)[0]
    for name in arguments.networks:
        model = save_model(folder / name, name)
        predictor = load_predictor(model)
        settings = PredictSettings()
        with open_slide(path) as slide:
            heatmap = predict_slide(slide, predictor, settings, slide_id="whole")
        cells = cells_inside(heatmap, predictor.spec.patch_px)
        cells = cells[: max(8, len(cells) * NETWORKS.get(name, 8) // 8)]
        keras_model = build_trained(model, name)
        batch = np.zeros((settings.batch_size, *predictor.spec.shape), np.uint8)
        full, rest = divmod(len(cells) * ORIENTATIONS, settings.batch_size)
        batches = [batch] * full + [batch[:rest]] * (rest > 0)
        ways: dict[str, Callable[[], Any]] = {
            "ours": partial(score_cells, path, predictor, cells),
            "Keras over OpenSlide": partial(
                score_with_keras, path, keras_model, predictor.spec, cells
            ),
            "network alone": lambda b=batches, p=predictor: [p(one) for one in b],
        }
        found = {way: run() for way, run in ways.items()}  # compiles
        seconds = take_turns(ways, arguments.rounds)
        difference = np.abs(found["ours"] - found["Keras over OpenSlide"]).max()
        ours = seconds["ours"]
        tell(
            f"{name}, {len(cells)} cells: Keras over OpenSlide ÷ ours "
            f"{seconds['Keras over OpenSlide'] / ours:.2f}, ours ÷ network alone "
            f"{ours / seconds['network alone']:.2f}; {len(cells) / ours:.1f} cells/s of "
            f"{ORIENTATIONS} orientations; largest difference {difference:.1g}"
        )


def cells_inside(heatmap: Heatmap, side_px: int) -> np.ndarray:
    """Return the scored cells whose windows lie on the slide: OpenSlide paints black beyond it."""
    cells = np.argwhere(heatmap.status == CellStatus.SCORED)
    centres, reach = heatmap.cell_centres(cells), side_px / 2
    inside = (centres >= reach) & (centres <= np.array(heatmap.slide_size) - reach)
    return cells[inside.all(axis=1)]


def score_cells(path: Path, predictor: Any, cells: np.ndarray) -> np.ndarray:
    """Score cells by gigaslide."""
    from gigaslide.inference.score import score_windows

    threads = min(4, len(os.sched_getaffinity(0)))
    with open_slide(path) as slide:
        corners = find_corners(slide, predictor.spec, cells)
        scores = score_windows(slide, corners, predictor, PredictSettings(), threads=threads)
    return scores.probability


def find_corners(slide: Slide, spec: InputSpec, cells: np.ndarray) -> np.ndarray:
    """Return the top left corners of the windows of cells, (N, 2) level-0 (x, y)."""
    return heatmap_grid(slide, PredictSettings(), spec).windows_xy(cells)


def score_with_keras(path: Path, network: Any, spec: InputSpec, cells: np.ndarray) -> np.ndarray:
    """Score cells as a plain script does: each window read once by OpenSlide, its orientations in
    one batch of `predict`."""
    size = spec.patch_px, spec.patch_px
    with open_slide(path) as slide:
        corners = find_corners(slide, spec, cells).tolist()
    scores = np.empty(len(cells), np.float32)
    with openslide.OpenSlide(path) as slide:
        for first in range(0, len(cells), 8):
            windows = []
            for x, y in corners[first : first + 8]:
                rgb = np.asarray(slide.read_region((x, y), 0, size).convert("RGB"))
                windows += [orient(rgb[None], turn) for turn in range(ORIENTATIONS)]
            found = network.predict(np.stack(windows), batch_size=64, verbose=0)[:, 1]
            scores[first : first + 8] = found.reshape(-1, ORIENTATIONS).mean(axis=1)
    return scores


def compare_modes(folder: Path, arguments: argparse.Namespace) -> None:
    """Print the time of exact ÷ that of the fast modes, slide by slide and together."""
    model, slides = arguments.model, list(arguments.slides)
    if model is None:
        model = train_on_phantoms(folder)
    if not slides:
        slides = make_phantoms(folder / "modes", slides=2, size_px=6000)
    ways = ways_to_predict(model)
    together = dict.fromkeys(ways, 0.0)
    cells, close, seconds_per_cell = 0, 0, 0.0
    for number, path in enumerate(slides):
        found = ways["fast"](path)
        ways["fastest"](path)  # compiles, as the line before
        of_slide = int(found.scored.sum()), found.count(CellStatus.SCORED)
        seconds = {"exact": seconds_per_cell * of_slide[0]}
        if number < arguments.exact_slides:
            exact = {"exact": partial(ways["exact"], path)}
            seconds = take_turns(exact, 1, clock=time.process_time)
        quick = {way: partial(run, path) for way, run in ways.items() if way != "exact"}
        seconds |= take_turns(quick, arguments.rounds, clock=time.process_time)
        for way, took in seconds.items():
            together[way] += took
        cells, close = cells + of_slide[0], close + of_slide[1]
        if number < arguments.exact_slides:
            seconds_per_cell = together["exact"] / max(cells, 1)
        tell(f"{path.stem}: {share(*of_slide)}; {ratios(seconds)}")
    tell(f"{len(slides)} slides together: {share(cells, close)}; {ratios(together)}")


def ways_to_predict(model: Path) -> dict[str, Callable[[Path], Heatmap]]:
    """Return functions that predict a slide: in each mode, and in fastest by float32 too where the
    first pass is in int8."""
    predictor = load_predictor(model)
    precision = "int8" if hash_int8(Ensemble.load(model)) else "float32"
    tell(f"first pass in {precision}")

    def predict(path: Path, *, mode: Any, dense: Any) -> Heatmap:
        with open_slide(path) as slide:
            settings = PredictSettings(mode=mode)
            return predict_slide(slide, predictor, settings, slide_id=path.stem, dense=dense)

    stride_px = predictor.spec.centre_px
    first = load_dense_predictor(model, stride_px=stride_px, precision=precision)
    ways = {mode: partial(predict, mode=mode, dense=first) for mode in ("exact", "fast", "fastest")}
    if precision != "float32":
        plain = load_dense_predictor(model, stride_px=stride_px)
        ways["fastest in float32"] = partial(predict, mode="fastest", dense=plain)
    return ways


def share(cells: int, close: int) -> str:
    return f"{cells} cells, {close} ({close / max(cells, 1):.1%}) scored exactly by fast"


def ratios(seconds: Mapping[str, float]) -> str:
    exact = seconds["exact"]
    found = [
        f"exact ÷ {way} {exact / took:.1f} ({took:.2f} s)"
        for way, took in seconds.items()
        if way != "exact"
    ]
    return ", ".join([f"exact {exact:.2f} s", *found])


def make_phantoms(folder: Path, *, slides: int, size_px: int) -> list[Path]:
    settings = PhantomSettings(slides=slides, size_px=size_px, mpp=MPP, seed=11)
    plans = plan_cohort(settings)
    for plan in plans:
        make_slide(plan, folder)
    return [folder / "slides" / f"{plan.id}.tif" for plan in plans]


def save_model(folder: Path, name: str) -> Path:
    """Save a model folder with random weights."""
    from gigaslide.models import WEIGHTS, ModelCard, hash_weights

    spec = InputSpec(patch_px=299, centre_px=CENTRE_PX, mpps=(MPP,))
    folder.mkdir(parents=True)
    network = build_network(name, spec)
    network.save_weights(folder / WEIGHTS)
    ModelCard(
        architecture=name,
        input_spec=spec,
        parameters={"all": network.count_params()},
        training={},
        weights_sha256=hash_weights(folder),
    ).save(folder)
    return folder


def build_trained(folder: Path, name: str) -> Any:
    from gigaslide.models import WEIGHTS

    network = build_network(name, InputSpec(patch_px=299, centre_px=CENTRE_PX, mpps=(MPP,)))
    network.load_weights(folder / WEIGHTS)
    return network


def train_on_phantoms(folder: Path) -> Path:
    """Train the default network for some minutes on phantoms that no mode predicts."""
    run = folder / "training"
    for words in (
        ("phantom", run / "phantoms", "--slides", 12, "--size-px", 3000, "--seed", 5),
        ("tile", run / "phantoms" / "cohort.csv", run / "store", "--mpp", MPP),
        ("train", run / "store", run / "model", "--examples", 12_000, "--validate-every", 4_000),
        ("model", "quantise", run / "model", run / "store"),
    ):
        subprocess.run([str(GIGASLIDE), *map(str, words)], check=True)
    return run / "model"


def take_turns(
    ways: Mapping[str, Callable[[], Any]],
    rounds: int,
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Run the ways in turn; return the median seconds of each."""
    took: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, run in ways.items():
            start = clock()
            run()
            took[way].append(clock() - start)
    return {way: statistics.median(found) for way, found in took.items()}


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


PARTS = {"exact": compare_exact, "modes": compare_modes}

if __name__ == "__main__":
    main()
