"""Prediction on a GPU: how fast the network is, how much of that a slide gets, and how many cores
it takes to feed it.

    python benchmarks/inference/gpu.py [--network inception_v3] [--precision bfloat16]
        [--batches 64 256 512] [--size-px 6000] [--rounds 3] [--no-xla]

Prints, for the device that Keras uses
peak     multiply-adds per second of products of large matrices in that precision
network  for each size of batch, windows per second on a batch in memory, and the share of the peak
slide    a phantom slide in mode exact (8 orientations) with the best batch: windows per second,
         share of the network alone, seconds per gigapixel of tissue
reader   CPU seconds of reading, decoding and orienting the same windows without a network, and the
         cores that it takes to feed the network at its own speed

Needs gigaslide with TensorFlow for the GPU (docs/gpu.md). Weights are random. With
`--network compact --precision float32 --batches 16 --size-px 1500 --rounds 1` it takes a minute on
a CPU.
"""

import argparse
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from gigaslide.inference import PredictSettings
from gigaslide.inference.score import find_cells, score_windows
from gigaslide.models import Predictor, keep_large_buffers, load_predictor, prepare_keras
from gigaslide.models.runtimes.device import describe_device
from gigaslide.wsi import CellStatus, open_slide
from prediction import CENTRE_PX, ORIENTATIONS, build_trained, make_phantoms, save_model, tell

GIGAPIXEL = 1e9
CALLS = 8  # of the network in a round


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--network", default="inception_v3")
    parser.add_argument("--precision", default="bfloat16", choices=("float32", "bfloat16"))
    parser.add_argument("--batches", type=int, nargs="+", default=(64, 256, 512))
    parser.add_argument("--size-px", type=int, default=6000, help="side of the phantom slide")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-xla", action="store_true")
    arguments = parser.parse_args()
    keep_large_buffers()
    prepare_keras()
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), arguments)


def measure(folder: Path, arguments: argparse.Namespace) -> None:
    sys.path.append(str(Path(__file__).resolve().parents[1] / "training"))
    from training_runs import matrix_peak, multiply_adds

    model = save_model(folder / "model", arguments.network)
    adds = multiply_adds(build_trained(model, arguments.network))
    peak = matrix_peak(arguments.precision)
    tell(f"peak: {peak / 1e12:.2f} T multiply-adds/s in {arguments.precision}, {describe_device()}")
    predictor = load_predictor(
        model,
        runtime="keras",
        precision=arguments.precision,
        xla=not arguments.no_xla,
    )
    alone = {size: time_network(predictor, size, arguments.rounds) for size in arguments.batches}
    for size, rate in alone.items():
        tell(
            f"network, batches of {size}: {rate:.1f} windows/s, {adds * rate / peak:.0%} of the "
            "peak"
        )
    size, fastest = max(alone.items(), key=lambda pair: pair[1])
    (path,) = make_phantoms(folder / "slide", slides=1, size_px=arguments.size_px)
    settings = PredictSettings(batch_size=size)
    with open_slide(path) as slide:
        grid, status = find_cells(slide, predictor.spec, settings)
    xy = grid.windows_xy(np.argwhere(status == CellStatus.NOT_YET))
    windows = ORIENTATIONS * len(xy)
    score = partial(score_cells, path, xy, settings)
    seconds, _ = take_median(partial(score, predictor), arguments.rounds)
    per_gigapixel = GIGAPIXEL / CENTRE_PX**2 * ORIENTATIONS
    rate = windows / seconds
    tell(
        f"slide, {len(xy)} cells in {ORIENTATIONS} orientations: {rate:.1f} windows/s, "
        f"{rate / fastest:.0%} of the network alone, {adds * rate / peak:.0%} of the peak; "
        f"{per_gigapixel / rate:.0f} s per gigapixel of tissue ({per_gigapixel:.0f} windows)"
    )
    _, cpu = take_median(partial(score, without_network(predictor)), arguments.rounds)
    tell(
        f"reader: {1e3 * cpu / windows:.2f} CPU ms per window; "
        f"{fastest * cpu / windows:.1f} cores feed {fastest:.1f} windows/s"
    )


def time_network(predictor: Predictor, size: int, rounds: int) -> float:
    """Windows per second on a batch in memory."""
    batch = np.random.default_rng(0).integers(0, 256, (size, *predictor.spec.shape), dtype=np.uint8)
    seconds, _ = take_median(lambda: [predictor(batch) for _ in range(CALLS)], rounds)
    return CALLS * size / seconds


def score_cells(path: Path, xy: np.ndarray, settings: PredictSettings, predictor: Any) -> None:
    threads = min(4, len(os.sched_getaffinity(0)))
    with open_slide(path) as slide:
        score_windows(slide, xy, predictor, settings, threads=threads)


def without_network(predictor: Predictor) -> Predictor:
    """Return a predictor that answers 0.5 at once: the time that is left is that of reading."""
    classes = len(predictor.spec.classes)
    return replace(predictor, forward=lambda patches: np.full((len(patches), classes), 0.5))


def take_median(run: Callable[[], Any], rounds: int) -> tuple[float, float]:
    """Seconds and CPU seconds of a run after one that compiles; medians."""
    run()
    found = []
    for _ in range(max(1, rounds)):
        start = time.perf_counter(), time.process_time()
        run()
        found.append((time.perf_counter() - start[0], time.process_time() - start[1]))
    seconds, cpu = (statistics.median(pair[which] for pair in found) for which in (0, 1))
    return max(seconds, math.ulp(1.0)), cpu


if __name__ == "__main__":
    main()
