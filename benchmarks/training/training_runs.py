"""Programs and datasets that `steps.py` compares.

    python benchmarks/training/training_runs.py try | memory JSON

Prints its figures as JSON.
"""

import json
import math
import os
import re
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import cv2
import keras
import numpy as np
import psutil
import zarr
from gigaslide.models import (
    WEIGHTS,
    ModelCard,
    build_network,
    hash_weights,
    keep_large_buffers,
    parameter_counts,
)
from gigaslide.patching import PatchStore
from gigaslide.training import Sampler, TrainSettings, train
from gigaslide.training.dataset import BatchDataset, one_hot
from gigaslide.training.network.hardware import float_type
from gigaslide.training.network.optimiser import compile_network
from gigaslide.wsi import CLASSES, InputSpec

FILLING = 3  # steps until the queue of batches is full
PEAK_SIDE = 2048
PNG_LEVEL = 1
MOST_PNG = 50  # of a slide and class

Steps = Callable[[int], tuple[float, float]]
"""From a number of steps to seconds and CPU seconds of each."""


def cpu_seconds(who: int = resource.RUSAGE_SELF) -> float:
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


class ZarrDataset(keras.utils.PyDataset):
    """Batches of the same patches, read one by one by zarr-python."""

    def __init__(self, sampler: Sampler, *, threads: int) -> None:
        super().__init__(workers=threads, use_multiprocessing=False)
        self.sampler = sampler
        self.arrays = {
            (slide.id, name): zarr.open_array(
                sampler.store.path / slide.id / name / "images", mode="r"
            )
            for slide in sampler.store.slides
            for name in CLASSES
            if slide.counts.get(name)
        }

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(index)
        labels = np.arange(self.sampler.batch_size) % 2
        found = []
        for label in labels:
            slide, name, row = self.sampler._draw_place(rng, label)
            margin = self.sampler.store.tile_settings.margin_px
            patch = np.asarray(self.arrays[slide, name][row])
            found.append(patch[margin : len(patch) - margin, margin : len(patch) - margin])
        return np.stack(found)[:, None], one_hot(labels)


def write_png(store: PatchStore, folder: Path) -> list[str]:
    """Write patches of every slide, without their margin, one PNG file each."""
    folder.mkdir(exist_ok=True)
    margin, paths = store.tile_settings.margin_px, []
    for slide in store.slides:
        for name, count in slide.counts.items():
            patches = store.read(slide.id, name, np.arange(min(count, MOST_PNG)))
            for row, patch in enumerate(patches):
                inner = patch[margin : len(patch) - margin, margin : len(patch) - margin]
                paths.append(str(folder / f"{slide.id}_{name}_{row}.png"))
                cv2.imwrite(paths[-1], inner[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, PNG_LEVEL])
    return paths


def png_batches(paths: list[str], batch: int, threads: int, *, batches: int) -> Iterator[Any]:
    import tensorflow as tf

    def load(path: Any) -> Any:
        return tf.io.decode_png(tf.io.read_file(path), channels=3)

    return iter(
        tf.data.Dataset.from_tensor_slices(paths)
        .shuffle(len(paths))
        .repeat()
        .map(load, num_parallel_calls=threads)
        .batch(batch)
        .prefetch(2)
        .take(batches)
    )


def compiled(store: PatchStore, recipe: str, **changes: Any) -> keras.Model:
    """The network of a recipe, ready for training on the store's finest scale."""
    settings = TrainSettings.model_validate({"recipe": recipe, **changes})
    spec = store.input_spec.model_copy(update={"mpps": store.input_spec.mpps[:1]})
    return _compiled(settings, spec)


def _compiled(settings: TrainSettings, spec: InputSpec) -> keras.Model:
    keep_large_buffers()
    options = settings.network_options(spec).model_dump(mode="json")
    with float_type(settings):
        network = build_network(settings.architecture, spec, options)
        compile_network(network, settings, steps=10_000)
    return network


class _Clock(keras.callbacks.Callback):
    def __init__(self) -> None:
        super().__init__()
        self.times: list[tuple[float, float]] = []

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.times.append((time.perf_counter(), cpu_seconds()))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.on_train_batch_begin(0)

    def per_step(self) -> tuple[float, float]:
        first, last = self.times[FILLING], self.times[-1]
        steps = len(self.times) - 1 - FILLING
        return (last[0] - first[0]) / steps, (last[1] - first[1]) / steps


def steps_fed(network: keras.Model, sampler: Sampler) -> Steps:
    """Steps as in a training: batches drawn ahead on threads, to the last step and beyond."""
    data = BatchDataset(sampler, start=0, stop=10**6)

    def run(steps: int) -> tuple[float, float]:
        clock = _Clock()
        network.fit(
            data, steps_per_epoch=steps + FILLING, shuffle=False, verbose=0, callbacks=[clock]
        )
        return clock.per_step()

    return run


