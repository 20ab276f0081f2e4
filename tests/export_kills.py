"""Exports in children that are killed at changes to the disk, each continued in another one.

    python export_kills.py PREDICTIONS FOLDER EVERY

Prints a line of JSON for each kill: the digest of the exports after the continued run, and what is
hidden there besides recipes. A file of its own: it forks, which wants a process without threads.
"""

import json
import sys
from functools import partial
from pathlib import Path

from exporting import digest, export
from sums import killed_at

TO = ("geojson", "asap", "ome-tiff", "ome-zarr", "qupath", "csv")
NEVER = 10**9


def resume(predictions: Path, out: Path) -> None:
    export(predictions, *TO, out=out)
    hidden = [path.name for path in out.rglob(".*") if not path.name.startswith(".export.")]
    sys.stdout.write(json.dumps([digest(out), hidden]) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    predictions, folder, every = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    change, killed = 0, True
    while killed:
        out = folder / str(change)
        killed = killed_at(change, partial(export, predictions, *TO, out=out))
        killed_at(NEVER, partial(resume, predictions, out))
        change += every
