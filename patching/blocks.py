"""Patches of one slide in blocks: plan its group of the store, write it shard by shard, make it
whole."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from ..batch import BlockPlan, SlideContext, SlideOutcome
from ..cohort import CohortSlide
from ..storage import (
    GROUP,
    BlockRecord,
    Location,
    Output,
    Recipe,
    SlideError,
    format_count,
    format_location,
    join_location,
    read_part,
    write_file,
)
from ..wsi import Slide, open_slide, warn_of_unlikely_mpp
from .pixels import fitted_stains, read_pixels
from .plan import plan_slide
from .quota import Quota
from .sampling import ROW, Candidates
from .settings import TileSettings
from .slide_recipe import recipe_of, refuse_if_gone
from .write import (
    Checksums,
    block_layout,
    create_arrays,
    layouts,
    rows_per_block,
    write_rest,
    write_rows,
)

__all__ = ["PatchBlocks", "SlideToTile", "TileBlocks"]


class HasSlide(Protocol):
    """A slide of the cohort and what its patches depend on."""

    @property
    def id(self) -> str: ...

    @property
    def slide(self) -> CohortSlide: ...


ItemT = TypeVar("ItemT", bound=HasSlide)


@dataclass(frozen=True, kw_only=True)
class _Block:
    """Rows start to stop of one class: whole shards."""

    name: str
    start: int
    stop: int


@dataclass(frozen=True)
class PatchBlocks(ABC, Generic[ItemT]):
    """`BlockWork` that writes chosen windows of a slide into one group of a store.

    The windows of each class lie in the partial output's `rows/<class>`; a block reads its own.
    """

    store: Location
    settings: TileSettings

    @abstractmethod
    def group(self, item: ItemT) -> str:
        """Name of the group below the store."""

    @abstractmethod
    def recipe(self, item: ItemT) -> Recipe:
        """Recipe of the group, from the slide's files as they are now."""

    @abstractmethod
    def choose(
        self, item: ItemT, opened: Slide
    ) -> tuple[Mapping[str, Candidates], Mapping[str, Any]] | SlideOutcome:
        """Choose windows by class, and further attributes of the group; or nothing, and say why."""

    def output(self, slide: ItemT) -> Output:
        return Output(
            location=join_location(self.store, self.group(slide)),
            recipe=self.recipe(slide),
            recipe_file=GROUP,
            layout=block_layout(),
        )

    def open(self, slide: ItemT) -> AbstractContextManager[Slide]:
        row = slide.slide
        return open_slide(row.path, mpp=row.mpp, fallback_mpp=self.settings.slide_mpp)

    def prepare(self, context: SlideContext[ItemT]) -> BlockPlan | SlideOutcome:
        found = self.choose(context.slide, context.opened)
        if isinstance(found, SlideOutcome):
            return found
        chosen, attributes = found
        for name, rows in chosen.items():
            self.create(join_location(context.partial.whole, name), len(rows))
            write_file(context.partial.folder, f"rows/{name}", rows.to_bytes())
        rows = {name: len(windows) for name, windows in chosen.items()}
        return BlockPlan(
            blocks=len(self._blocks(rows)), data={"rows": rows, "attributes": dict(attributes)}
        )

    def block(self, context: SlideContext[ItemT], number: int) -> BlockRecord:
        block = self._blocks(context.plan.data["rows"])[number]
        windows = _windows(context, block.name, start=block.start, stop=block.stop)
        rows = range(block.start, block.stop)
        readable, checksums = self.write(context, block.name, rows, windows)
        return BlockRecord(
            files={f"{block.name}/{key}": checksum for key, checksum in checksums.items()},
            counts={block.name: len(readable)},
            notes={"unreadable": sorted(set(rows) - set(readable))},
        )

    def create(self, place: Location, rows: int) -> None:
        """Create the arrays of pixels of a class."""
        create_arrays(place, rows, self.settings.arrays)

    def write(
        self, context: SlideContext[ItemT], name: str, rows: range, windows: Candidates
    ) -> tuple[list[int], Checksums]:
        """Write rows of a class, whose windows these are. Return the readable rows, and the
        checksums of the files by their paths below the class."""
        group = f"{self.group(context.slide)}/{name}"
        pixels = read_pixels(context.opened, windows, self.settings, group=group, first=rows.start)
        planned = layouts(context.plan.data["rows"][name], self.settings.arrays)
        return write_rows(join_location(context.partial.whole, name), planned, rows, pixels)

    def assemble(
        self, context: SlideContext[ItemT], records: Mapping[int, BlockRecord]
    ) -> dict[str, Any]:
        total = context.plan.data["rows"]
        lost = {name: np.zeros(rows, bool) for name, rows in total.items()}
        for number, block in enumerate(self._blocks(total)):
            lost[block.name][records[number].notes["unreadable"]] = True
        if lost and all(flags.all() for flags in lost.values()) and sum(total.values()):
            context.partial.discard()  # so that a later run reads them again
            raise SlideError(
                f"{format_location(context.slide.slide.path)}: none of its "
                f"{format_count(sum(total.values()), 'patch', 'patches')} could be read; copy the "
                "file again"
            )
        for name, rows in total.items():
            place = join_location(context.partial.whole, name)
            write_rest(place, _windows(context, name, start=0, stop=rows), lost[name])
        return {
            "counts": {name: int((~flags).sum()) for name, flags in lost.items()},
            "unreadable": {name: int(flags.sum()) for name, flags in lost.items()},
            "arrays": {name: list(shape) for name, shape in self.settings.arrays.items()},
            **context.plan.data["attributes"],
        }

    def outcome(self, slide: ItemT, attributes: Mapping[str, Any]) -> SlideOutcome:
        if "slide_mpp" in attributes:  # not in stores of an earlier version
            warn_of_unlikely_mpp(slide.id, attributes["slide_mpp"])
        unreadable = sum(attributes.get("unreadable", {}).values())
        lost = f"{format_count(unreadable, 'patch', 'patches')} could not be read"
        no_tumor = attributes.get("no_tumor", "")
        reasons = [attributes.get("reason", ""), no_tumor, lost if unreadable else ""]
        return SlideOutcome(
            slide=slide.id,
            status="partial" if unreadable or no_tumor else "done",
            reason="; ".join(filter(None, reasons)),
            counts=attributes["counts"],
        )

    def _blocks(self, total: Mapping[str, int]) -> list[_Block]:
        """Blocks of all classes, which hold that many rows."""
        found = []
        for name, rows in total.items():
            side = rows_per_block(rows, self.settings.arrays)
            for start in range(0, rows, side):
                found.append(_Block(name=name, start=start, stop=min(rows, start + side)))
        return found


