"""Speed of what feeds a training: batches drawn and changed, and loading alone.

`steps.py` runs these measures as its parts "parts" and "loading".
"""

import itertools
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import training_runs
from gigaslide.patching import PatchStore
from gigaslide.training import Sampler, TrainSettings

BATCH = 32
CORES = len(os.sched_getaffinity(0))
RECIPES = {
    "paper": "inception_v3_small, no stain changes",
    "modern": "compact, Reinhard, stain changes",
}


def say(line: str = "") -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def in_turn(
    contenders: Mapping[str, Callable[[], float]], rounds: int
) -> dict[str, tuple[float, float]]:
    """Median seconds and CPU seconds of each, per unit of work (what a call returns), called in
    turn."""
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            clock, cpu = time.perf_counter(), time.process_time()
            units = run()
            took[name].append(
                ((time.perf_counter() - clock) / units, (time.process_time() - cpu) / units)
            )
    return {
        name: (statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs))
        for name, pairs in took.items()
    }


def sampler_of(store: PatchStore, recipe: str, *, plain: bool = False) -> Sampler:
    """The sampler of a training by that recipe; plain: patches as they are stored."""
    settings = TrainSettings.model_validate({"recipe": recipe})
    stain = None if plain or settings.stain == "none" else settings.stain
    spec = store.input_spec
    return Sampler(
        store=store,
        split="train",
        spec=spec.model_copy(update={"mpps": spec.mpps[:1], "stain": stain}),
        batch_size=BATCH,
        seed=0,
        augment=None if plain else settings.augment,
        stain=stain,
    )


def measure_parts(store: PatchStore, rounds: int) -> None:
    say(f"{'ms of CPU per patch':<46}{'read':>7}{'stain':>7}{'change':>8}{'all':>7}")
    for recipe, what in RECIPES.items():
        sampler, unchanged = sampler_of(store, recipe), sampler_of(store, recipe, plain=True)
        sampler.draw(0)  # fits the stains
        runs = {
            "read": drawer(unchanged),
            "stain": drawer(replace(unchanged, stain=sampler.stain)),
            "all": drawer(sampler),
        }
        took = in_turn(runs, 4 * rounds)
        ms = {name: 1000 * cpu for name, (_, cpu) in took.items()}
        say(
            f"{recipe + ': ' + what:<46}{ms['read']:>7.2f}{ms['stain'] - ms['read']:>7.2f}"
            f"{ms['all'] - ms['stain']:>8.2f}{ms['all']:>7.2f}"
        )
        rate, per_cpu = augmented_rates(store, recipe, rounds)
        say(
            f"  augmentation alone, {CORES} threads: {rate:.0f} patches/s, {per_cpu:.0f} per CPU "
            "second"
        )


def drawer(sampler: Sampler) -> Callable[[], float]:
    """Draw the next batch at each call, and return its number of patches."""
    numbers = itertools.count(1)
    sampler.draw(0)

    def run() -> float:
        sampler.draw(next(numbers))
        return BATCH

    return run


def augmented_rates(store: PatchStore, recipe: str, rounds: int) -> tuple[float, float]:
    """Patches per second and per CPU second that all cores change, read and normalised before."""
    from gigaslide.patching import draw_augmentation

    settings = TrainSettings.model_validate({"recipe": recipe}).augment
    side_px = store.input_spec.patch_px
    places = [
        (slide.id, name, 0)
        for slide in store.slides[:16]
        for name, count in slide.counts.items()
        if count
    ]
    stored = store.read_many(places)

    def change(number: int) -> None:
        drawn = draw_augmentation(np.random.default_rng(number), settings)
        drawn.apply(stored[number % len(stored)], side_px=side_px)

    def run() -> float:
        list(pool.map(change, range(200)))
        return 200

    with ThreadPoolExecutor(CORES) as pool:
        run()
        seconds, cpu = in_turn({"": run}, 4 * rounds)[""]
    return 1 / seconds, 1 / cpu


def measure_loading(store: PatchStore, work: Path, rounds: int) -> None:
    """Each draws the same random single patches, shuffled over the slides, in batches of 32."""
    from gigaslide.training.dataset import BatchDataset

    sampler = sampler_of(store, "paper", plain=True)
    paths = training_runs.write_png(store, work / "png")
    ours = BatchDataset(sampler, start=0, stop=10**6)
    theirs = training_runs.ZarrDataset(sampler, threads=CORES)
    numbers = iter(range(10**6))

    def take(dataset: Any, batches: int) -> Callable[[], float]:
        def run() -> float:
            wanted = [next(numbers) for _ in range(batches)]
            for patches, _ in pool.map(dataset.__getitem__, wanted):
                assert patches.shape[0] == BATCH
            return batches * BATCH

        return run

    def png() -> float:
        return BATCH * sum(1 for _ in training_runs.png_batches(paths, BATCH, CORES, batches=16))

    with ThreadPoolExecutor(CORES) as pool:
        contenders = {
            "ours": take(ours, 40),
            "tf.data over PNG files": png,
            "zarr-python in a PyDataset": take(theirs, 4),
        }
        in_turn(contenders, 1)
        took = in_turn(contenders, rounds)
    first = took["ours"][0]
    for name, (seconds, _) in took.items():
        of = "" if name == "ours" else f"   ours is {seconds / first:.1f} times that"
        say(f"loading, {name:<28}{1 / seconds:>8.0f} patches/s{of}")
