"""Segmentation of a slide in blocks, as `PredictBlocks` predicts windows."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...batch import LostBlocksError, SlideContext
from ...cohort import CohortSlide
from ...storage import BlockRecord, read_file, write_file
from ...wsi import CellGrid
from ..blocks import PredictBlocks
from ..clock import BlockClock
from ..order import order_by_square
from ..runtime_notes import Loaded
from ..score import WindowScores
from .score import RegionScorer, cells_of_small_tile

__all__ = ["RegionBlocks"]

SIDE_PX = 512
"""With a reach of 107 px a tile then has twice the px of its cells."""
SCORES = "scores"
NUMBERS = np.dtype("<f4")


def _file_of(number: int) -> str:
    return f"{SCORES}/{number:06}"


@dataclass(frozen=True, kw_only=True)
class RegionBlocks(PredictBlocks):
    """`BlockWork` that writes the heatmap of a model that segments regions.

    Beside the records, the partial output keeps the scores of block N in `scores/N`: probability,
    spread if there are several models, status. A slide has millions of cells, which are too many
    for JSON.
    """

    side_px: int = SIDE_PX
    """Side of the square of cells of a block, window px; rounded to whole small squares."""

    @property
    def _layout(self) -> dict[str, Any]:
        return {"region_side": self._block_side, "spread": "spread" in self._values}

    @property
    def _block_side(self) -> int:
        small = cells_of_small_tile(self._stride_px)
        return small * max(1, round(self.side_px / (small * self._stride_px)))

    def _order(self, cells: np.ndarray) -> tuple[np.ndarray, list[int]]:
        return order_by_square(cells, self._block_side)

    def _score(
        self,
        context: SlideContext[CohortSlide],
        grid: CellGrid,
        cells: np.ndarray,
        loaded: list[Loaded],
        clock: BlockClock,
    ) -> WindowScores:
        with clock.load():
            loaded.append(predictor := self.load_region_predictor())
        scorer = RegionScorer(
            slide=context.opened,
            grid=grid,
            predictor=clock.watch_tiles(predictor),
            settings=self.settings,
            stain=self._stain_fit(context),
            threads=self._reading_threads,
        )
        return scorer.score(cells, side=self._block_side)

    def _keep(
        self, context: SlideContext[CohortSlide], number: int, scores: WindowScores
    ) -> dict[str, Any]:
        values = [getattr(scores, name).astype(NUMBERS).tobytes() for name in self._values]
        content = b"".join([*values, scores.status.astype(np.uint8).tobytes()])
        write_file(context.partial.folder, _file_of(number), content)
        return {"sha256": hashlib.sha256(content).hexdigest()}

    def _kept(
        self, context: SlideContext[CohortSlide], number: int, record: BlockRecord
    ) -> Mapping[str, Any]:
        content = read_file(context.partial.folder, _file_of(number)) or b""
        count, start, kept = record.counts["windows"], 0, {}
        for name in self._values:
            kept[name] = np.frombuffer(content, NUMBERS, count, start)
            start += count * NUMBERS.itemsize
        return {**kept, "status": np.frombuffer(content, np.uint8, count, start)}

    def assemble(
        self, context: SlideContext[CohortSlide], records: Mapping[int, BlockRecord]
    ) -> dict[str, Any]:
        lost = [k for k, record in records.items() if not self._is_whole(context, k, record)]
        if lost:
            raise LostBlocksError(lost)
        return super().assemble(context, records)

    def _is_whole(
        self, context: SlideContext[CohortSlide], number: int, record: BlockRecord
    ) -> bool:
        content = read_file(context.partial.folder, _file_of(number)) or b""
        size = record.counts["windows"] * (len(self._values) * NUMBERS.itemsize + 1)
        found = hashlib.sha256(content).hexdigest()
        # Records of runs that began before had no checksum.
        return len(content) == size and found == record.notes.get("sha256", found)