def _windows(context: SlideContext[Any], name: str, *, start: int, stop: int) -> Candidates:
    """Windows of one class; the others are not read."""
    size = ROW.itemsize
    content = read_part(
        context.partial.folder, f"rows/{name}", start=start * size, stop=stop * size
    )
    return Candidates.of_bytes(content)


@dataclass(frozen=True, kw_only=True)
class SlideToTile:
    """A slide and its quota of patches."""

    slide: CohortSlide
    quota: Quota

    @property
    def id(self) -> str:
        return self.slide.id


class TileBlocks(PatchBlocks[SlideToTile]):
    """`BlockWork` that tiles slides into a store."""

    def group(self, item: SlideToTile) -> str:
        return item.id

    def recipe(self, item: SlideToTile) -> Recipe:
        refuse_if_gone(item.slide)  # a disk that is not mounted costs no patches
        return recipe_of(item.slide, self.settings, item.quota)

    def choose(
        self, item: SlideToTile, opened: Slide
    ) -> tuple[Mapping[str, Candidates], Mapping[str, Any]]:
        plan = plan_slide(opened, item.slide, self.settings, item.quota)
        fits = fitted_stains(opened, plan, self.settings)
        reasons = {"reason": plan.reason, "no_tumor": plan.no_tumor}
        return plan.chosen, {
            "stain": {fit.method: fit.to_json() for fit in fits},
            "slide_mpp": opened.info.mpp,
            **{name: why for name, why in reasons.items() if why},
        }
