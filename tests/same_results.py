"""Run one checkout over phantoms and the real cohort and print what must not change, as JSON.

    python tests/same_results.py FOLDER [--model MODEL] > results.json

Run it with each of two checkouts and compare the two files. MODEL is a model folder to predict
with; without one, it is the short training in FOLDER/trained. It prints the content hash of every
store, the hash of every heatmap and table of detections, every figure of the evaluations, and the
rows of the training. The real cohort is left out where ../shared/data is missing.
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
PATCHES = [
    "--patch-px",
    "139",
    "--centre-px",
    "64",
    "--tumor-per-slide",
    "60",
    "--normal-per-slide",
    "60",
]
OF_REAL = ["--mpp", "0.6206", *PATCHES, "--splits", "train", "--splits", "validation"]
FURTHER = ["--further-mpp", "1.2412", "--stain", "macenko", "--stain", "hsd", "--border-um", "10"]
PREDICT_REAL = ["--stride-px", "128", "--allow-upsampling"]


def run(*words: object) -> str:
    """Run one command of this checkout; return what it printed."""
    command = [str(Path(sys.executable).parent / "gigaslide"), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 2):
        sys.exit(f"{' '.join(command)}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def store_hash(store: Path) -> str:
    """Content hash of a store."""
    return run("store", "verify", store).rsplit(maxsplit=1)[-1]


def hash_predictions(folder: Path) -> dict[str, list[str]]:
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


def list_figures(report: Path) -> dict[str, Any]:
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


def evaluate(cohort: Path, model: Path, out: Path, *options: str) -> dict[str, Any]:
    """Predict and evaluate one cohort."""
    run("predict", cohort, model, out / "predictions", *options)
    run("evaluate", cohort, out / "predictions", out / "report")
    return {
        "predictions": hash_predictions(out / "predictions"),
        "figures": list_figures(out / "report"),
    }


def run_on_phantoms(out: Path, model: Path | None) -> dict[str, Any]:
    """Tile, train, predict and evaluate phantoms; the training is left in out/trained."""
    run("phantom", out / "slides", "--slides", "12", "--size-px", "3000", "--mpp", "0.5")
    phantoms, trained = out / "slides" / "cohort.csv", out / "trained"
    run("tile", phantoms, out / "store", "--mpp", "0.5", *PATCHES, "--workers", "2")
    run("train", out / "store", trained, "--examples", "960", "--validate-every", "480")
    rows = [line.split(",") for line in (trained / "history.csv").read_text().splitlines()]
    return {
        "store of phantoms": store_hash(out / "store"),
        "training": [[row[0], *row[2:]] for row in rows],  # without the time
        "phantoms": evaluate(phantoms, model or trained, out / "phantoms", "--allow-upsampling"),
    }


def run_on_real_cohort(out: Path, model: Path) -> dict[str, Any]:
    """Tile the real cohort in several ways, predict and evaluate it, add hard negatives."""
    tiled = {
        "store of the real cohort": (out / "real", []),
        "store of two scales": (out / "several", FURTHER),
        "store of copies": (out / "copies", ["--copies", "2"]),
    }
    results: dict[str, Any] = {}
    for name, (store, options) in tiled.items():
        run("tile", REAL, store, *OF_REAL, *options, "--workers", "2")
        results[name] = store_hash(store)
    results["real cohort"] = evaluate(REAL, model, out / "judged", *PREDICT_REAL)
    heatmaps = out / "train-predictions"
    run("predict", REAL, model, heatmaps, *PREDICT_REAL, "--splits", "train", "--orientations", "1")
    hard = ["--from-heatmaps", heatmaps, "--hard.threshold", "0.3"]
    run("tile", REAL, out / "real", *OF_REAL, *hard)
    results["store with hard negatives"] = store_hash(out / "real")
    return results


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", type=Path)
    given = parser.parse_args()
    results = run_on_phantoms(given.folder, given.model)
    if REAL.exists():
        results |= run_on_real_cohort(given.folder, given.model or given.folder / "trained")
    sys.stdout.write(json.dumps(results, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
