"""Random balanced batches from a patch store: ours, zarr-python, and decompressing alone; memory
over many reads.

    python benchmarks/patching/store.py [STORE] [--rounds 5] [--reads 1000000]

Without STORE, one is made: 16 slides of 300 + 300 patches of 315 px, cut from a phantom.
Ours and zarr-python draw batches of 32 (class, slide, patch) in turn, in one process; the medians
and their ratio are printed. The limit decompresses the same chunks, which lie in memory, with a
thread a core. Memory is watched over a tenth of the reads on that store, and over all of them on
one of patches of 75 px, which takes a minute or two.
"""

import argparse
import os
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import imagecodecs
import numpy as np
import psutil
import tilers
import zarr
from gigaslide.patching import Candidates, PatchStore, TileSettings
from gigaslide.patching.write import create_arrays, layouts, write_rest, write_rows
from gigaslide.storage import GROUP, Output, Recipe
from gigaslide.wsi import CLASSES, open_slide

BATCH = 32
SLIDES, PER_CLASS = 16, 300


def made_store(
    folder: Path,
    settings: TileSettings,
    *,
    slides: int = SLIDES,
    per_class: int = PER_CLASS,
    of_validation: int = 0,
) -> Path:
    """A store of phantom tissue; its last slides are of the validation split."""
    recipe = Recipe(stage="tile", settings=settings.of_recipe(), inputs={})
    rows = {
        f"s{n}": {
            "label": "tumor",
            "patient": f"p{n}",
            "split": "train" if n < slides - of_validation else "validation",
        }
        for n in range(slides)
    }
    PatchStore.describe(folder, settings=settings.model_dump(mode="json"), slides=rows)
    rng = np.random.default_rng(0)
    side = settings.stored_px
    known = Candidates(
        xy=rng.integers(0, 10**5, (per_class, 2)),
        tumor_fraction=np.ones(per_class, np.float32),
        tissue_fraction=np.ones(per_class, np.float32),
        lesion=np.zeros(per_class, np.int32),
    )
    tissue = stained(3 * side)
    for slide in rows:
        places = rng.integers(0, 2 * side, (per_class, 2)).tolist()
        pixels = [
            (row, {"images": tissue[y : y + side, x : x + side]})
            for row, (x, y) in enumerate(places)
        ]
        counts = dict.fromkeys(CLASSES, per_class)
        made = {"counts": counts, "arrays": settings.arrays, "unreadable": {}}
        output = Output(location=folder / slide, recipe=recipe, recipe_file=GROUP)
        with output.write(made) as group:
            for name in CLASSES:
                place = Path(group) / name
                create_arrays(place, per_class, settings.arrays)
                planned = layouts(per_class, settings.arrays)
                write_rows(place, planned, range(per_class), pixels)
                write_rest(place, known, np.zeros(per_class, bool))
    return folder


def stained(side_px: int) -> np.ndarray:
    """A square of tissue, of a phantom: one of middling darkness."""
    with tempfile.TemporaryDirectory() as folder:
        tilers.draw(Path(folder), slides=1, size_px=4000)
        with open_slide(next(Path(folder).rglob("*.tif"))) as slide:
            xy = np.random.default_rng(0).integers(0, 4000 - side_px, (40, 2))
            windows = [
                window.copy()
                for _, window in slide.read_windows(xy, size=side_px, mpp=slide.info.mpp)
            ]
    return sorted(windows, key=np.mean)[len(windows) // 2]


def drawn(store: PatchStore, rng: np.random.Generator) -> list[tuple[str, str, int]]:
    """As training draws: half of each class, slides uniformly, patches uniformly."""
    wanted = []
    for position in range(BATCH):
        name = CLASSES[position % 2]
        slides = [slide for slide in store.slides if slide.counts[name]]
        slide = slides[rng.integers(len(slides))]
        wanted.append((slide.id, name, int(rng.integers(slide.counts[name]))))
    return wanted


def by_zarr(
    arrays: dict[tuple[str, str], zarr.Array], wanted: list[tuple[str, str, int]]
) -> np.ndarray:
    """zarr-python at its best: one oindex call for each array of the batch."""
    found, by_array = {}, {}
    for position, (slide, name, index) in enumerate(wanted):
        by_array.setdefault((slide, name), []).append((index, position))
    for key, places in by_array.items():
        rows, back = np.unique([index for index, _ in places], return_inverse=True)
        patches = np.asarray(arrays[key].oindex[rows])
        found |= {position: patches[back[n]] for n, (_, position) in enumerate(places)}
    return np.stack([found[position] for position in range(len(wanted))])


def chunks_of(store: PatchStore, wanted: list[tuple[str, str, int]]) -> list[bytes]:
    """The compressed patches of a batch, from their shards, without their checksums."""
    found = []
    for slide, name, row in wanted:
        images = store.path / slide / name / "images"
        per_shard = zarr.open_array(images, mode="r").shards[0]
        shard = (images / "c" / str(row // per_shard) / "0" / "0" / "0").read_bytes()
        index = np.frombuffer(shard[-16 * per_shard - 4 : -4], "<u8").reshape(-1, 2)
        offset, length = index[row % per_shard].tolist()
        found.append(shard[offset : offset + length - 4])
    return found


def limit(store: PatchStore, rounds: int) -> float:
    """Patches per second of decompressing alone, a thread a core; the median."""
    chunks = chunks_of(
        store, [place for seed in range(4) for place in drawn(store, np.random.default_rng(seed))]
    )
    rates = []
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for _ in range(rounds):
            start = time.perf_counter()
            for _ in pool.map(
                lambda chunk: imagecodecs.blosc_decode(chunk, numthreads=1), chunks * 8
            ):
                pass
            rates.append(8 * len(chunks) / (time.perf_counter() - start))
    return statistics.median(rates)


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


def tell_memory(store: PatchStore, reads: int) -> None:
    points = memory(store, reads)
    print(f"patches of {store.tile_settings.stored_px} px, MB resident after so many reads:")
    print("  ".join(f"{done}: {resident:.0f}" for done, resident in points))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("store", nargs="?", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--reads", type=int, default=1_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = PatchStore(options.store or made_store(Path(folder) / "store", TileSettings()))
        side = store.tile_settings.stored_px
        raw = side * side * 3 * sum(sum(slide.counts.values()) for slide in store.slides)
        size = sum(path.stat().st_size for path in Path(store.path).rglob("*") if path.is_file())
        print(f"{len(store.slides)} slides, patches of {side} px, compressed to {size / raw:.0%}")
        ours, theirs = rates(store, options.rounds)
        ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
        most = limit(store, options.rounds)
        print(f"ours         {statistics.median(ours):8.0f} patches/s")
        print(
            f"zarr oindex  {statistics.median(theirs):8.0f} patches/s   ours is {ratio:.1f} times "
            "that"
        )
        print(
            f"limit        {most:8.0f} patches/s   ours is {statistics.median(ours) / most:.0%} of "
            "that"
        )
        tell_memory(store, options.reads // 10)
        small = TileSettings(patch_px=75, centre_px=32, margin_px=0)
        tell_memory(PatchStore(made_store(Path(folder) / "small", small)), options.reads)


if __name__ == "__main__":
    main()
