"""Random balanced batches from a patch store: ours against zarr-python on the same store, and memory over many reads.

    python benchmarks/store.py [STORE] [--rounds 5] [--reads 20000]

Without STORE, one is made: 16 slides of 300 + 300 patches of 315 px, stained noise that compresses as tissue does.
Both draw batches of 32 (class, slide, patch) in turn, in one process; the medians and their ratio are printed.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import psutil
import zarr
from gigaslide.patching import CLASSES, Candidates, PatchStore, TileSettings
from gigaslide.patching.write import write_slide
from gigaslide.wsi import Recipe

BATCH = 32
SLIDES, PER_CLASS = 16, 300


def made_store(folder: Path) -> Path:
    settings = TileSettings()
    recipe = Recipe(stage="tile", settings=settings.of_recipe(), inputs={})
    rows = {f"s{n}": {"label": "tumor", "patient": f"p{n}", "split": "train"} for n in range(SLIDES)}
    PatchStore.describe(folder, settings=settings.model_dump(mode="json"), slides=rows)
    rng = np.random.default_rng(0)
    side = settings.stored_px
    known = Candidates(
        xy=rng.integers(0, 10**5, (PER_CLASS, 2)),
        tumor_fraction=np.ones(PER_CLASS, np.float32),
        tissue_fraction=np.ones(PER_CLASS, np.float32),
        lesion=np.zeros(PER_CLASS, np.int32),
    )
    for slide in rows:
        noise = rng.normal(0, 30, (side * 2, side * 2, 3)).astype(np.float32)
        tissue = np.clip(cv2.GaussianBlur(noise, (0, 0), 3) * 8 + noise * 0.05 + (190, 120, 170), 0, 255).astype(
            np.uint8
        )
        places = rng.integers(0, side, (PER_CLASS, 2)).tolist()
        pixels = [(row, {"images": tissue[y : y + side, x : x + side]}) for row, (x, y) in enumerate(places)]
        classes = {name: (known, iter(pixels)) for name in CLASSES}
        write_slide(folder / slide, recipe=recipe, classes=classes, arrays=settings.arrays)
    return folder


def drawn(store: PatchStore, rng: np.random.Generator) -> list[tuple[str, str, int]]:
    """As training draws: half of each class, slides uniformly, patches uniformly."""
    wanted = []
    for position in range(BATCH):
        name = CLASSES[position % 2]
        slides = [slide for slide in store.slides if slide.counts[name]]
        slide = slides[rng.integers(len(slides))]
        wanted.append((slide.id, name, int(rng.integers(slide.counts[name]))))
    return wanted


def by_zarr(arrays: dict[tuple[str, str], zarr.Array], wanted: list[tuple[str, str, int]]) -> np.ndarray:
    """zarr-python at its best: one oindex call for each array of the batch."""
    found, by_array = {}, {}
    for position, (slide, name, index) in enumerate(wanted):
        by_array.setdefault((slide, name), []).append((index, position))
    for key, places in by_array.items():
        rows, back = np.unique([index for index, _ in places], return_inverse=True)
        patches = np.asarray(arrays[key].oindex[rows])
        found |= {position: patches[back[n]] for n, (_, position) in enumerate(places)}
    return np.stack([found[position] for position in range(len(wanted))])


def rates(store: PatchStore, rounds: int) -> tuple[list[float], list[float]]:
    """Patches per second of ours and of zarr-python, in turn, after both gave the same pixels."""
    arrays = {
        (slide.id, name): zarr.open_array(store.path / slide.id / name / "images", mode="r")
        for slide in store.slides
        for name in CLASSES
        if slide.counts[name]
    }
    rng = np.random.default_rng(1)
    first = drawn(store, rng)
    assert np.array_equal(store.read_many(first), by_zarr(arrays, first))
    ours, theirs = [], []
    for _ in range(rounds):
        batches = [drawn(store, rng) for _ in range(30)]
        start = time.perf_counter()
        for batch in batches:
            store.read_many(batch)
        ours.append(BATCH * len(batches) / (time.perf_counter() - start))
        start = time.perf_counter()
        for batch in batches[:3]:
            by_zarr(arrays, batch)
        theirs.append(BATCH * 3 / (time.perf_counter() - start))
    return ours, theirs


def memory(store: PatchStore, reads: int) -> list[tuple[int, float]]:
    """(reads so far, resident MB) at ten points."""
    rng, process = np.random.default_rng(2), psutil.Process()
    points, done = [], 0
    for tenth in range(1, 11):
        while done < reads * tenth / 10:
            store.read_many(drawn(store, rng))
            done += BATCH
        points.append((done, process.memory_info().rss / 2**20))
    return points


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", nargs="?", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--reads", type=int, default=20_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = PatchStore(options.store or made_store(Path(folder) / "store"))
        side = store.tile_settings.stored_px
        raw = side * side * 3 * sum(sum(slide.counts.values()) for slide in store.slides)
        size = sum(path.stat().st_size for path in Path(store.path).rglob("*") if path.is_file())
        print(f"{len(store.slides)} slides, patches of {side} px, compressed to {size / raw:.0%}")
        ours, theirs = rates(store, options.rounds)
        ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
        print(f"ours         {statistics.median(ours):8.0f} patches/s")
        print(f"zarr oindex  {statistics.median(theirs):8.0f} patches/s   ours is {ratio:.1f} times that")
        for done, resident in memory(store, options.reads):
            print(f"after {done:8} reads  {resident:7.0f} MB resident")


if __name__ == "__main__":
    main()
