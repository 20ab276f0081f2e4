"""Tiles one cohort with 0, 1, 2 and 3 workers, and on Slurm where there is one: every store must
have one content hash.

    python tests/same_content.py COHORT.csv FOLDER --mpp 0.5 …   (further options are those of
    gigaslide tile)

With .ci/slurm started (eval "$(.ci/slurm start)") jobs of that Slurm are the fifth. A store is
removed when its hash is known. Exit status 1 where hashes differ.
"""

import os
import shutil
import sys
import time
from pathlib import Path

from gigaslide.cli import main
from gigaslide.patching import PatchStore, verify_store

SLURM = [
    "--cluster",
    "slurm",
    "--jobs",
    "2",
    "--memory-gb",
    "1.5",
    "--walltime",
    "00:10:00",
    "--interface",
    "lo",
]

if __name__ == "__main__":
    cohort, folder, options = sys.argv[1], Path(sys.argv[2]), sys.argv[3:]
    engines = {f"workers-{count}": ["--workers", str(count)] for count in range(4)}
    if "SLURM_CONF" in os.environ:
        engines["slurm"] = SLURM
    found = set()
    for name, engine in engines.items():
        start = time.perf_counter()
        status = main(["tile", cohort, str(folder / name), *options, *engine])
        seconds = time.perf_counter() - start
        content = verify_store(PatchStore(folder / name)).sha256
        sys.stdout.write(f"{name}: exit status {status} after {seconds:.0f} s, content {content}\n")
        sys.stdout.flush()
        found.add((status, content))
        shutil.rmtree(folder / name)
    sys.exit(len(found) != 1 or "" in {content for _, content in found})
