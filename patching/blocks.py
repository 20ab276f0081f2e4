"""Tiling in blocks: a slide is planned, its shards are written block by block, then its group
becomes whole.

Beside what `Pieces` keeps, the plan lies in .NAME.partial/plan: made once, of which each block
reads its rows.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..batch import BlockPlan, Pieces, SlideOutcome, SlideStatus
from ..cohort import CohortSlide
from ..storage import Location, Recipe, SlideError, StoreError
from ..wsi import open_slide
from .contents import find_slide
from .group import pieces_at, remove_group
from .pixels import fitted_stains, read_pixels
from .place import below, read_files, read_part, write_file
from .plan import SlidePlan, failure_identity, plan_slide, recipe_of, refuse_if_gone
from .quota import Quota
from .select import ROW, Candidates
from .settings import TileSettings
from .shard import BLOSC
from .write import (
    create_arrays,
    group_json,
    layouts,
    rows_per_block,
    rows_per_shard,
    write_rest,
    write_rows,
)

__all__ = ["SlideWork", "TileBlocks"]

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
    """The plan as it lies beside the pieces."""

    place: Location
    rows: dict[str, int]
    reason: str
    changed: str
    stain: dict[str, Any]
    shards: dict[str, Any]

    @classmethod
    def load(cls, pieces: Pieces[Any], settings: TileSettings) -> "_Kept | None":
        """None where there is none, or a part of one, or one for other shards or blocks than would
        be made now."""
        place = below(pieces.partial, "plan")
        try:
            kept = cls(place=place, **json.loads(read_files(place, ["plan.json"])[0] or b"null"))
        except (ValueError, TypeError):
            return None
        return kept if kept.shards == _shards(kept.rows, settings) else None

    @classmethod
    def save(
        cls,
        pieces: Pieces[Any],
        plan: SlidePlan,
        settings: TileSettings,
        *,
        changed: str,
        stain: dict[str, Any],
    ) -> None:
        place = below(pieces.partial, "plan")
        for name, rows in plan.chosen.items():
            write_file(place, f"{name}.rows", rows.to_bytes())
        numbers = {name: len(rows) for name, rows in plan.chosen.items()}
        shards = _shards(numbers, settings)
        plain = {
            "rows": numbers,
            "reason": plan.reason,
            "changed": changed,
            "stain": stain,
            "shards": shards,
        }
        write_file(
            place, "plan.json", json.dumps(plain).encode()
        )  # last: with it the plan is whole

    def candidates(self, name: str, *, start: int = 0, stop: int | None = None) -> Candidates:
        """Rows of a class; the others are not read."""
        stop = self.rows[name] if stop is None else stop
        size = ROW.itemsize
        return Candidates.of_bytes(
            read_part(self.place, f"{name}.rows", start=start * size, stop=stop * size)
        )

    def blocks(self, settings: TileSettings) -> list[_Block]:
        found = []
        for name, rows in self.rows.items():
            side = rows_per_block(rows, settings.arrays)
            for start in range(0, rows, side):
                found.append(_Block(name=name, start=start, stop=min(rows, start + side)))
        return found


def _shards(numbers: Mapping[str, int], settings: TileSettings) -> dict[str, Any]:
    """By class, on what the meaning of shards and receipts on disk hangs besides the recipe."""
    arrays = settings.arrays
    return {
        name: {
            "codec": BLOSC,
            "per_shard": rows_per_shard(rows, arrays),
            "block": rows_per_block(rows, arrays),
        }
        for name, rows in numbers.items()
    }


@dataclass(frozen=True)
class TileBlocks:
    """`BlockWork` that tiles slides into a store, a folder or a URL."""

    store: Location
    settings: TileSettings
    sync_blocks: bool = False
    """Workers may be on several machines: see `FolderPieces`."""

    def _recipe(self, slide: SlideWork) -> Recipe:
        return recipe_of(slide.slide, self.settings, slide.quota)

    def _kept(self, pieces: Pieces[Any]) -> _Kept:
        kept = _Kept.load(pieces, self.settings)
        if kept is None:
            raise StoreError(
                f"{pieces.partial}: the plan is gone; leave the store alone while it is made, and "
                "run again"
            )
        return kept

    def _begun(self, slide: SlideWork, pieces: Pieces[Any]) -> Recipe:
        """The recipe that was begun.

        Raises:
            SlideError: not this run's: the slide changed, or another run began while a worker of
            this one went on.
        """
        recipe = Recipe.from_json(pieces.begun_from())
        changes = recipe.differences(self._recipe(slide))
        if changes:
            raise SlideError(
                f"{slide.slide.path}: changed while it was tiled ({'; '.join(changes)}); run again"
            )
        return recipe

    def plan(self, slide: SlideWork) -> BlockPlan | SlideOutcome:
        place, recipe, changed = below(self.store, slide.id), self._recipe(slide), ""
        found = find_slide(place)
        if found is not None:
            differences = Recipe.from_json(found["recipe"]).differences(recipe)
            if not differences:
                return _outcome(slide, found, "skipped", "unchanged")
            refuse_if_gone(slide.slide)  # a disk that is not mounted costs no patches
            changed = f"made again: {'; '.join(differences)}"
            logger.info("%s: %s", slide.id, changed)
            if any(not words.startswith("settings.") for words in differences):
                remove_group(
                    place
                )  # should the new one fail, nothing of other pixels stands in for it
        pieces = pieces_at(place, recipe.to_json())
        kept = _Kept.load(pieces, self.settings) if found is None and pieces.is_begun() else None
        blocks = (kept or self._prepare(slide, pieces, changed)).blocks(self.settings)
        done = pieces.keep_done()
        return BlockPlan(
            blocks=len(blocks), pending=tuple(k for k in range(len(blocks)) if k not in done)
        )

    def _prepare(self, slide: SlideWork, pieces: Pieces[Any], changed: str) -> _Kept:
        row = slide.slide
        with open_slide(row.path, mpp=row.mpp, fallback_mpp=self.settings.slide_mpp) as opened:
            plan = plan_slide(opened, row, self.settings, slide.quota)
            stain = {
                fit.method: fit.to_json() for fit in fitted_stains(opened, plan, self.settings)
            }
        if (
            find_slide(pieces.place) is not None
        ):  # by other settings, but now there is something to put in its place
            remove_group(pieces.place)
        pieces.begin_anew()
        for name, rows in plan.chosen.items():
            create_arrays(below(pieces.whole, name), len(rows), self.settings.arrays)
        _Kept.save(pieces, plan, self.settings, changed=changed, stain=stain)
        return self._kept(pieces)

    def block(self, slide: SlideWork, number: int) -> dict[str, int]:
        pieces, row = (
            pieces_at(below(self.store, slide.id), sync_blocks=self.sync_blocks),
            slide.slide,
        )
        kept = self._kept(pieces)
        self._begun(slide, pieces)
        block = kept.blocks(self.settings)[number]
        rows = kept.candidates(block.name, start=block.start, stop=block.stop)
        numbers = range(block.start, block.stop)
        planned = layouts(kept.rows[block.name], self.settings.arrays)
        with open_slide(row.path, mpp=row.mpp, fallback_mpp=self.settings.slide_mpp) as opened:
            pixels = read_pixels(
                opened, rows, self.settings, group=f"{slide.id}/{block.name}", first=block.start
            )
            readable, signs = write_rows(below(pieces.whole, block.name), planned, numbers, pixels)
        files = {f"{block.name}/{key}": sign for key, sign in signs.items()}
        counts = {block.name: len(readable)}
        self._begun(slide, pieces)
        pieces.record(
            number, files, counts, notes={"unreadable": sorted(set(numbers) - set(readable))}
        )
        return counts

    def finish(self, slide: SlideWork) -> SlideOutcome | BlockPlan:
        place = below(self.store, slide.id)
        pieces, found = pieces_at(place), find_slide(place)
        if found is not None:  # this was cut off when all but the tidying was done
            pieces.finish()
            return _outcome(slide, found, "done")
        kept, recipe = self._kept(pieces), self._begun(slide, pieces)
        receipts, blocks = pieces.receipts(), kept.blocks(self.settings)
        gone = tuple(number for number in range(len(blocks)) if number not in receipts)
        if gone:
            return BlockPlan(blocks=len(blocks), pending=gone)
        lost = {name: np.zeros(rows, bool) for name, rows in kept.rows.items()}
        for number, block in enumerate(blocks):
            lost[block.name][receipts[number].notes["unreadable"]] = True
        for name in kept.rows:
            write_rest(below(pieces.whole, name), kept.candidates(name), lost[name])
        made = {
            "counts": {name: int((~flags).sum()) for name, flags in lost.items()},
            "unreadable": {name: int(flags.sum()) for name, flags in lost.items()},
            "arrays": {name: list(shape) for name, shape in self.settings.arrays.items()},
        }
        # Last: in a bucket the group is whole with it.
        write_file(
            pieces.whole,
            "zarr.json",
            group_json({"recipe": recipe.to_json(), **made, "stain": kept.stain}),
        )
        pieces.finish()
        return _outcome(slide, made, "done", kept.changed, kept.reason)

    def identity(self, slide: SlideWork) -> str | None:
        return failure_identity(slide.slide, self.settings, slide.quota)


def _outcome(
    slide: SlideWork, made: dict[str, Any], status: SlideStatus, *reasons: str
) -> SlideOutcome:
    """Of a slide whose group is there, from its attributes."""
    unreadable = sum(made["unreadable"].values())
    lost = f"{unreadable} patches could not be read" if unreadable else ""
    return SlideOutcome(
        slide=slide.id,
        # What is lost is lost the second time too, and the exit status must say so again.
        status="partial" if unreadable else status,
        reason="; ".join(filter(None, [*reasons, lost])),
        counts=made["counts"],
    )
