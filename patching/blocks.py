"""Tiling in blocks: a slide is planned, its shards are written block by block, then its group gets its name.

Beside what `Pieces` keeps, the plan lies in .NAME.partial/plan: made once, read by every block.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from ..batch import BlockPlan, Pieces, SlideOutcome
from ..wsi import CohortSlide, Recipe, SlideError, StoreError, ceil_div, open_slide, whole_file
from .contents import find_slide
from .pixels import fitted_stains, read_pixels
from .place import remove_group
from .plan import SlidePlan, failure_identity, plan_slide, recipe_of
from .quota import Quota
from .select import Candidates
from .settings import TileSettings
from .shard import BLOSC
from .write import (
    create_arrays,
    group_json,
    layouts,
    rows_at_once,
    rows_per_shard,
    shard_files,
    write_rest,
    write_stack,
)

__all__ = ["SlideWork", "TileBlocks", "lost_words", "unchanged"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class SlideWork:
    """What a worker needs to know of one slide."""

    slide: CohortSlide
    quota: Quota

    @property
    def id(self) -> str:
        return self.slide.id


@dataclass(frozen=True, kw_only=True)
class _Block:
    """Rows start to stop of one class: whole shards."""

    name: str
    start: int
    stop: int


@dataclass(frozen=True, kw_only=True)
class _Kept:
    """The plan on disk."""

    folder: Path
    rows: dict[str, int]
    reason: str
    changed: str
    stain: dict[str, Any]
    shards: dict[str, Any]

    @classmethod
    def load(cls, folder: Path, settings: TileSettings) -> "_Kept | None":
        """None where there is none, or a part of one, or one for other shards or blocks than would be made now."""
        try:
            kept = cls(folder=folder, **json.loads((folder / "plan.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None
        return kept if kept.shards == _shards(kept.rows, settings) else None

    @classmethod
    def save(
        cls, folder: Path, plan: SlidePlan, settings: TileSettings, *, changed: str, stain: dict[str, Any]
    ) -> None:
        folder.mkdir()
        for name, rows in plan.chosen.items():
            for field in fields(rows):
                np.save(folder / f"{name}.{field.name}.npy", getattr(rows, field.name))
        numbers = {name: len(rows) for name, rows in plan.chosen.items()}
        shards = _shards(numbers, settings)
        plain = {"rows": numbers, "reason": plan.reason, "changed": changed, "stain": stain, "shards": shards}
        with whole_file(folder / "plan.json") as file:  # last: with it the plan is whole
            file.write_text(json.dumps(plain), encoding="utf-8")

    def candidates(self, name: str) -> Candidates:
        """Of a class. The arrays are mapped: what is not asked for is not read."""
        paths = {field.name: self.folder / f"{name}.{field.name}.npy" for field in fields(Candidates)}
        return Candidates(**{field: np.load(path, mmap_mode="r") for field, path in paths.items()})

    def blocks(self, settings: TileSettings) -> list[_Block]:
        found = []
        for name, rows in self.rows.items():
            side = rows_at_once(rows, settings.arrays)
            for start in range(0, rows, side):
                found.append(_Block(name=name, start=start, stop=min(rows, start + side)))
        return found


def _shards(numbers: Mapping[str, int], settings: TileSettings) -> dict[str, Any]:
    """By class, on what the meaning of shards and receipts on disk hangs besides the recipe."""
    arrays = settings.arrays
    return {
        name: {"codec": BLOSC, "per_shard": rows_per_shard(rows, arrays), "at_once": rows_at_once(rows, arrays)}
        for name, rows in numbers.items()
    }


@dataclass(frozen=True)
class TileBlocks:
    """`BlockWork` that tiles slides into a store in a folder."""

    store: Path
    settings: TileSettings

    def _recipe(self, slide: SlideWork) -> Recipe:
        return recipe_of(slide.slide, self.settings, slide.quota)

    def _kept(self, pieces: Pieces) -> _Kept:
        kept = _Kept.load(pieces.partial / "plan", self.settings)
        if kept is None:
            raise StoreError(
                f"{pieces.partial}: the plan is gone; leave the store alone while it is made, and run again"
            )
        return kept

    def plan(self, slide: SlideWork) -> BlockPlan | SlideOutcome:
        place, recipe, changed = self.store / slide.id, self._recipe(slide), ""
        found = find_slide(place)
        if found is not None:
            differences = Recipe.from_json(found["recipe"]).differences(recipe)
            if not differences:
                return unchanged(slide.slide, found)
            changed = f"made again: {'; '.join(differences)}"
            logger.info("%s: %s", slide.id, changed)
            remove_group(place)  # should the new one fail, nothing of another recipe stands in for it
        pieces = Pieces(place, recipe.to_json())
        kept = _Kept.load(pieces.partial / "plan", self.settings) if pieces.is_begun() else None
        blocks = (kept or self._prepare(slide, pieces, changed)).blocks(self.settings)
        done = pieces.done()
        return BlockPlan(blocks=len(blocks), pending=tuple(k for k in range(len(blocks)) if k not in done))

    def _prepare(self, slide: SlideWork, pieces: Pieces, changed: str) -> _Kept:
        row = slide.slide
        with open_slide(row.path, mpp=row.mpp, fallback_mpp=self.settings.slide_mpp) as opened:
            plan = plan_slide(opened, row, self.settings, slide.quota)
            stain = {fit.method: fit.to_json() for fit in fitted_stains(opened, plan, self.settings)}
        pieces.begin_anew()
        for name, rows in plan.chosen.items():
            create_arrays(pieces.whole / name, len(rows), self.settings.arrays)
        _Kept.save(pieces.partial / "plan", plan, self.settings, changed=changed, stain=stain)
        return self._kept(pieces)

    def block(self, slide: SlideWork, number: int) -> dict[str, int]:
        pieces, row = Pieces(self.store / slide.id), slide.slide
        kept = self._kept(pieces)
        block = kept.blocks(self.settings)[number]
        planned = layouts(kept.rows[block.name], self.settings.arrays)
        with open_slide(row.path, mpp=row.mpp, fallback_mpp=self.settings.slide_mpp) as opened:
            pixels = read_pixels(
                opened,
                kept.candidates(block.name),
                self.settings,
                group=f"{slide.id}/{block.name}",
                start=block.start,
                stop=block.stop,
            )
            rows = range(block.start, block.stop)
            readable = write_stack(pieces.whole / block.name, planned, rows, pixels)
        per_shard = rows_per_shard(kept.rows[block.name], self.settings.arrays)
        shards = range(block.start // per_shard, ceil_div(block.stop, per_shard))
        files = [
            file
            for name, shape in self.settings.arrays.items()
            for file in shard_files(pieces.whole / block.name / name, shards, shape)
        ]
        lost = sorted(set(rows) - set(readable))
        counts = {block.name: len(readable)}
        pieces.record(number, files, counts, notes={"unreadable": lost})
        return counts

    def finish(self, slide: SlideWork) -> SlideOutcome | BlockPlan:
        pieces = Pieces(self.store / slide.id)
        kept, recipe = self._kept(pieces), Recipe.from_json(pieces.begun_from())
        changes = recipe.differences(self._recipe(slide))
        if changes:
            raise SlideError(f"{slide.slide.path}: changed while it was tiled ({'; '.join(changes)}); run again")
        receipts, blocks = pieces.receipts(), kept.blocks(self.settings)
        gone = tuple(number for number in range(len(blocks)) if number not in receipts)
        if gone:
            return BlockPlan(blocks=len(blocks), pending=gone)
        lost = {name: np.zeros(rows, bool) for name, rows in kept.rows.items()}
        for number, block in enumerate(blocks):
            lost[block.name][receipts[number].notes["unreadable"]] = True
        for name in kept.rows:
            write_rest(pieces.whole / name, kept.candidates(name), lost[name])
        counts = {name: int((~flags).sum()) for name, flags in lost.items()}
        unreadable = {name: int(flags.sum()) for name, flags in lost.items()}
        arrays = {name: list(shape) for name, shape in self.settings.arrays.items()}
        made = {"counts": counts, "unreadable": unreadable, "arrays": arrays}
        content = group_json({"recipe": recipe.to_json(), **made, "stain": kept.stain})
        (pieces.whole / "zarr.json").write_bytes(content)
        pieces.finish()
        missing = sum(unreadable.values())
        reasons = [kept.changed, kept.reason, lost_words(missing) if missing else ""]
        return SlideOutcome(
            slide=slide.id,
            status="partial" if missing else "done",
            reason="; ".join(filter(None, reasons)),
            counts=counts,
        )

    def identity(self, slide: SlideWork) -> str | None:
        return failure_identity(slide.slide, self.settings, slide.quota)


def unchanged(slide: CohortSlide, found: dict[str, Any]) -> SlideOutcome:
    """The outcome of a slide whose group is there, from its attributes."""
    unreadable = sum(found["unreadable"].values())
    return SlideOutcome(
        slide=slide.id,
        # What is lost is lost the second time too, and the exit status must say so again.
        status="partial" if unreadable else "skipped",
        reason=f"unchanged; {lost_words(unreadable)}" if unreadable else "unchanged",
        counts=found["counts"],
    )


def lost_words(unreadable: int) -> str:
    """Of so many patches, in words."""
    return f"{unreadable} patches could not be read"
