"""Speed of training: loading, augmentation, the whole step, start-up, memory; ratios of medians.

    python benchmarks/training/steps.py [--store STORE] [--only PART …] [--rounds 5]

Without --store, a store is made: 8 slides of 40 + 40 patches of 315 px, cut from a phantom.

parts        CPU ms of drawing a batch, per patch: reading, stain normalisation, augmentation; and
             augmented patches/s on all cores
loading      patches/s of loading alone, no augmentation: ours, `tf.data` over PNG files, and
             zarr-python in a keras PyDataset; each with as many threads as cores
step         a training step with our input path ÷ one on a batch kept in memory, in turn, and the
             share of the input path in the CPU time
full         the same for full `inception_v3` in bfloat16, as on a GPU: patches/s, and the share of
             the device's own matrix product in bfloat16; not done unless named
limit        multiply-adds of `inception_v3_small` at 139 px per second, as a share of those of a
             large matrix product; and what other batch sizes, XLA, and TensorFlow's graph optimiser
             and oneDNN change
start        seconds and CPU seconds from the command to the first step of `gigaslide train`, also
             with XLA, and until a model that is loaded to predict has scored a batch: first and
             second time
memory       resident memory at the end of each of 3 epochs, and its peak

Ratios come from rounds in turn in one process; start and memory run in processes of their own.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import training_runs
from gigaslide.models import keep_large_buffers, prepare_keras
from gigaslide.patching import PatchStore, TileSettings
from input_path import BATCH, CORES, RECIPES, measure_loading, measure_parts, sampler_of, say

sys.path.append(str(Path(__file__).resolve().parents[1] / "patching"))

import store as store_benchmark

SMALL_PX = 139
TRIES: dict[str, dict[str, Any]] = {
    "as shipped": {},
    "batches of 16": {"batch": 16},
    "batches of 64": {"batch": 64},
    "batches of 128": {"batch": 128},
    "XLA": {"xla": True},
    "graph optimiser on": {"optimiser": True},
    "oneDNN off": {"onednn": "0"},
}

PREDICT = """
import json, os, sys, time
import numpy as np, psutil
from pathlib import Path
from gigaslide.models import load_predictor
predictor = load_predictor(Path(sys.argv[1]), runtime="openvino")
predictor(np.zeros((32, *predictor.spec.shape), np.uint8))
process = psutil.Process()
times = process.cpu_times()
row = {"seconds": time.time() - process.create_time(), "cpu": times.user + times.system}
print(json.dumps(row))
"""
"""Without an import of Keras, which a second start does without."""


def measure_step(
    store: PatchStore, recipes: Mapping[str, str], rounds: int, steps: int, **settings: Any
) -> None:
    for recipe, what in recipes.items():
        network = training_runs.compiled(store, recipe, **settings)
        sampler = sampler_of(store, recipe)
        fed, kept = (
            training_runs.steps_fed(network, sampler),
            training_runs.steps_kept(network, sampler),
        )
        for run in (fed, kept):
            run(4)  # compiles
        pairs = [
            {name: run(steps) for name, run in (("fed", fed), ("kept", kept))}
            for _ in range(rounds)
        ]
        medians = {
            name: [statistics.median(pair[name][k] for pair in pairs) for k in (0, 1)]
            for name in ("fed", "kept")
        }
        ratio = statistics.median(pair["fed"][0] / pair["kept"][0] for pair in pairs)
        cpu = medians["fed"][1] / medians["kept"][1]
        seconds, busy = medians["kept"]
        say(
            f"step, {recipe} ({what}): {seconds:.2f} s with a batch in memory, cores "
            f"{busy / seconds / CORES:.0%} busy; with our input path {ratio:.2f} times that "
            f"(CPU {cpu:.2f}, of which the input path {1 - 1 / cpu:.0%})"
        )
        if settings:
            rate = BATCH / medians["fed"][0]
            peak = training_runs.matrix_peak(settings["precision"])
            share = 3 * training_runs.multiply_adds(network) * rate / peak
            say(f"  {rate:.1f} patches/s, {share:.0%} of {peak / 1e12:.2f} T multiply-adds/s")


def measure_limit(rounds: int) -> None:
    say(f"{f'inception_v3_small, {SMALL_PX} px':<36}{'examples/s':>12}{'ratio':>9}{'of peak':>9}")
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in TRIES}
    for _ in range(max(1, rounds // 2)):
        for name, options in TRIES.items():
            row = run_child("try", options | {"side_px": SMALL_PX})
            rows[name] += [row] if row else []
    base = statistics.median(row["rate"] for row in rows["as shipped"])
    for name, found in rows.items():
        if not found:
            say(f"{name:<36}{'cannot run':>12}")
            continue
        rate, share = (statistics.median(row[key] for row in found) for key in ("rate", "of_peak"))
        say(f"{name:<36}{rate:>12.1f}{rate / base:>9.2f}{share:>9.0%}")


def measure_start(store: PatchStore, work: Path, rounds: int) -> None:
    for recipe, what in RECIPES.items():
        figures = [training_runs.first_step(store, work / "model", recipe) for _ in range(rounds)]
        seconds, cpu = (statistics.median(row[k] for row in figures) for k in (0, 1))
        say(f"start of gigaslide train, {recipe} ({what}): {seconds:.0f} s, {cpu:.0f} s of CPU")
    seconds, cpu = training_runs.first_step(store, work / "model", "paper", "--xla")
    say(f"start of gigaslide train, paper with --xla: {seconds:.0f} s, {cpu:.0f} s of CPU")
    model = training_runs.random_model(store, work / "small")
    cache = work / "cache"
    for name in ("first", "second"):
        row = run_command([sys.executable, "-c", PREDICT, str(model)], GIGASLIDE_CACHE=str(cache))
        assert row
        say(
            f"start of a prediction, {name} time: {row['seconds']:.1f} s, {row['cpu']:.1f} s of CPU"
        )


def measure_memory(store: PatchStore, work: Path) -> None:
    row = run_child("memory", {"store": str(store.path), "folder": str(work / "trained")})
    assert row
    epochs = ", ".join(f"{mb:.0f}" for mb in row["epochs"])
    say(f"resident MB at the end of each epoch: {epochs}; peak {row['peak']:.0f}")


def run_child(name: str, options: Mapping[str, Any]) -> dict[str, Any] | None:
    """Run a program of `training_runs` in a process of its own; None where it fails."""
    one_dnn = {"TF_ENABLE_ONEDNN_OPTS": options["onednn"]} if "onednn" in options else {}
    return run_command(
        [sys.executable, training_runs.__file__, name, json.dumps(dict(options))], **one_dnn
    )


def run_command(command: list[str], **environment: str) -> dict[str, Any] | None:
    environment = {**os.environ, **environment}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        sys.stderr.write(done.stderr[-600:])
        return None
    return json.loads(done.stdout.splitlines()[-1])


def opened(path: Path | None, work: Path) -> PatchStore:
    if path:
        return PatchStore(path)
    settings = TileSettings()
    made = store_benchmark.made_store(
        work / "store", settings, slides=8, per_class=40, of_validation=2
    )
    return PatchStore(made)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = ("parts", "loading", "step", "limit", "start", "memory")
    others = ("full",)
    parser.add_argument("--store", type=Path, help="patch store with training and validation")
    parser.add_argument("--only", nargs="+", choices=names + others, default=names)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=8, help="steps of a round of step")
    options = parser.parse_args()
    prepare_keras()
    keep_large_buffers()
    with tempfile.TemporaryDirectory(prefix="gigaslide-bench-") as folder:
        work = Path(folder)
        store = opened(options.store, work)
        say(f"{len(store.slides)} slides, patches of {store.tile_settings.stored_px} px")
        measures: dict[str, Callable[[], None]] = {
            "parts": lambda: measure_parts(store, options.rounds),
            "loading": lambda: measure_loading(store, work, options.rounds),
            "step": lambda: measure_step(store, RECIPES, options.rounds, options.steps),
            "full": lambda: measure_step(
                store,
                {"paper": "inception_v3, bfloat16"},
                options.rounds,
                options.steps,
                architecture="inception_v3",
                precision="bfloat16",
            ),
            "limit": lambda: measure_limit(options.rounds),
            "start": lambda: measure_start(store, work, max(1, options.rounds // 2)),
            "memory": lambda: measure_memory(store, work),
        }
        for name in options.only:
            measures[name]()


if __name__ == "__main__":
    main()
