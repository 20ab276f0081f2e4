"""Predicts a cohort in children that are killed at changes to the disk, each continued here.

    python predict_kills.py COHORT.csv MODEL EARLIER FOLDER EVERY

EARLIER is a folder of predictions to begin with, or does not exist. Prints a line of JSON for each
kill: the digest of the predictions after the continued run, what is hidden there, the blocks that
were on disk after the kill and those that were computed afterwards. A file of its own: it forks,
which wants a process without threads.
"""

import json
import shutil
import sys
from functools import partial
from pathlib import Path

from gigaslide.cohort import Cohort
from predicting import A_BLOCK, COARSE, digest, predict
from sums import killed_at

NEVER = 10**9


def blocks_on_disk(cohort: Cohort, out: Path, weights: str) -> int:
    """Blocks of the whole and of the begun heatmaps by this model."""
    count = 0
    for slide in cohort:
        whole = out / slide.id / "heatmap.zarr" / "zarr.json"
        attributes = json.loads(whole.read_text())["attributes"] if whole.exists() else {}
        if attributes.get("model_hash") == weights:
            count += -(-sum(attributes["counts"].values()) // A_BLOCK)
        else:
            count += len(list(out.glob(f"{slide.id}/.heatmap.zarr.partial/done/*.json")))
    return count


def resume(cohort: Cohort, model: Path, out: Path) -> None:
    wanted = json.loads((model / "card.json").read_text())["weights_sha256"]
    before, again = blocks_on_disk(cohort, out, wanted), []
    summary = predict(cohort, model, out, COARSE, on_block=again.append)
    found = {
        "status": summary.exit_status,
        "digest": digest(out),
        "hidden": [path.name for path in out.rglob(".*")],
        "blocks": [before, len(again)],
    }
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    cohort, model = Cohort.load(Path(sys.argv[1])), Path(sys.argv[2])
    earlier, folder, every = Path(sys.argv[3]), Path(sys.argv[4]), int(sys.argv[5])
    change, killed = 0, True
    while killed:
        out = folder / str(change)
        if earlier.exists():
            shutil.copytree(earlier, out)
        killed = killed_at(change, partial(predict, cohort, model, out, COARSE))
        # In a child too: this process must have no threads to fork.
        killed_at(NEVER, partial(resume, cohort, model, out))
        change += every
