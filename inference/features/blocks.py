"""Features of a slide in blocks: find its windows, encode them block by block, save them."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...batch import BlockPlan, SlideContext, SlideOutcome, available_cores
from ...cohort import CohortSlide
from ...models import Encoder, EncoderDescription, load_encoder
from ...storage import (
    GROUP,
    BlockRecord,
    Output,
    Recipe,
    SlideError,
    StoreError,
    file_identity,
    format_count,
    format_location,
    location_exists,
    read_file,
    write_file,
)
from ...wsi import (
    Slide,
    SlideFeatures,
    StainFit,
    ceil_div,
    floor_div,
    open_slide,
    warn_of_unlikely_mpp,
)
from ..block_cells import keep_cells, read_cells
from ..clock import BlockClock
from ..order import order_near
from ..score import fit_slide_stain
from ..settings import FeatureSettings
from .encode import encode_windows, find_windows, window_grid

__all__ = ["FeatureBlocks"]

STAGE = "features"
BLOCK_PX = 2**25
"""669 windows of 224 px: ten seconds of a small network on two cores, ten minutes of a large
transformer. A killed run loses at most one block per worker. The same on every machine."""
READING_THREADS = 4
ROWS, ROW = "rows", np.dtype("<f2")
ENCODER_SETTINGS = ("encoder", "encoder_weights", "encoder_card", "patch_px", "mpp", "architecture")
NOT_IN_RECIPES = (*ENCODER_SETTINGS, "splits", "batch_size", "runtime")
"""The recipe holds the encoder's hash and card instead."""


