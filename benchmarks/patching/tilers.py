"""Programs that `tiling.py` compares: each tiles one list of patches of a cohort and prints its
seconds and memory.

    python benchmarks/patching/tilers.py NAME --work FOLDER …

Figures are of the tiling itself: imports are left out, and so is starting workers where a figure is
called steady.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
from figures import Figures, measured
from planning import planned

PATCH_PX, MARGIN_PX, STRIDE_PX, MPP = 299, 8, 32, 0.5
SIDE_PX = PATCH_PX + 2 * MARGIN_PX
LEVEL = 1  # of PNG, which is cv2's own, and of Zstandard


def cohort_of(work: Path):
    from gigaslide.cohort import Cohort

    rows = [
        replace(slide, split="train", patient=slide.id)
        for slide in Cohort.load(work / "cohort.csv")
    ]
    return Cohort.of_rows(rows)


def draw(work: Path, *, slides: int, size_px: int) -> None:
    """Phantoms; those that lie there already are kept."""
    from gigaslide.phantom import PhantomSettings, make_slide, plan_cohort, write_cohort

    plans = plan_cohort(
        PhantomSettings(slides=slides, slides_per_patient=1, size_px=size_px, mpp=MPP, seed=3)
    )
    for plan in plans:
        make_slide(plan, work)
    write_cohort(plans, work)


def ours(work: Path, patches: int, *, workers: int) -> Figures:
    """As `gigaslide tile`: half of the patches tumour, half normal, as many from each slide."""
    from gigaslide.batch import BatchSettings
    from gigaslide.patching import TileSettings, tile_cohort

    cohort = cohort_of(work)
    with_tumor = sum(slide.label == "tumor" for slide in cohort)
    settings = TileSettings(
        mpp=MPP,
        stride_px=STRIDE_PX,
        tumor_per_slide=patches // 2 // with_tumor,
        normal_per_slide=patches // 2 // len(cohort),
        check_space=False,
    )
    figures: Figures = {}
    with tempfile.TemporaryDirectory(dir=work) as folder:
        store = Path(folder) / "store"
        with measured(figures):
            summary = tile_cohort(cohort, store, settings, BatchSettings(workers=workers))
        lines = [json.loads(line) for line in (store / "run.jsonl").read_text().splitlines()]
        list_chosen(work, store)
        figures["patches"] = summary.total("tumor") + summary.total("normal")
        sizes = [path.stat().st_size for path in store.rglob("images/c/*/0/0/0")]
        (work / "kept.json").write_text(json.dumps({"sizes": sizes, "patches": figures["patches"]}))
    if workers:
        figures |= after_first_plan(
            lines, sum(worker.seconds for worker in summary.pace.workers.values())
        )
    return figures


def after_first_plan(lines: list[dict], in_tasks: float) -> Figures:
    """From the end of the first task to that of the last: seconds, and those in tasks."""
    times = {
        name: [line for line in lines if line["event"] == name]
        for name in ("plan", "block", "slide")
    }
    first, last = (
        datetime.fromisoformat(line["time"]) for line in (times["plan"][0], times["slide"][-1])
    )
    slide = times["plan"][0]["slide"]
    whole = next(line["seconds"] for line in times["slide"] if line["slide"] == slide)
    plan_and_finish = whole - sum(
        line["seconds"] for line in times["block"] if line["slide"] == slide
    )
    return {"steady": (last - first).total_seconds(), "in_tasks": in_tasks - plan_and_finish}


def list_chosen(work: Path, store: Path) -> None:
    """Write down what our tiling chose: the same patches for everybody."""
    import zarr

    rows = []
    for slide in cohort_of(work):
        for name in ("tumor", "normal"):
            xy = zarr.open_group(store / slide.id / name, mode="r")["xy"][:]
            if len(xy):
                rows.append(
                    {"slide": str(slide.path), "side_px": SIDE_PX, "mpp": MPP, "xy": xy.tolist()}
                )
    (work / "chosen.json").write_text(json.dumps(rows))


def chosen(work: Path) -> list[tuple[Path, np.ndarray]]:
    """(slide, level-0 corners) of each slide and class."""
    return [
        (Path(row["slide"]), np.array(row["xy"]))
        for row in json.loads((work / "chosen.json").read_text())
    ]


def one_by_one(
    work: Path, write: Callable[[Path, Iterator[tuple[int, np.ndarray]], int], None]
) -> Figures:
    """OpenSlide patch by patch: write takes a folder, (row, RGB patch) one by one, and their
    number."""
    import openslide

    figures: Figures = {}
    parts = chosen(work)
    with tempfile.TemporaryDirectory(dir=work) as folder, measured(figures):
        for number, (path, corners) in enumerate(parts):
            with openslide.OpenSlide(path) as slide:
                patches = (
                    (row, np.asarray(slide.read_region((x, y), 0, (SIDE_PX, SIDE_PX)))[:, :, :3])
                    for row, (x, y) in enumerate(corners.tolist())
                )
                write(Path(folder) / str(number), patches, len(corners))
    return {**figures, "patches": sum(len(corners) for _, corners in parts)}


def to_png(folder: Path, patches: Iterator[tuple[int, np.ndarray]], _count: int) -> None:
    import cv2

    folder.mkdir()
    for row, patch in patches:
        cv2.imwrite(str(folder / f"{row}.png"), patch[:, :, ::-1])


def to_zarr(folder: Path, patches: Iterator[tuple[int, np.ndarray]], count: int) -> None:
    """Codecs and shards, equal to gigaslide's."""
    import zarr
    from gigaslide.patching.shard import BLOSC
    from gigaslide.patching.write import rows_per_shard
    from zarr.codecs import BloscCodec, Crc32cCodec

    shape = (SIDE_PX, SIDE_PX, 3)
    per_shard = rows_per_shard(count, {"images": shape})
    array = zarr.create_array(
        folder,
        shape=(count, *shape),
        dtype="uint8",
        chunks=(1, *shape),
        shards=(per_shard, *shape),
        compressors=[BloscCodec(**BLOSC), Crc32cCodec()],
    )
    for first in range(0, count, per_shard):
        block = np.stack([next(patches)[1] for _ in range(min(per_shard, count - first))])
        array[first : first + len(block)] = block


