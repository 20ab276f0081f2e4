"""Prediction of a slide in blocks: find its cells, score them block by block, save the heatmap."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..batch import BlockPlan, SlideContext, SlideOutcome, available_cores
from ..cohort import CohortSlide
from ..models import Ensemble, Predictor, load_predictor
from ..storage import (
    GROUP,
    BlockRecord,
    ModelError,
    Output,
    SlideError,
    format_count,
    format_location,
    read_file,
    read_part,
    write_file,
)
from ..wsi import (
    CellStatus,
    Heatmap,
    Slide,
    StainFit,
    ceil_div,
    floor_div,
    open_slide,
    warn_of_unlikely_mpp,
)
from .export import export_prediction, exports_output
from .prediction_folder import (
    HEATMAP,
    count_cells,
    heatmap_recipe,
    refuse_foreign_folder,
    refuse_missing_slide,
)
from .score import (
    cells_per_call,
    find_cells,
    fit_slide_stain,
    heatmap_fields,
    heatmap_grid,
    score_windows,
)
from .settings import PredictSettings

__all__ = ["PredictBlocks"]

BLOCK_PX = 2**27
"""1500 patches of 299 px: half a second of InceptionV3 on a fast GPU, two minutes on two cores. A
killed run loses at most one block per worker. The same on every machine, so that any machine can
continue what another began."""
READING_THREADS = 4
CELLS, INITIAL_STATUS = "cells", "status"
CELL = np.dtype("<i4")


@dataclass(frozen=True, kw_only=True)
class PredictBlocks:
    """`BlockWork` that writes OUT/<slide>/heatmap.zarr and, once it is whole, the exports beside
    it.

    Scores are kept in the records of the blocks until the last one is there. Beside them, the
    partial output keeps the cells in the order of their blocks (`cells`) and the status of all
    cells before any is scored (`status`).
    """

    models: Ensemble
    out: Path
    settings: PredictSettings
    threads: int | None
    """Compute threads of the network; None = as many as the runtime finds best."""
    block_px: int = BLOCK_PX
    """Pixels that the network takes in one block."""

    def output(self, slide: CohortSlide) -> Output:
        refuse_missing_slide(slide)
        refuse_foreign_folder(self.out / slide.id)
        return Output(
            location=self.out / slide.id / HEATMAP,
            recipe=heatmap_recipe(slide, self.models.identity, self.settings),
            recipe_file=GROUP,
            layout=self._layout,
        )

    def open(self, slide: CohortSlide) -> AbstractContextManager[Slide]:
        return open_slide(slide.path, mpp=slide.mpp, fallback_mpp=self.settings.slide_mpp)

    def prepare(self, context: SlideContext[CohortSlide]) -> BlockPlan:
        slide, settings = context.slide, self.settings
        # They describe another heatmap, which nobody sees any more.
        exports_output(self.out / slide.id, "", settings).remove()
        opened = context.opened
        grid, status = find_cells(opened, self.models.input_spec, settings)
        cells = _order_cells(np.argwhere(status == CellStatus.NOT_YET), self.cells_per_block)
        write_file(context.partial.folder, CELLS, cells.astype(CELL).tobytes())
        write_file(context.partial.folder, INITIAL_STATUS, status.tobytes())
        fields = {**heatmap_fields(opened, grid), "slide": slide.id}
        xy = grid.windows_xy(np.argwhere(status == CellStatus.NOT_YET))
        stain = fit_slide_stain(opened, xy, self.models.input_spec, settings)
        return BlockPlan(
            blocks=ceil_div(len(cells), self.cells_per_block),
            data={
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
        stain = context.plan.data.get("stain")
        scores = score_windows(
            context.opened,
            grid.windows_xy(cells),
            self.load_predictor(),
            self.settings,
            stain=StainFit.from_json(stain) if stain else None,
            threads=min(READING_THREADS, self.threads or available_cores()),
        )
        notes = {"probability": _to_json(scores.probability), "status": scores.status.tolist()}
        if scores.spread is not None:
            notes["spread"] = _to_json(scores.spread)
        return BlockRecord(counts={"windows": len(cells)}, notes=notes)

    def assemble(
        self, context: SlideContext[CohortSlide], records: Mapping[int, BlockRecord]
    ) -> dict[str, Any]:
        plan = context.plan.data
        content = read_file(context.partial.folder, INITIAL_STATUS) or b""
        status = np.frombuffer(content, np.uint8).reshape(plan["shape"]).copy()
        values = {name: np.full(status.shape, np.nan, np.float32) for name in self._values}
        for number, record in records.items():
            at = tuple(self._cells(context, number).T)
            for name, filled in values.items():
                filled[at] = record.notes[name]
            status[at] = record.notes["status"]
        if plan["cells"] and not (status == CellStatus.SCORED).any():
            context.partial.discard()  # so that a later run reads them again
            raise _explain_no_score(context.slide, status)
        heatmap = Heatmap(
            status=status,
            **values,
            model_hash=self.models.hash,
            **{name: _as_tuple(value) for name, value in plan["fields"].items()},
        )
        heatmap.save_arrays(context.partial.whole)
        return {**heatmap.attributes, "counts": count_cells(heatmap)}

    def outcome(self, slide: CohortSlide, attributes: Mapping[str, Any]) -> SlideOutcome:
        """Describe the heatmap and bring the exports up to date with it."""
        warn_of_unlikely_mpp(slide.id, attributes["slide_mpp"])
        detections, why = export_prediction(
            self.out / slide.id,
            attributes["content_sha256"],
            self.settings,
            open_slide=lambda: self.open(slide),
        )
        counts = attributes["counts"]
        reasons = [f"detections made again: {why}"] if why else []
        if not any(counts.values()):
            reasons.append("no tissue")
        if counts["unreadable"]:
            reasons.append(f"{format_count(counts['unreadable'], 'cell')} could not be read")
        if counts["nan"]:
            reasons.append(f"the network gave NaN for {format_count(counts['nan'], 'cell')}")
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
        return {"cells_per_block": self.cells_per_block, **has_spread}

    def _cells(self, context: SlideContext[CohortSlide], number: int) -> np.ndarray:
        """Cells of one block, (N, 2) int32 (row, column)."""
        first = number * self.cells_per_block
        last = min(first + self.cells_per_block, context.plan.data["cells"])
        size = 2 * CELL.itemsize
        content = read_part(context.partial.folder, CELLS, start=first * size, stop=last * size)
        return np.frombuffer(content, CELL).reshape(-1, 2)

    def load_predictor(self) -> Predictor:
        """Load the network; a process keeps it from block to block.

        Raises:
            ModelError: it cannot be loaded, or the model folder changed.
        """
        predictor = load_predictor(
            self.models.folders,
            runtime=self.settings.runtime,
            threads=self.threads,
            architecture=self.settings.architecture,
        )
        if predictor.hash != self.models.hash:
            folders = ", ".join(map(str, self.models.folders))
            raise ModelError(f"{folders}: another model since the run began; run again")
        return predictor

    @property
    def cells_per_block(self) -> int:
        """Number of cells in a block: those of whole calls of the network."""
        spec, in_call = self.models.input_spec, cells_per_call(self.settings)
        call_px = in_call * self.settings.orientations * len(spec.mpps) * spec.patch_px**2
        return in_call * max(1, round(self.block_px / call_px))


def _order_cells(cells: np.ndarray, size: int) -> np.ndarray:
    """Order cells (N, 2) (row, column) by squares of about `size` cells, so that consecutive cells
    lie near each other and few tiles are read for two blocks."""
    side = max(1, floor_div(size**0.5, 1))
    rows, columns = cells.T
    return cells[np.lexsort((columns, rows, columns // side, rows // side))]


def _explain_no_score(slide: CohortSlide, status: np.ndarray) -> SlideError:
    unreadable = int((status == CellStatus.UNREADABLE).sum())
    nan = int((status == CellStatus.FAILED).sum())
    facts = [f"{format_count(unreadable, 'cell')} could not be read"] if unreadable else []
    facts += [f"the network gave NaN for {format_count(nan, 'cell')}"] if nan else []
    return SlideError(
        f"{format_location(slide.path)}: no cell has a probability: {' and '.join(facts)}; "
        + ("copy the file again" if unreadable else "train the model again")
    )


def _to_json(values: np.ndarray) -> list[float | None]:
    """Values as plain JSON, None for NaN."""
    return [None if np.isnan(value) else value for value in values.tolist()]


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
