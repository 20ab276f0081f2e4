"""Run one checkout over phantoms and the real cohort and print what must not change, as JSON.

    python tests/same_results.py FOLDER [--model MODEL] [--old] > results.json

Run it with each of two checkouts and compare the two files. MODEL is a model folder to predict
with; without one, a short training makes FOLDER/model. --old is for commits whose `predict` took
the model first and the slides last. It prints the content hash of every store, the hash of every
heatmap and table of detections, every figure of the evaluations, and the rows of the training.
The real cohort is left out where ../shared/data is missing.
"""

import argparse
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import zarr

REAL = Path(__file__).resolve().parents[2] / "shared" / "data" / "colon" / "cohort.csv"
SMALL = [
    "--patch-px",
    "139",
    "--centre-px",
    "64",
    "--tumor-per-slide",
    "60",
    "--normal-per-slide",
    "60",
]


def run(*words: object) -> str:
    """Run one command of this checkout; return what it printed."""
    command = [str(Path(sys.executable).parent / "gigaslide"), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 2):
        sys.exit(f"{' '.join(command)}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def content(store: Path) -> str:
    return run("store", "verify", store).rsplit(maxsplit=1)[-1]


def predictions(folder: Path) -> dict[str, list[str]]:
    """SHA-256 of each slide's heatmap and of its detections."""
    found = {}
    for path in sorted(folder.glob("*/heatmap.zarr")):
        group = zarr.open_group(path, mode="r")
        digest = hashlib.sha256()
        for name in ("probability", "status"):
            values = np.asarray(group[name])
            digest.update(f"{values.dtype} {values.shape}".encode() + values.tobytes())
        table = (path.parent / "detections.csv").read_bytes()
        found[path.parent.name] = [digest.hexdigest()[:16], hashlib.sha256(table).hexdigest()[:16]]
    return found


def figures(report: Path) -> dict[str, Any]:
    """Every number of metrics.json by its path, without versions, times and published figures."""
    left_out = ("made_with", "recipe", "seconds", "references", "command", "created")
    flat: dict[str, Any] = {}

    def walk(value: Any, path: str) -> None:
        if isinstance(value, dict):
            for key, item in value.items():
                if key not in left_out:
                    walk(item, f"{path}/{key}")
        elif isinstance(value, list):
            for number, item in enumerate(value):
                walk(item, f"{path}/{number}")
        elif isinstance(value, int | float):
            flat[path] = value

    walk(json.loads((report / "metrics.json").read_text(encoding="utf-8")), "")
    return flat


def judged(cohort: Path, model: Path, out: Path, *, old: bool) -> dict[str, Any]:
    """Predict and evaluate one cohort."""
    options = ["--stride-px", "128"] if cohort == REAL else []
    words = [model, out / "predictions", cohort] if old else [cohort, model, out / "predictions"]
    run("predict", *words, *options, "--allow-upsampling")
    run("evaluate", cohort, out / "predictions", out / "report")
    return {"predictions": predictions(out / "predictions"), "figures": figures(out / "report")}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--old", action="store_true")
    given = parser.parse_args()
    out, model = given.folder, given.model
    results: dict[str, Any] = {}

    run("phantom", out / "slides", "--slides", "12", "--size-px", "3000", "--mpp", "0.5")
    phantoms = out / "slides" / "cohort.csv"
    run("tile", phantoms, out / "store", "--mpp", "0.5", *SMALL, "--workers", "2")
    results["store of phantoms"] = content(out / "store")
    run("train", out / "store", out / "trained", "--examples", "960", "--validate-every", "480")
    results["training"] = [
        # The second column is the time.
        [cell for number, cell in enumerate(line.split(",")) if number != 1]
        for line in (out / "trained" / "history.csv").read_text().splitlines()
    ]
    model = model or out / "trained"
    results["phantoms"] = judged(phantoms, model, out / "phantoms", old=given.old)
    if REAL.exists():
        common = ["--mpp", "0.6206", *SMALL, "--splits", "train", "--splits", "validation"]
        run("tile", REAL, out / "real", *common, "--workers", "2")
        results["store of the real cohort"] = content(out / "real")
        several = [
            "--further-mpp",
            "1.2412",
            "--stain",
            "macenko",
            "--stain",
            "hsd",
            "--border-um",
            "10",
        ]
        run("tile", REAL, out / "several", *common, *several, "--workers", "2")
        results["store of two scales"] = content(out / "several")
        run("tile", REAL, out / "copies", *common, "--copies", "2", "--workers", "2")
        results["store of copies"] = content(out / "copies")
        results["real cohort"] = judged(REAL, model, out / "judged", old=given.old)
        train_predictions = out / "train-predictions"
        words = [model, train_predictions, REAL] if given.old else [REAL, model, train_predictions]
        run(
            "predict",
            *words,
            "--stride-px",
            "128",
            "--splits",
            "train",
            "--orientations",
            "1",
            "--allow-upsampling",
        )
        run(
            "tile",
            REAL,
            out / "real",
            *common,
            "--from-heatmaps",
            train_predictions,
            "--hard.threshold",
            "0.3",
        )
        results["store with hard negatives"] = content(out / "real")
    sys.stdout.write(json.dumps(results, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
