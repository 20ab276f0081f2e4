"""Every stage on one large phantom pair: seconds, patches per second and peak memory, each stage in
its own process.

    python benchmarks/stages.py [--size-px 20000] [--work FOLDER]

Prints a table. Start-up is what passes before the first step of train or the first windows of
predict: imports, opening files, building and compiling the network. patches/s is of what comes
after; of the other stages, of the whole. Figures of a busy machine are only as good as the machine
is quiet: run it alone, and compare runs of one machine only.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# Four slides are the least that give both classes in training and validation; the large one of each
# stage is measured.
PHANTOM = {"slides": 4, "slides_per_patient": 1, "mpp": 0.5, "seed": 0}


class Pace:
    """Times at which work was done. Its rate leaves out the first piece (it pays for compiling) and
    the last (it validates)."""

    def __init__(self) -> None:
        self.start = time.perf_counter()
        self.done: list[tuple[float, int]] = []

    def did(self, count: int) -> None:
        self.done.append((time.perf_counter(), count))

    def figures(self) -> dict[str, float]:
        if len(self.done) < 3:
            return {}
        (first, _), *middle, _ = self.done
        return {
            "startup": first - self.start,
            "rate": sum(count for _, count in middle) / (middle[-1][0] - first),
        }


def draw(work: Path, size_px: int) -> dict[str, float]:
    from gigaslide.phantom import PhantomSettings, make_slide, plan_cohort, write_cohort

    plans = plan_cohort(PhantomSettings(size_px=size_px, **PHANTOM))
    for plan in plans:
        make_slide(plan, work)
    write_cohort(plans, work)
    return {"patches": 0, "megapixels": len(plans) * size_px**2 / 1e6}


def cohort(work: Path):
    """All four slides, two to train on and two to validate on, whatever the phantoms' own split."""
    from dataclasses import replace

    from gigaslide.cohort import Cohort

    found = Cohort.load(work / "cohort.csv")
    seen: dict[str, int] = {}
    rows = []
    for slide in found:
        seen[slide.label] = seen.get(slide.label, 0) + 1
        rows.append(replace(slide, split="train" if seen[slide.label] == 1 else "validation"))
    return Cohort.of_rows(rows)


def tile(work: Path, _size_px: int) -> dict[str, float]:
    from gigaslide.batch import BatchSettings
    from gigaslide.patching import TileSettings, tile_cohort

    settings = TileSettings(mpp=0.5, tumor_per_slide=1000, normal_per_slide=1000)
    summary = tile_cohort(cohort(work), work / "store", settings, BatchSettings(workers=0))
    return {"patches": summary.total("tumor") + summary.total("normal")}


def train(work: Path, _size_px: int) -> dict[str, float]:
    pace = Pace()
    from gigaslide.patching import PatchStore
    from gigaslide.training import TrainSettings, train

    settings = TrainSettings(examples=1280, validate_every=1280, validation_patches=128)
    train(
        PatchStore(work / "store"),
        work / "model",
        settings,
        on_step=lambda *_: pace.did(settings.batch),
    )
    return {"patches": settings.examples, **pace.figures()}


def predict(work: Path, _size_px: int) -> dict[str, float]:
    pace = Pace()
    from gigaslide.batch import BatchSettings, Listener
    from gigaslide.cohort import Cohort
    from gigaslide.inference import PredictSettings, predict_cohort

    one = [slide for slide in cohort(work) if slide.label == "tumor"][:1]
    settings = PredictSettings(splits=("train", "validation"), orientations=1)
    summary = predict_cohort(
        Cohort.of_rows(one),
        work / "model",
        work / "predictions",
        settings,
        BatchSettings(),
        listener=Listener(on_block=lambda counts: pace.did(counts["windows"])),
    )
    return {"patches": summary.total("cells"), **pace.figures()}


def evaluate(work: Path, _size_px: int) -> dict[str, float]:
    from gigaslide.eval import EvaluateSettings, evaluate_cohort

    evaluation = evaluate_cohort(
        cohort(work), work / "predictions", work / "report", EvaluateSettings(split="")
    )
    return {"patches": evaluation.figures.tumor_patches + evaluation.figures.normal_patches}


STAGES = {"phantom": draw, "tile": tile, "train": train, "predict": predict, "evaluate": evaluate}


def measure(stage: str, work: Path, size_px: int) -> None:
    """Run one stage in this process and print what it took as one line of JSON."""
    start = time.perf_counter()
    made = STAGES[stage](work, size_px)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    sys.stdout.write(
        json.dumps({"stage": stage, "seconds": seconds, "peak_gb": peak, **made}) + "\n"
    )


def run(stage: str, work: Path, size_px: int) -> str:
    """One stage in a process of its own: its line of the table."""
    command = [
        sys.executable,
        __file__,
        "--stage",
        stage,
        "--work",
        str(work),
        "--size-px",
        str(size_px),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{stage} failed with status {done.returncode}:\n{done.stderr}")
    row = json.loads(done.stdout.splitlines()[-1])
    rate = row.get("rate", row["patches"] / row["seconds"])
    startup = f"{row['startup']:>10.1f}" if "startup" in row else f"{'':>10}"
    speed = f"{rate:>11.1f}" if rate else f"{'':>11}"
    note = f"  {row['megapixels'] / row['seconds']:.1f} Mpx/s" if "megapixels" in row else ""
    return f"{stage:<10}{row['seconds']:>9.1f}{startup}{row['patches']:>9.0f}{speed}{row['peak_gb']:>9.2f}{note}"  # noqa: E501


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--size-px", type=int, default=20_000, help="side of each phantom (level-0 px)"
    )
    parser.add_argument(
        "--work", type=Path, help="folder for what is made; a temporary one by default"
    )
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        measure(options.stage, options.work, options.size_px)
        return
    out = sys.stdout
    out.write(
        f"four phantoms of {options.size_px} × {options.size_px} px at 0.5 µm/px, one process a "
        "stage\n"
    )
    out.write(
        f"{'stage':<10}{'seconds':>9}{'start-up':>10}{'patches':>9}{'patches/s':>11}{'peak GB':>9}\n"  # noqa: E501
    )
    with tempfile.TemporaryDirectory(prefix="gigaslide-bench-") as temporary:
        for stage in STAGES:
            out.write(run(stage, options.work or Path(temporary), options.size_px) + "\n")
            out.flush()


if __name__ == "__main__":
    main()