@dataclass(frozen=True, kw_only=True)
class FeatureBlocks:
    """`BlockWork` that writes OUT/<slide>.zarr, see `SlideFeatures`.

    The features of each block are kept in a file of their own (`rows/<number>`) beside the cells in
    the order of their blocks (`cells`), until the last one is there.
    """

    encoder: EncoderDescription
    out: Path
    settings: FeatureSettings
    threads: int | None
    """Compute threads of the encoder; None = as many as the runtime finds best."""
    block_px: int = BLOCK_PX
    """Pixels that the encoder takes in one block."""

    def output(self, slide: CohortSlide) -> Output:
        if not location_exists(slide.path):
            raise SlideError(
                f"{format_location(slide.path)}: no such slide; check the path (earlier features "
                "of it stay)"
            )
        settings = self.settings.model_dump(mode="json", exclude=set(NOT_IN_RECIPES))
        encoder = {"hash": self.encoder.hash, **self.encoder.card.identity}
        inputs = {"slide": file_identity(slide.path), "mpp": slide.mpp, "encoder": encoder}
        return Output(
            location=self.out / f"{slide.id}.zarr",
            recipe=Recipe(stage=STAGE, settings=settings, inputs=inputs),
            recipe_file=GROUP,
            layout={"windows_per_block": self.windows_per_block},
        )

    def open(self, slide: CohortSlide) -> AbstractContextManager[Slide]:
        return open_slide(slide.path, mpp=slide.mpp, fallback_mpp=self.settings.slide_mpp)

    def prepare(self, context: SlideContext[CohortSlide]) -> BlockPlan:
        slide, spec = context.opened, self.encoder.card.input_spec
        grid = window_grid(slide, spec, self.settings)
        cells = order_near(find_windows(slide, grid, self.settings), self.windows_per_block)
        keep_cells(context.partial.folder, cells)
        stain = fit_slide_stain(slide, grid.windows_xy(cells), spec, self.settings)
        fields = {
            "slide": context.slide.id,
            "patch_px": spec.patch_px,
            "mpp": grid.scale.mpp,
            "side_level0": grid.side_level0,
            "stride_level0": grid.stride_level0,
            "slide_size": slide.size,
            "slide_mpp": slide.info.mpp,
        }
        return BlockPlan(
            blocks=ceil_div(len(cells), self.windows_per_block),
            data={"windows": len(cells), "fields": fields, "stain": stain and stain.to_json()},
            counts={"windows": len(cells)},
        )

    def block(self, context: SlideContext[CohortSlide], number: int) -> BlockRecord:
        grid = window_grid(context.opened, self.encoder.card.input_spec, self.settings)
        xy = grid.windows_xy(self._cells(context, number))
        stain = context.plan.data.get("stain")
        clock = BlockClock(context.opened)
        with clock.load():
            encoder = clock.watch_encoder(self.load_encoder())
        indices, features = encode_windows(
            context.opened,
            xy,
            encoder,
            self.settings,
            stain=StainFit.from_json(stain) if stain else None,
            threads=min(READING_THREADS, self.threads or available_cores()),
        )
        seconds = clock.parts
        folder = context.partial.folder / ROWS
        write_file(folder, str(number), features.astype(ROW).tobytes())
        notes = {"read": indices.tolist(), "length": features.shape[1]}
        return BlockRecord(counts={"windows": len(xy)}, notes=notes, seconds=seconds)

    def assemble(
        self, context: SlideContext[CohortSlide], records: Mapping[int, BlockRecord]
    ) -> dict[str, Any]:
        plan = context.plan.data
        count = sum(len(record.notes["read"]) for record in records.values())
        if plan["windows"] and not count:
            context.partial.discard()  # so that a later run reads them again
            raise SlideError(
                f"{format_location(context.slide.path)}: none of its "
                f"{format_count(plan['windows'], 'window')} could be read; copy the file again"
            )
        lengths = {record.notes["length"] for record in records.values()}
        length = lengths.pop() if lengths else self.load_encoder().length
        features, xy = np.empty((count, length), np.float16), np.empty((count, 2), np.int64)
        grid = window_grid(context.opened, self.encoder.card.input_spec, self.settings)
        first = 0
        for number in sorted(records):
            read = records[number].notes["read"]
            rows = slice(first, first + len(read))
            features[rows] = self._rows(context, number, (len(read), length))
            xy[rows] = grid.windows_xy(self._cells(context, number)[read])
            first += len(read)
        whole = SlideFeatures(
            features=features,
            xy=xy,
            encoder=self.encoder.card.name,
            encoder_hash=self.encoder.hash,
            encoder_card=self.encoder.card.model_dump(mode="json"),
            **{**plan["fields"], "slide_size": tuple(plan["fields"]["slide_size"])},
        )
        whole.save_arrays(context.partial.whole)
        counts = {"windows": count, "unreadable": plan["windows"] - count, "length": length}
        return {**whole.attributes, "counts": counts}

    def outcome(self, slide: CohortSlide, attributes: Mapping[str, Any]) -> SlideOutcome:
        """Describe saved features."""
        warn_of_unlikely_mpp(slide.id, attributes["slide_mpp"])
        counts = {name: attributes["counts"][name] for name in ("windows", "unreadable")}
        reasons = [] if any(counts.values()) else ["no tissue"]
        if counts["unreadable"]:
            reasons.append(f"{format_count(counts['unreadable'], 'window')} could not be read")
        return SlideOutcome(
            slide=slide.id,
            status="partial" if counts["unreadable"] else "done",
            reason="; ".join(reasons),
            counts=counts,
        )

    def load_encoder(self) -> Encoder:
        """Load the encoder; a process keeps it from block to block.

        Raises:
            ModelError: it cannot be loaded, or changed since the run began.
        """
        settings = self.settings
        return load_encoder(
            settings.source,
            expected=self.encoder,
            runtime=settings.runtime,
            threads=self.threads,
        )

    def _cells(self, context: SlideContext[CohortSlide], number: int) -> np.ndarray:
        """Cells of one block, (N, 2) int32 (row, column)."""
        first = number * self.windows_per_block
        last = min(first + self.windows_per_block, context.plan.data["windows"])
        return read_cells(context.partial.folder, first=first, stop=last)

    def _rows(
        self, context: SlideContext[CohortSlide], number: int, shape: tuple[int, int]
    ) -> np.ndarray:
        """Features of one block, (M, D) float16."""
        folder = context.partial.folder / ROWS
        content = read_file(folder, str(number)) or b""
        if len(content) != shape[0] * shape[1] * ROW.itemsize:
            context.partial.discard()
            raise StoreError(f"{folder / str(number)}: damaged; run again to encode the slide anew")
        return np.frombuffer(content, ROW).reshape(shape)

    @property
    def windows_per_block(self) -> int:
        """Number of windows in a block: those of whole calls of the encoder."""
        spec, in_call = self.encoder.card.input_spec, self.settings.batch_size
        call_px = in_call * len(spec.mpps) * spec.patch_px**2
        return in_call * max(1, floor_div(self.block_px, call_px))
