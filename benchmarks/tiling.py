"""Tiling against a plain loop and against OpenSlide with zarr-python, one worker against two, and Dask's own share.

    python benchmarks/tiling.py [--slides 4] [--size-px 8000] [--patches 2000] [--planned 1000000] [--work FOLDER]

All on the same patches of the same phantoms, in one process a contender, one after the other. hs2p, the strongest pure
tiler, needs coordinates of its own and so is not among them. Ratios of one run on one quiet machine.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

PATCH_PX, MARGIN_PX, MPP = 299, 8, 0.5


def cohort_of(work: Path):
    from dataclasses import replace

    from gigaslide.wsi import Cohort

    rows = [replace(slide, split="train", patient=slide.id) for slide in Cohort.load(work / "cohort.csv")]
    return Cohort.of_rows(rows)


def draw(work: Path, slides: int, size_px: int) -> None:
    from gigaslide.phantom import PhantomSettings, make_slide, plan_cohort, write_cohort

    plans = plan_cohort(PhantomSettings(slides=slides, slides_per_patient=1, size_px=size_px, mpp=MPP, seed=3))
    for plan in plans:
        make_slide(plan, work)
    write_cohort(plans, work)


def settings(patches: int, slides: int):
    from gigaslide.patching import TileSettings

    each = max(1, patches // (2 * slides))
    return TileSettings(mpp=MPP, stride_px=32, tumor_per_slide=each, normal_per_slide=2 * each, check_space=False)


def ours(work: Path, patches: int, slides: int, workers: int) -> dict[str, float]:
    from gigaslide.batch import BatchSettings
    from gigaslide.patching import tile_cohort

    store = work / f"store {workers}"
    start = time.perf_counter()
    summary = tile_cohort(cohort_of(work), store, settings(patches, slides), BatchSettings(workers=workers))
    seconds = time.perf_counter() - start
    lines = [json.loads(line) for line in (store / "run.jsonl").read_text().splitlines()]
    first = next(line["time"] for line in lines if line["event"] == "plan")
    pace = summary.pace
    in_tasks = sum(worker.seconds for worker in pace.workers.values())
    return {
        "patches": summary.total("tumor") + summary.total("normal"),
        "seconds": seconds,
        "in_tasks": in_tasks,
        "steady": _between(lines[0]["time"], lines[-1]["time"]) - _between(lines[0]["time"], first),
    }


def _between(first: str, last: str) -> float:
    from datetime import datetime

    return (datetime.fromisoformat(last) - datetime.fromisoformat(first)).total_seconds()


def chosen(work: Path):
    """(slide path, level-0 corners) of what our tiling chose: the same patches for everybody."""
    import zarr

    for slide in cohort_of(work):
        for name in ("tumor", "normal"):
            yield slide.path, name, zarr.open_group(work / "store 0" / slide.id / name, mode="r")["xy"][:]


def png_loop(work: Path) -> dict[str, float]:
    import cv2
    import openslide

    side, made = PATCH_PX + 2 * MARGIN_PX, 0
    start = time.perf_counter()
    for path, name, corners in chosen(work):
        folder = work / "png" / f"{path.stem} {name}"
        folder.mkdir(parents=True)
        with openslide.OpenSlide(path) as slide:
            for x, y in corners.tolist():
                patch = np.asarray(slide.read_region((x, y), 0, (side, side)))[:, :, 2::-1]
                cv2.imwrite(str(folder / f"{x}_{y}.png"), patch)
                made += 1
    return {"patches": made, "seconds": time.perf_counter() - start}


def zarr_loop(work: Path) -> dict[str, float]:
    import openslide
    import zarr
    from zarr.codecs import BloscCodec, Crc32cCodec

    side, made, per_shard = PATCH_PX + 2 * MARGIN_PX, 0, 100
    start = time.perf_counter()
    for path, name, corners in chosen(work):
        group = zarr.create_group(work / "zarr" / f"{path.stem} {name}")
        array = group.create_array(
            "images",
            shape=(len(corners), side, side, 3),
            dtype="uint8",
            chunks=(1, side, side, 3),
            shards=(per_shard, side, side, 3),
            compressors=[BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle"), Crc32cCodec()],
        )
        with openslide.OpenSlide(path) as slide:
            for first in range(0, len(corners), per_shard):
                part = corners[first : first + per_shard].tolist()
                block = [np.asarray(slide.read_region((x, y), 0, (side, side)))[:, :, :3] for x, y in part]
                array[first : first + len(part)] = np.stack(block)
                made += len(part)
    return {"patches": made, "seconds": time.perf_counter() - start}


@dataclass(frozen=True)
class Column:
    id: str
    blocks: int


@dataclass(frozen=True)
class Idle:
    """Work in blocks that does nothing: what is left is the run's own."""

    def plan(self, slide: Column):
        from gigaslide.batch import BlockPlan

        return BlockPlan(blocks=slide.blocks, pending=tuple(range(slide.blocks)))

    def block(self, slide: Column, number: int) -> dict[str, int]:
        return {"patches": 512}

    def finish(self, slide: Column):
        from gigaslide.batch import SlideOutcome

        return SlideOutcome(slide=slide.id, status="done")

    def identity(self, slide: Column) -> None:
        return None


