"""Further patches of training slides, added to a store that is tiled: hard negatives, corrections.

They lie in groups of their own inside the slides' groups. A group is named by its recipe, so
nothing is rewritten, and adding the same again adds nothing.
"""

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeVar

from ..cohort import CohortSlide
from ..storage import Recipe, StoreError, format_count
from .blocks import PatchBlocks
from .metadata import SlidePatches
from .slide_recipe import refuse_if_gone, slide_inputs
from .store import PatchStore

__all__ = [
    "FurtherBlocks",
    "FurtherPatches",
    "find_training_slides",
    "list_groups",
    "refuse_if_changed",
]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class FurtherPatches:
    """A slide, and the recipe of the patches that are added to its own."""

    prefix: ClassVar[str]
    """Beginning of the names of their groups."""
    slide: CohortSlide
    recipe: Recipe
    damage: str = ""
    """Reason why it cannot be used; else empty."""

    @property
    def id(self) -> str:
        return self.slide.id

    @property
    def group(self) -> str:
        """Name of their group inside the slide's group: another recipe has another name."""
        plain = {"settings": self.recipe.settings, "inputs": self.recipe.inputs}
        digest = hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
        return self.prefix + digest[:12]


FurtherT = TypeVar("FurtherT", bound=FurtherPatches)


class FurtherBlocks(PatchBlocks[FurtherT]):
    """`BlockWork` that writes further patches beside a slide's own."""

    def group(self, item: FurtherT) -> str:
        return f"{item.id}/{item.group}"

    def recipe(self, item: FurtherT) -> Recipe:
        if item.damage:
            raise StoreError(item.damage)
        refuse_if_gone(item.slide)
        return replace(item.recipe, inputs={**item.recipe.inputs, **slide_inputs(item.slide)})


def find_training_slides(store: PatchStore) -> dict[str, SlidePatches]:
    """Find the training slides of a store by id, without those whose outline does not fit the
    slide, of which a warning tells."""
    tiled = {slide.id: slide for slide in store.slides if slide.split == "train"}
    unfit = [slide_id for slide_id, slide in tiled.items() if slide.attributes.get("no_tumor")]
    if unfit:
        logger.warning(
            "%s left out, because the outlined tumour gave no tumour patch: %s",
            format_count(len(unfit), "slide"),
            ", ".join(unfit),
        )
    return {slide_id: slide for slide_id, slide in tiled.items() if slide_id not in unfit}


def list_groups(store: PatchStore, items: Sequence[FurtherPatches]) -> None:
    """Add the groups to the store's own list, where readers look for them."""
    rows = store.attributes["slides"]
    for item in (item for item in items if not item.damage):
        known = rows[item.id].get("further", [])
        rows[item.id]["further"] = known if item.group in known else [*known, item.group]
    PatchStore.describe(store.path, settings=store.settings, slides=rows)


def refuse_if_changed(slide: CohortSlide, now: dict[str, Any], tiled: SlidePatches) -> None:
    """Pass if the slide and its annotation are those that the store's patches were made from."""
    made = Recipe.from_json(tiled.attributes["recipe"])
    changes = made.differences(replace(made, inputs={**made.inputs, **now}))
    if changes:
        raise StoreError(
            f"{slide.path}: changed since it was tiled ({'; '.join(changes)}); tile it again first"
        )
