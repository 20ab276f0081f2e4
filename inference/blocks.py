"""Prediction of a slide in blocks: find its cells, score them block by block, save the heatmap."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..batch import BlockPlan, SlideContext, SlideOutcome, available_cores
from ..cohort import CohortSlide
from ..models import DensePredictor, Predictor, hash_int8
from ..storage import GROUP, BlockRecord, Output, read_file, write_file
from ..wsi import (
    CellGrid,
    CellStatus,
    Heatmap,
    Region,
    Slide,
    StainFit,
    open_slide,
    warn_of_unlikely_mpp,
)
from .block_cells import keep_cells, read_cells
from .clock import BlockClock
from .exports.beside_heatmap import beside_output, write_beside_heatmap
from .exports.exporters import remove_exports
from .lost_cells import explain_no_score, list_reasons
from .modes import FastScorer, Networks
from .network_loader import NetworkLoader
from .order import block_side, order_by_square, order_near
from .prediction_folder import (
    HEATMAP,
    describe_heatmap,
    heatmap_recipe,
    refuse_foreign_folder,
    refuse_missing_slide,
)
from .runtime_notes import Loaded, describe_runtimes, note_runtimes
from .score import (
    WindowScores,
    cells_per_call,
    find_cells,
    fit_slide_stain,
    heatmap_fields,
    heatmap_grid,
    leave_out_cells,
    score_windows,
)

__all__ = ["PredictBlocks"]

BLOCK_PX = 2**27
"""1500 patches of 299 px: half a second of InceptionV3 on a fast GPU, two minutes on two cores. A
killed run loses at most one block per worker. The same on every machine, so that any machine can
continue what another began."""
READING_THREADS = 4
INITIAL_STATUS = "status"


@dataclass(frozen=True, kw_only=True)
class PredictBlocks(NetworkLoader):
    """`BlockWork` that writes OUT/<slide>/heatmap.zarr and, once it is whole, the exports beside
    it.

    Scores are kept in the records of the blocks until the last one is there. Beside them, the
    partial output keeps the cells in the order of their blocks (`cells`) and the status of all
    cells before any is scored (`status`).
    """

    out: Path
    block_px: int = BLOCK_PX
    """Pixels that the network takes in one block."""
    within: Region | None = None
    """Part of the slide whose cells are scored, by their centres; None: the whole slide."""

    def output(self, slide: CohortSlide) -> Output:
        refuse_missing_slide(slide)
        refuse_foreign_folder(self.out / slide.id)
        return Output(
            location=self.out / slide.id / HEATMAP,
            recipe=heatmap_recipe(slide, self._identity, self.settings, within=self.within),
            recipe_file=GROUP,
            layout=self._layout,
        )

    @property
    def _identity(self) -> dict[str, Any]:
        """Plain JSON of the models, and of the int8 networks that are used."""
        if not (self.settings.needs_dense and self.settings.first_pass_precision == "int8"):
            return self.models.identity
        return {**self.models.identity, "int8": hash_int8(self.models)}

    def open(self, slide: CohortSlide) -> AbstractContextManager[Slide]:
        return open_slide(slide.path, mpp=slide.mpp, fallback_mpp=self.settings.slide_mpp)

    def prepare(self, context: SlideContext[CohortSlide]) -> BlockPlan:
        slide, settings = context.slide, self.settings
        # They describe another heatmap, which nobody sees any more.
        beside_output(self.out / slide.id, "", settings).remove()
        remove_exports(self.out / slide.id, slide.id)
        opened = context.opened
        grid, status = find_cells(opened, self.models.input_spec, settings)
        # The stain is that of the whole slide, whatever part is scored.
        xy = grid.windows_xy(np.argwhere(status == CellStatus.NOT_YET))
        stain = fit_slide_stain(opened, xy, self.models.input_spec, settings)
        if self.within is not None:
            status = leave_out_cells(grid, status, self.within)
        cells, starts = self._order(np.argwhere(status == CellStatus.NOT_YET))
        keep_cells(context.partial.folder, cells)
        write_file(context.partial.folder, INITIAL_STATUS, status.tobytes())
        fields = {**heatmap_fields(opened, grid), "slide": slide.id}
        return BlockPlan(
            blocks=len(starts) - 1,
            data={
                "starts": starts,
                "cells": len(cells),
                "shape": status.shape,
                "fields": fields,
                "stain": stain and stain.to_json(),
            },
            counts={"windows": len(cells)},
        )

    def block(self, context: SlideContext[CohortSlide], number: int) -> BlockRecord:
        grid = heatmap_grid(context.opened, self.settings, self.models.input_spec)
        cells = self._cells(context, number)
        loaded: list[Loaded] = []
        clock = BlockClock(context.opened)
        scores = self._score(context, grid, cells, loaded, clock)
        notes = {**self._keep(context, number, scores), "runtimes": note_runtimes(loaded)}
        return BlockRecord(counts={"windows": len(cells)}, notes=notes, seconds=clock.parts)

    def _keep(
        self, context: SlideContext[CohortSlide], number: int, scores: WindowScores
    ) -> dict[str, Any]:
        """Keep the scores of a block until all are there; return what its record is to note."""
        kept = {"probability": _to_json(scores.probability), "status": scores.status.tolist()}
        if scores.spread is not None:
            kept["spread"] = _to_json(scores.spread)
        return kept

    def _kept(
        self, context: SlideContext[CohortSlide], number: int, record: BlockRecord
    ) -> Mapping[str, Any]:
        """Return what `_keep` kept: probability, status and spread of the block's cells."""
        return record.notes

    @property
    def _reading_threads(self) -> int:
        return min(READING_THREADS, self.threads or available_cores())

    def _stain_fit(self, context: SlideContext[CohortSlide]) -> StainFit | None:
        """Return the stain of the whole slide, as the plan keeps it; None without normalisation."""
        stain = context.plan.data.get("stain")
        return StainFit.from_json(stain) if stain else None

    def _score(
        self,
        context: SlideContext[CohortSlide],
        grid: CellGrid,
        cells: np.ndarray,
        loaded: list[Loaded],
        clock: BlockClock,
    ) -> WindowScores:
        """Score cells; add the networks that this took to loaded, and their time to the clock."""
        fit, threads = self._stain_fit(context), self._reading_threads

        def load_patches() -> Predictor:
            with clock.load():
                loaded.append(predictor := self.load_predictor())
            return clock.watch(predictor)

        def load_dense() -> DensePredictor:
            with clock.load():
                loaded.append(predictor := self.load_dense_predictor())
            return clock.watch_tiles(predictor)

        if self.settings.mode == "exact":
            xy = grid.windows_xy(cells)
            predictor = load_patches()
            return score_windows(
                context.opened, xy, predictor, self.settings, stain=fit, threads=threads
            )
        return FastScorer(
            slide=context.opened,
            grid=grid,
            status=self._initial_status(context),
            networks=Networks(patches=load_patches, dense=load_dense),
            settings=self.settings,
            stain=fit,
            threads=threads,
        ).score(cells)

    def assemble(
        self, context: SlideContext[CohortSlide], records: Mapping[int, BlockRecord]
    ) -> dict[str, Any]:
        plan = context.plan.data
        status = self._initial_status(context).copy()
        values = {name: np.full(status.shape, np.nan, np.float32) for name in self._values}
        for number, record in records.items():
            at = tuple(self._cells(context, number).T)
            kept = self._kept(context, number, record)
            for name, filled in values.items():
                filled[at] = kept[name]
            status[at] = kept["status"]
        if plan["cells"] and not np.isin(status, (CellStatus.SCORED, CellStatus.FIRST_PASS)).any():
            context.partial.discard()  # so that a later run reads them again
            raise explain_no_score(context.slide, status)
        heatmap = Heatmap(
            status=status,
            **values,
            model_hash=self.models.hash,
            **{name: _as_tuple(value) for name, value in plan["fields"].items()},
        )
        heatmap.save_arrays(context.partial.whole)
        facts = {"mode": self.settings.mode, **describe_runtimes(records.values())}
        if self.settings.needs_dense:
            facts["first_pass_precision"] = self.settings.dense_precision
        return describe_heatmap(heatmap, facts)

    def outcome(self, slide: CohortSlide, attributes: Mapping[str, Any]) -> SlideOutcome:
        """Describe the heatmap and bring the exports up to date with it."""
        warn_of_unlikely_mpp(slide.id, attributes["slide_mpp"])
        detections, why = write_beside_heatmap(
            self.out / slide.id,
            attributes["content_sha256"],
            self.settings,
            open_slide=lambda: self.open(slide),
        )
        counts = attributes["counts"]
        reasons = [f"detections made again: {why}"] if why else []
        if not any(counts.values()):
            reasons.append("no tissue")
        reasons += list_reasons(unreadable=counts["unreadable"], nan=counts["nan"])
        return SlideOutcome(
            slide=slide.id,
            status="partial" if counts["unreadable"] or counts["nan"] else "done",
            reason="; ".join(reasons),
            counts={**counts, "detections": detections},
        )

    @property
    def _values(self) -> tuple[str, ...]:
        """Arrays of a heatmap that the blocks score."""
        return ("probability", "spread") if len(self.models.folders) > 1 else ("probability",)

    @property
    def _layout(self) -> dict[str, Any]:
        # Blocks of an ensemble that were scored before heatmaps had a spread lack it.
        has_spread = {"spread": True} if "spread" in self._values else {}
        if self.settings.mode != "exact":
            return {"block_side": self._block_side, **has_spread}
        return {"cells_per_block": self.cells_per_block, **has_spread}

    @property
    def _block_side(self) -> int:
        return block_side(self.settings, self._stride_px)

    def _order(self, cells: np.ndarray) -> tuple[np.ndarray, list[int]]:
        """Order cells by blocks: the cells, and where each block begins, followed by N."""
        if self.settings.mode != "exact":
            return order_by_square(cells, self._block_side)
        size = self.cells_per_block
        return order_near(cells, size), [*range(0, len(cells), size), len(cells)]

    def _initial_status(self, context: SlideContext[CohortSlide]) -> np.ndarray:
        """Status of all cells before any is scored, (rows, columns) uint8."""
        content = read_file(context.partial.folder, INITIAL_STATUS) or b""
        return np.frombuffer(content, np.uint8).reshape(context.plan.data["shape"])

    def _cells(self, context: SlideContext[CohortSlide], number: int) -> np.ndarray:
        """Cells of one block, (N, 2) int32 (row, column)."""
        plan = context.plan.data
        if "starts" in plan:
            first, last = plan["starts"][number : number + 2]
        else:  # of a run that began before plans had it
            first = number * self.cells_per_block
            last = min(first + self.cells_per_block, plan["cells"])
        return read_cells(context.partial.folder, first=first, stop=last)

    @property
    def cells_per_block(self) -> int:
        """Number of cells in a block: those of whole calls of the network."""
        spec, in_call = self.models.input_spec, cells_per_call(self.settings)
        call_px = in_call * self.settings.orientations * len(spec.mpps) * spec.patch_px**2
        return in_call * max(1, round(self.block_px / call_px))


def _to_json(values: np.ndarray) -> list[float | None]:
    """Values as plain JSON, None for NaN."""
    return [None if np.isnan(value) else value for value in values.tolist()]


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