def planned(work: Path, patches: int) -> dict[str, float]:
    """So many patches in blocks of 512 over 400 slides, two workers: time, and memory of client and scheduler."""
    from gigaslide.batch import BatchSettings, run_blocks, run_folder

    blocks = -(-patches // 512)
    columns = [Column(f"slide {k}", blocks // 400 + (k < blocks % 400)) for k in range(400)]
    process, peak, over = psutil.Process(), [0], threading.Event()

    def watch() -> None:
        while not over.wait(0.1):
            peak[0] = max(peak[0], process.memory_info().rss)

    before = process.memory_info().rss
    threading.Thread(target=watch, daemon=True).start()
    batch, first = BatchSettings(workers=2), []
    start = time.perf_counter()
    with run_folder(work / "planned", batch) as folder:
        run_blocks(Idle(), columns, batch, folder=folder, on_block=lambda _: first or first.append(time.perf_counter()))
    seconds = time.perf_counter() - start
    over.set()
    return {
        "blocks": blocks,
        "seconds": seconds,
        "start_up": first[0] - start,
        "grown_mb": (peak[0] - before) / 1e6,
        "ms_a_block": 1000 * (seconds - (first[0] - start)) / blocks,
    }


def measured(name: str, options: argparse.Namespace) -> dict[str, float]:
    """One contender in a process of its own."""
    words = ["--contender", name, "--work", str(options.work), "--slides", str(options.slides)]
    words += ["--patches", str(options.patches), "--planned", str(options.planned)]
    done = subprocess.run([sys.executable, __file__, *words], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def contender(name: str, options: argparse.Namespace) -> dict[str, float]:
    work = options.work
    if name.startswith("ours"):
        return ours(work, options.patches, options.slides, int(name.split()[1]))
    if name == "planned":
        return planned(work, options.planned)
    return png_loop(work) if name == "png" else zarr_loop(work)


def compare(options: argparse.Namespace) -> None:
    out = sys.stdout
    draw(options.work, options.slides, options.size_px)
    found = {}
    for name in ("ours 0", "png", "zarr", "ours 1", "ours 2"):
        found[name] = measured(name, options)
        rate = found[name]["patches"] / found[name]["seconds"]
        out.write(
            f"{name:<8} {found[name]['patches']:>6.0f} patches {found[name]['seconds']:>8.1f} s {rate:>8.1f} /s\n"
        )
        out.flush()
    one, two = found["ours 1"], found["ours 2"]
    out.write(
        f"over a plain loop (OpenSlide, PNG), one core: {found['png']['seconds'] / found['ours 0']['seconds']:.1f} ×\n"
    )
    out.write(
        f"over OpenSlide and zarr-python, one core: {found['zarr']['seconds'] / found['ours 0']['seconds']:.1f} ×\n"
    )
    out.write(f"two workers over one, from the first plan on: {one['steady'] / two['steady']:.2f} ×\n")
    out.write(f"time outside tasks, one worker, from the first plan on: {1 - one['in_tasks'] / one['steady']:.1%}\n")
    row = measured("planned", options)
    out.write(
        f"{options.planned} planned patches, {row['blocks']:.0f} blocks: start-up {row['start_up']:.1f} s, client and "
        f"scheduler grow by {row['grown_mb']:.0f} MB, {row['ms_a_block']:.1f} ms a block that does nothing\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slides", type=int, default=4)
    parser.add_argument("--size-px", type=int, default=8000, help="side of each phantom (level-0 px)")
    parser.add_argument("--patches", type=int, default=2000, help="about so many in all")
    parser.add_argument("--planned", type=int, default=1_000_000, help="patches of the run that does nothing")
    parser.add_argument("--work", type=Path, help="folder for what is made; a temporary one by default")
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        sys.stdout.write(json.dumps(contender(options.contender, options)) + "\n")
        return
    with tempfile.TemporaryDirectory(prefix="gigaslide-bench-") as temporary:
        options.work = options.work or Path(temporary)
        compare(options)


if __name__ == "__main__":
    main()
