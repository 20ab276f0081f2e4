"""Memory and start of `gigaslide predict`.

    python benchmarks/inference/memory.py [--only PART …] [--network compact] [--mode fastest]

parts
start     seconds of the command on a tiny slide, and those that a core computed for it: with an
          empty cache, then with a filled one
huge      peak memory of the command and the processes that it starts, on a slide of 100 000 x
          100 000 px with --tissue-percent of tissue: with an empty cache, then with a filled one
slides    memory of one process after 20, 100 and 200 tiny slides

Memory is the sum of the resident sizes of all processes, read 20 times a second, so shared pages
count for each of them. Weights are random. The full network needs hours for 2 % of tissue on two
cores: --stop-after-blocks 4 ends `huge` early and prints the peak until each block, which shows
whether memory still grows.
"""

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import psutil
import tifffile
from gigaslide.batch import BatchSettings, Listener
from gigaslide.cohort import Cohort, CohortSlide
from gigaslide.inference import PredictSettings, predict_cohort
from prediction import GIGASLIDE, MPP, make_phantoms, save_model, tell

SIDE_PX, TILE_PX = 100_000, 512
SLIDES, TOLD = 200, (20, 100, 200)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="*", choices=tuple(PARTS), default=tuple(PARTS))
    parser.add_argument("--network", default="compact")
    parser.add_argument("--mode", default="fastest")
    parser.add_argument("--tissue-percent", type=float, default=2.0)
    parser.add_argument("--stop-after-blocks", type=int, help="of huge; empty cache only")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program = "from memory import save; save()"
        words = (sys.executable, "-c", program, str(folder / "model"), arguments.network)
        subprocess.run(words, check=True, cwd=Path(__file__).parent)  # Keras stays out of this one
        for part in arguments.only:
            os.environ["GIGASLIDE_CACHE"] = str(folder / f"cache_{part}")
            PARTS[part](folder, arguments)


def save() -> None:
    save_model(Path(sys.argv[1]), sys.argv[2])


def measure_start(folder: Path, arguments: argparse.Namespace) -> None:
    (slide,) = make_phantoms(folder / "tiny", slides=1, size_px=800)  # 10 cells
    for cache in ("empty", "filled"):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds, peak_gb, _ = run_predict(folder, slide, arguments, out=f"start_{cache}")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        tell(
            f"start, cache {cache}: {seconds:.1f} s, {cpu_s:.1f} s of CPU time, peak "
            f"{peak_gb:.2f} GB"
        )


def measure_huge(folder: Path, arguments: argparse.Namespace) -> None:
    share = arguments.tissue_percent / 100
    slide = write_huge_slide(folder / "huge.tif", tissue_px=round(SIDE_PX * share**0.5))
    name = f"{arguments.network}, {arguments.mode}"
    for cache in ("empty", "filled"):
        seconds, peak_gb, last = run_predict(folder, slide, arguments, out=f"huge_{cache}")
        tell(f"huge, {name}, cache {cache}: peak {peak_gb:.2f} GB in {seconds:.0f} s; {last}")
        if arguments.stop_after_blocks:
            return


def run_predict(
    folder: Path, slide: Path, arguments: argparse.Namespace, *, out: str
) -> tuple[float, float, str]:
    """Run the command; return its seconds, its peak memory (GB) and where its time went, or the
    peaks until each block where it is stopped early."""
    words = [GIGASLIDE, "predict", slide, folder / "model", folder / out, "--mode", arguments.mode]
    words.append("--allow-tumor-on-glass")  # random weights may call it so
    records = folder / out / slide.stem / ".heatmap.zarr.partial" / "done"
    start = time.perf_counter()
    with (folder / "said.txt").open("w+") as said:
        running = subprocess.Popen([str(word) for word in words], stdout=said, stderr=said)
        peaks_gb: list[float] = []  # from the start until each block was done
        peak_gb = 0.0
        while running.poll() is None:
            peak_gb = max(peak_gb, sum_resident(running.pid) / 2**30)
            while len(peaks_gb) < len(list(records.glob("*.json"))):
                peaks_gb.append(peak_gb)
            if arguments.stop_after_blocks and len(peaks_gb) >= arguments.stop_after_blocks:
                running.terminate()
                running.wait()
            time.sleep(0.05)
        said.seek(0)
        text = said.read()
    seconds = time.perf_counter() - start
    if arguments.stop_after_blocks and len(peaks_gb) >= arguments.stop_after_blocks:
        each = ", ".join(f"{peak:.2f}" for peak in peaks_gb)
        return seconds, peak_gb, f"stopped after {len(peaks_gb)} blocks; peak until each: {each} GB"
    if running.returncode:
        sys.exit(text)
    return seconds, peak_gb, next(line.strip() for line in text.splitlines() if "time: " in line)


def sum_resident(pid: int) -> int:
    """Return the resident bytes of a process and of those that it started."""
    total = 0
    try:
        processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.Error:
        return 0
    for process in processes:
        try:
            total += process.memory_info().rss
        except psutil.Error:  # it has ended
            continue
    return total


def measure_slides(folder: Path, arguments: argparse.Namespace) -> None:
    drawn = make_phantoms(folder / "drawn", slides=SLIDES // 10, size_px=600)
    (folder / "slides").mkdir()
    rows = []
    for number in range(SLIDES):
        copy = folder / "slides" / f"slide_{number}.tif"
        shutil.copy(drawn[number % len(drawn)], copy)
        rows.append(CohortSlide(id=copy.stem, path=copy))
    settings = PredictSettings(mode=arguments.mode, allow_tumor_on_glass=True)
    resident: list[float] = []

    def note(_: Any) -> None:
        resident.append(psutil.Process().memory_info().rss / 2**20)

    predict_cohort(
        Cohort.of_rows(rows),
        folder / "model",
        folder / "slides_out",
        settings,
        BatchSettings(),
        listener=Listener(on_outcome=note),
    )
    found = ", ".join(f"after {count} {resident[count - 1]:.0f} MB" for count in TOLD)
    threads = threading.active_count()
    tell(f"slides, {arguments.network}, {arguments.mode}: {found}; {threads} threads left")


def write_huge_slide(path: Path, *, tissue_px: int) -> Path:
    """Write a pyramid of white glass with a square of texture in its corner."""
    noise = np.random.default_rng(0).integers(0, 60, (TILE_PX, TILE_PX, 3), dtype=np.uint8)
    tissue = np.array([190, 110, 170], np.uint8) - noise
    glass = np.full((TILE_PX, TILE_PX, 3), 243, np.uint8)

    def tiles(factor: int) -> Iterator[np.ndarray]:
        firsts = range(0, SIDE_PX // factor, TILE_PX)
        edge = tissue_px // factor
        for row in firsts:
            for column in firsts:
                tile = glass
                if max(row, column) < edge:
                    tile = glass.copy()
                    inside = np.s_[: max(0, edge - row), : max(0, edge - column)]
                    tile[inside] = tissue[inside]
                yield tile

    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for factor in (1, 4, 16, 64):
            level_px, resolution = SIDE_PX // factor, 1e4 / (MPP * factor)
            file.write(
                tiles(factor),
                shape=(level_px, level_px, 3),
                dtype=np.uint8,
                tile=(TILE_PX, TILE_PX),
                photometric="rgb",
                compression="jpeg",
                subfiletype=0 if factor == 1 else 1,
                resolution=(resolution, resolution),
                resolutionunit="CENTIMETER",
            )
    return path


PARTS = {"start": measure_start, "huge": measure_huge, "slides": measure_slides}

if __name__ == "__main__":
    main()