def steps_kept(network: keras.Model, sampler: Sampler) -> Steps:
    """Steps on one batch that stays in memory."""
    import tensorflow as tf

    batch = sampler.draw(0)
    data = tf.data.Dataset.from_tensors((batch.patches, one_hot(batch.labels))).repeat()

    def run(steps: int) -> tuple[float, float]:
        clock = _Clock()
        network.fit(data, steps_per_epoch=steps + FILLING, verbose=0, callbacks=[clock])
        return clock.per_step()

    return run


def multiply_adds(network: keras.Model) -> int:
    """Multiply-adds of the convolutions and dense layers for one patch, forward."""
    total = 0
    for layer in network._flatten_layers(include_self=False, recursive=True):
        if isinstance(layer, keras.layers.Conv2D | keras.layers.Dense):
            places = math.prod(layer.output.shape[1:-1])
            total += places * math.prod(layer.kernel.shape)
    return total


def matrix_peak(precision: str = "float32") -> float:
    """Multiply-adds per second of products of large matrices; the best of 5."""
    import tensorflow as tf

    side = 4 * PEAK_SIDE if tf.config.list_physical_devices("GPU") else PEAK_SIDE
    matrix = tf.cast(tf.random.normal((side, side)), precision)
    best = math.inf
    for _ in range(6):  # the first one compiles
        start = time.perf_counter()
        product = matrix
        for _ in range(4):
            product = product @ matrix
        np.asarray(product[0, 0])  # waits for the device
        best = min(best, time.perf_counter() - start)
    return 4 * side**3 / best


def run_try(options: dict[str, Any]) -> dict[str, float]:
    """Examples per second of training one small network, and its share of the matrix peak: a step
    is three times the forward pass."""
    import tensorflow as tf

    if "optimiser" in options:
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})
    batch = options.get("batch", 32)
    settings = TrainSettings.model_validate({"recipe": "paper", "batch_size": batch})
    spec = InputSpec(patch_px=options["side_px"], centre_px=64, mpps=(0.5,))
    network = _compiled(settings, spec)
    if options.get("xla"):
        network.jit_compile = True
    patches = np.random.default_rng(0).integers(0, 256, (batch, *spec.shape), dtype=np.uint8)
    targets = one_hot(np.arange(batch) % 2)
    for _ in range(2):
        network.train_on_batch(patches, targets)
    rates, shares = [], []
    for _ in range(5):
        peak = matrix_peak()
        start = time.perf_counter()
        for _ in range(128 // batch):
            network.train_on_batch(patches, targets)
        rates.append(128 / (time.perf_counter() - start))
        shares.append(3 * multiply_adds(network) * rates[-1] / peak)
    return {"rate": statistics.median(rates), "of_peak": statistics.median(shares)}


def first_step(store: PatchStore, folder: Path, recipe: str, *options: str) -> tuple[float, float]:
    """Seconds and CPU seconds from the command `gigaslide train` to the end of its first step; the
    training is then stopped."""
    name = f"{folder.name}-{recipe}-{time.time_ns()}"
    command = [Path(sys.executable).with_name("gigaslide"), "train", store.path]
    command += [folder.with_name(name), "--recipe", recipe, "--examples", "3200", *options]
    start, seen = time.perf_counter(), ""
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        assert process.stderr is not None
        while not re.search(r"[1-9]\d*/3200", seen):
            part = process.stderr.read1(200)
            if not part:
                raise SystemExit(f"gigaslide train ended:\n{seen[-3000:]}")
            seen += part.decode(errors="replace")
        seconds = time.perf_counter() - start
        times = psutil.Process(process.pid).cpu_times()
        process.kill()
    return seconds, times.user + times.system


def random_model(store: PatchStore, folder: Path) -> Path:
    """A model folder of `inception_v3_small` with random weights."""
    folder.mkdir()
    spec = store.input_spec.model_copy(update={"mpps": store.input_spec.mpps[:1]})
    network = build_network("inception_v3_small", spec)
    network.save_weights(folder / WEIGHTS)
    ModelCard(
        architecture="inception_v3_small",
        input_spec=spec,
        parameters=parameter_counts(network),
        training={},
        weights_sha256=hash_weights(folder),
    ).save(folder)
    return folder


def run_memory(options: dict[str, Any]) -> dict[str, Any]:
    """Resident MB at the end of each of 3 epochs of 30 steps, and the most after any step."""
    epoch, process = 30 * 32, psutil.Process()
    settings = TrainSettings(examples=3 * epoch, validate_every=epoch, validation_patches=64)
    resident: dict[int, float] = {}

    def on_step(examples: int, figures: dict[str, float]) -> None:
        resident[examples] = process.memory_info().rss / 2**20

    train(PatchStore(Path(options["store"])), Path(options["folder"]), settings, on_step=on_step)
    epochs = [resident[number * epoch] for number in (1, 2, 3)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    return {"epochs": epochs, "peak": peak}


def main() -> None:
    name, options = sys.argv[1], json.loads(sys.argv[2])
    programs = {"try": run_try, "memory": run_memory}
    sys.stdout.write(f"{json.dumps(programs[name](options))}\n")


if __name__ == "__main__":
    main()
