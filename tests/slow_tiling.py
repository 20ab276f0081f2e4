"""Tiling in many small blocks that take their time, so that something can befall it half-way.

As a file:  python slow_tiling.py COHORT.csv STORE WORKERS PAUSE_S  tiles, and ends as the command
does.
"""

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from gigaslide.batch import (
    SILENT,
    BatchSettings,
    BatchSummary,
    BlockPlan,
    Listener,
    SlideContext,
    SlideOutcome,
    Stopped,
)
from gigaslide.cohort import Cohort
from gigaslide.patching import tile as tile_module
from gigaslide.patching import tile_cohort
from gigaslide.patching import write as write_module
from gigaslide.patching.blocks import SlideToTile, TileBlocks
from gigaslide.storage import BlockRecord, Location, Output
from gigaslide.storage.location import parse_location
from gigaslide.wsi import Slide
from tiling import SETTINGS, SIDE

A_SHARD, A_BLOCK = 5, 10  # patches
TRULY = TileBlocks


@dataclass(frozen=True)
class SlowBlocks:
    """`TileBlocks` with few patches a block and a pause in each, in whatever process."""

    true: TileBlocks
    pause_s: float

    def output(self, slide: SlideToTile) -> Output:
        with _small():
            return self.true.output(slide)

    def open(self, slide: SlideToTile) -> AbstractContextManager[Slide]:
        return self.true.open(slide)

    def prepare(self, context: SlideContext[SlideToTile]) -> BlockPlan | SlideOutcome:
        with _small():
            return self.true.prepare(context)

    def block(self, context: SlideContext[SlideToTile], number: int) -> BlockRecord:
        time.sleep(self.pause_s)
        with _small():
            return self.true.block(context, number)

    def assemble(
        self, context: SlideContext[SlideToTile], records: Mapping[int, BlockRecord]
    ) -> Mapping[str, object]:
        with _small():
            return self.true.assemble(context, records)

    def outcome(self, slide: SlideToTile, attributes: Mapping[str, object]) -> SlideOutcome:
        return self.true.outcome(slide, attributes)


@contextmanager
def _small() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write_module, "SHARD_BYTES", A_SHARD * SIDE * SIDE * 3)
        patch.setattr(write_module, "BLOCK_ROWS", A_BLOCK)
        patch.setattr(
            write_module, "STACK_BYTES", A_SHARD * SIDE * SIDE * 3
        )  # a block is two stacks
        yield


def tile_slowly(
    cohort: Cohort, store: Location, *, pause_s: float = 0.0, on_block=SILENT.on_block, **batch
) -> BatchSummary:
    """batch: as for `BatchSettings`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            tile_module, "TileBlocks", lambda *what, **how: SlowBlocks(TRULY(*what, **how), pause_s)
        )
        settings = SETTINGS.model_copy(update={"check_space": False})
        return tile_cohort(
            cohort, store, settings, BatchSettings(**batch), listener=Listener(on_block=on_block)
        )


if __name__ == "__main__":
    workers, pause = int(sys.argv[3]), float(sys.argv[4])
    try:
        cohort, store = Cohort.load(Path(sys.argv[1])), parse_location(sys.argv[2], Path.cwd())
        sys.exit(
            tile_slowly(cohort, store, pause_s=pause, workers=workers, memory_gb=1.5).exit_status
        )
    except Stopped as stopped:
        sys.exit(stopped.exit_status)
