"""The plan of one slide: which patches it gives. Cheap and repeatable; no patch is read for it."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

from shapely.geometry import MultiPolygon

from ..cohort import CohortSlide
from ..storage import (
    AnnotationError,
    Recipe,
    SlideError,
    file_identity,
    format_location,
    location_exists,
)
from ..wsi import Slide, tissue_mask
from .quota import Quota
from .sampling import Candidates, candidates, choose, slide_rng
from .settings import TileSettings

__all__ = [
    "SlidePlan",
    "failure_identity",
    "plan_slide",
    "recipe_of",
    "refuse_if_gone",
    "slide_inputs",
    "tumor_of",
]


@dataclass(frozen=True, kw_only=True)
class SlidePlan:
    """All that decides what a slide's shards hold."""

    chosen: dict[str, Candidates]
    """By class; row i of a class is row i of its arrays in the store, readable or not."""
    reason: str
    """Why there are none, where there are none."""

    def __len__(self) -> int:
        return sum(map(len, self.chosen.values()))


def plan_slide(
    opened: Slide, slide: CohortSlide, settings: TileSettings, quota: Quota
) -> SlidePlan:
    """The same for the same slide, annotation, settings and quota, wherever and whenever it is
    asked for.

    Raises:
        AnnotationError: the annotation is missing or cannot be read, or contradicts the label.
    """
    tumor = tumor_of(slide, settings)
    tissue = tissue_mask(opened, settings.tissue)
    own = quota.applied(settings)
    windows = candidates(opened, tissue, tumor, own)
    return SlidePlan(
        chosen=choose(windows, slide_rng(settings.seed, slide.id), own),
        reason="no tissue"
        if tissue.is_empty
        else ""
        if len(windows)
        else "no window fits over its tissue",
    )


def tumor_of(slide: CohortSlide, settings: TileSettings) -> MultiPolygon:
    """Tumour drawn on a labelled slide, level-0 px; empty on normal ones."""
    tumor = slide.load_tumor(settings.groups)
    if tumor is None and slide.label == "tumor":
        raise AnnotationError(
            f"{slide.path}: labelled tumor but has no annotation; give one in the cohort, or leave "
            "the label empty"
        )
    return tumor or MultiPolygon()


def recipe_of(slide: CohortSlide, settings: TileSettings, quota: Quota) -> Recipe:
    """What a slide's patches are made from; with the same recipe they are the same."""
    # Patient and split are not part of it: a slide moves to another side of the split without being
    # tiled again.
    of_patient = settings.tumor_per_patient is not None or settings.normal_per_patient is not None
    return Recipe(
        stage="tile",
        settings=settings.of_recipe(),
        inputs={**slide_inputs(slide), "quota": asdict(quota) if of_patient else None},
    )


def refuse_if_gone(slide: CohortSlide) -> None:
    """Pass if the slide's files are there.

    Raises:
        SlideError: the slide is not.
        AnnotationError: its annotation is not.
    """
    if not location_exists(slide.path):
        raise SlideError(
            f"{format_location(slide.path)}: no such file, or it cannot be reached; see the path "
            "and its disk"
        )
    if slide.annotation and not slide.annotation.exists():
        raise AnnotationError(
            f"{slide.annotation}: no such file, or it cannot be reached; see the path and its disk"
        )


def slide_inputs(slide: CohortSlide) -> dict[str, Any]:
    """What patches of a slide are made from, whichever they are: its files as they are now, and its
    row."""
    return {
        "slide": file_identity(slide.path) if location_exists(slide.path) else str(slide.path),
        "annotation": file_identity(slide.annotation)
        if slide.annotation and slide.annotation.exists()
        else None,
        "label": slide.label,
        "mpp": slide.mpp,
        "exhaustive": slide.exhaustive,
    }


def failure_identity(slide: CohortSlide, settings: TileSettings, quota: Quota) -> str | None:
    """What a failure to tile a slide holds for; None where nothing can be said of it."""
    try:
        text = json.dumps(recipe_of(slide, settings, quota).to_json(), sort_keys=True, default=str)
    except (
        Exception
    ):  # of a slide that cannot even be looked at, nothing can be said to be unchanged
        return None
    return hashlib.sha256(text.encode()).hexdigest()[:16]
