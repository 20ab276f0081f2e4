"""Tiles a cohort in children that are killed at changes to the disk, each time resumed here: the
store's content hash.

    python tile_kills.py COHORT.csv FOLDER EVERY

Prints the hash of each resumed one. A file of its own: it forks, which wants a process without
threads.
"""

import sys
from functools import partial
from pathlib import Path

from gigaslide.cohort import Cohort
from gigaslide.patching import PatchStore, write
from sums import killed_at
from tiling import SIDE, content_hash, tile

NEVER = 10**9


def resumed(cohort: Cohort, store: Path) -> None:
    tile(cohort, store)
    left = [path.name for path in store.rglob(".*")]
    sys.stdout.write(f"{store.name} {content_hash(PatchStore(store))} {left}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    cohort, folder, every = Cohort.load(Path(sys.argv[1])), Path(sys.argv[2]), int(sys.argv[3])
    # A few patches a shard, so that blocks have several shards and slides several blocks.
    write.SHARD_BYTES, write.BLOCK_ROWS = 3 * SIDE * SIDE * 9, 2 * 9
    change, killed = 0, True
    while killed:
        store = folder / str(change)
        killed = killed_at(change, partial(tile, cohort, store))
        killed_at(
            NEVER, partial(resumed, cohort, store)
        )  # in a child too: this process must have no threads to fork
        change += every