def limit(work: Path) -> Figures:
    """Each tile under a slide's patches decoded once, each patch compressed; nothing else is
    counted."""
    from gigaslide.patching.shard import encode_row
    from gigaslide.wsi import open_slide

    by_slide: dict[Path, list[np.ndarray]] = {}
    for path, corners in chosen(work):
        by_slide.setdefault(path, []).append(corners)
    seconds = cpu = tiles = patches = 0
    for path, parts in by_slide.items():
        corners = np.concatenate(parts)
        with open_slide(path) as slide:
            layer = slide._tiles.layer(0, cached=False)
            spans = [layer.tiles_under(x, y, SIDE_PX, SIDE_PX) for x, y in corners.tolist()]
            places = {
                (row, column) for rows, columns in spans for row in rows for column in columns
            }
            figures: Figures = {}
            with measured(figures):
                for place in places:
                    layer.fetch(*place)
            for _, window in slide.read_windows(corners, size=SIDE_PX, mpp=MPP):
                start, start_cpu = time.perf_counter(), time.process_time()
                encode_row(window)
                seconds, cpu = (
                    seconds + time.perf_counter() - start,
                    cpu + time.process_time() - start_cpu,
                )
        seconds, cpu = seconds + figures["seconds"], cpu + figures["cpu"]
        tiles, patches = tiles + len(places), patches + len(corners)
    return {"patches": patches, "tiles": tiles, "seconds": seconds, "cpu": cpu}


def files(work: Path) -> Figures:
    """As many bytes as ours kept, in as many files, and no thought given to what they are."""
    parts = json.loads((work / "kept.json").read_text())
    content = np.random.default_rng(0).bytes(max(parts["sizes"]))
    figures: Figures = {}
    with tempfile.TemporaryDirectory(dir=work) as folder, measured(figures):
        for number, size in enumerate(parts["sizes"]):
            (Path(folder) / str(number)).write_bytes(content[:size])
    return {**figures, "patches": parts["patches"]}


def hs2p(work: Path, python: Path) -> Figures:
    with tempfile.TemporaryDirectory(dir=work) as folder:
        script = Path(__file__).with_name("hs2p_tiles.py")
        command = [str(python), str(script), str(work / "chosen.json"), str(Path(folder) / "out")]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"hs2p failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def contend(name: str, options: argparse.Namespace) -> Figures:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if name.startswith("ours"):
        return ours(options.work, options.patches, workers=int(name.split("-")[1]))
    if name == "planned":
        return planned(options.work, options.planned, stored_px=SIDE_PX)
    if name == "hs2p":
        return hs2p(options.work, options.hs2p_python)
    if name in ("limit", "files"):
        return {"limit": limit, "files": files}[name](options.work)
    return one_by_one(options.work, {"png": to_png, "zarr": to_zarr}[name])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--patches", type=int, default=10_000)
    parser.add_argument("--planned", type=int, default=1_000_000)
    parser.add_argument("--hs2p-python", type=Path)
    options = parser.parse_args()
    sys.stdout.write(json.dumps(contend(options.name, options)) + "\n")


if __name__ == "__main__":
    main()
