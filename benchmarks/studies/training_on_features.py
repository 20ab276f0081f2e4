"""Speed of studies: trainings on frozen features, memory of a step on large bags, and windows that
are encoded per second beside the encoder alone.

    python benchmarks/studies/training_on_features.py [PART]

parts; without one all run, each in a process of its own
cells        43 bags, 1 712 windows of 1 280 features: 5 trainings
memory 4096  two steps on bags of 100 000 windows of 1 024 features, at most so many windows of a
             bag in a step
features     `gigaslide features` on a phantom, and the same network on batches in memory, in turn
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from gigaslide.batch import BatchSettings
from gigaslide.cohort import Cohort
from gigaslide.inference import FeatureSettings, extract_features
from gigaslide.models import build_network, load_encoder
from gigaslide.phantom import PhantomSettings, make_cohort
from gigaslide.training import BagSettings, fit_bags
from gigaslide.wsi import InputSpec, SlideFeatures

GB = 1e6  # of ru_maxrss, which Linux gives in kB
ALL = 100_000
PARTS = (("cells",), ("memory", "4096"), ("memory", str(ALL)), ("features",))
NETWORK, PATCH_PX, MPP, ROUNDS = "efficientnet_lite0", 224, 0.5, 3


def make_bags(sizes: list[int], length: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.random((size, length), np.float32).astype(np.float16) for size in sizes]


def time_cells() -> None:
    sizes = [39] * 8 + [40] * 35
    bags, labels = make_bags(sizes, 1280), [number % 2 for number in range(43)]
    of_windows = [np.arange(len(bag)) % 2 * label for bag, label in zip(bags, labels, strict=True)]
    for kind, given in (("slides", labels), ("windows", of_windows)):
        seconds, cpu = [], []
        for seed in range(6):
            start, used = time.perf_counter(), time.process_time()
            model = fit_bags(bags, given, BagSettings(labels=kind), seed=seed).model
            for bag in bags:
                model.predict(bag)
            seconds.append(time.perf_counter() - start)
            cpu.append(time.process_time() - used)
        later, later_cpu = np.median(seconds[1:]), np.median(cpu[1:])
        print(
            f"{kind}: first {seconds[0]:.1f} s; then {later:.2f} s a cell ({later_cpu:.2f} s of "
            f"CPU), {3600 / later:.0f} cells an hour"
        )


def measure_memory(max_windows: int) -> None:
    small = make_bags([20, 20], 1024)
    fit_bags(small, [0, 1], BagSettings(epochs=1, batch_size=1), seed=0)
    bags = make_bags([ALL] * 2, 1024)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / GB
    settings = BagSettings(epochs=1, batch_size=1, max_windows=max_windows)
    model = fit_bags(bags, [0, 1], settings, seed=0).model
    model.predict(bags[0])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / GB
    print(f"at most {max_windows} windows: before {before:.2f} GB, peak {peak:.2f} GB")


def time_features() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        phantom = PhantomSettings(slides=2, size_px=3072, mpp=MPP)
        cohort = Cohort.load(make_cohort(folder, phantom))
        spec = InputSpec(patch_px=PATCH_PX, centre_px=PATCH_PX, mpps=(MPP,))
        build_network(NETWORK, spec).save_weights(folder / "random.weights.h5")
        settings = FeatureSettings(
            encoder=NETWORK,
            encoder_weights=folder / "random.weights.h5",
            patch_px=PATCH_PX,
            mpp=MPP,
        )
        encoder = load_encoder(settings.source)
        size = (settings.batch_size, PATCH_PX, PATCH_PX, 3)
        batch = np.random.default_rng(0).integers(0, 255, size, np.uint8)
        ratios = []
        for number in range(ROUNDS + 1):
            out = folder / f"features{number}"
            start = time.perf_counter()
            assert (
                extract_features(cohort, out, settings, BatchSettings(workers=0)).exit_status == 0
            )
            ours = time.perf_counter() - start
            windows = sum(len(SlideFeatures.load(path)) for path in out.glob("*.zarr"))
            start = time.perf_counter()
            for _ in range(round(windows / len(batch))):
                encoder.encode(batch)
            alone = time.perf_counter() - start
            alone *= windows / (len(batch) * round(windows / len(batch)))
            if number:  # the first one loads the encoder
                ratios.append(alone / ours)
        print(
            f"features: {windows} windows of {PATCH_PX} px by {NETWORK}; speed beside the network "
            f"alone {np.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        )


if __name__ == "__main__":
    part, *words = sys.argv[1:] or ["all"]
    if part == "cells":
        time_cells()
    elif part == "memory":
        measure_memory(int(words[0]))
    elif part == "features":
        time_features()
    else:  # each in a process of its own, whose peak is then its own
        for words in PARTS:
            subprocess.run([sys.executable, __file__, *words], check=True)
