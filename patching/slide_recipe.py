"""Recipe of a slide's patches: what they depend on, and whether its files are there."""

from dataclasses import asdict
from typing import Any

from ..cohort import CohortSlide
from ..storage import (
    AnnotationError,
    Recipe,
    SlideError,
    file_identity,
    format_location,
    location_exists,
)
from .quota import Quota
from .settings import TileSettings

__all__ = ["recipe_of", "refuse_if_gone", "slide_inputs"]


def recipe_of(slide: CohortSlide, settings: TileSettings, quota: Quota) -> Recipe:
    """Return the recipe of a slide's patches."""
    # Patient and split are not part of it, so a slide changes its side of the split without being
    # tiled again.
    of_patient = settings.tumor_per_patient is not None or settings.normal_per_patient is not None
    return Recipe(
        stage="tile",
        settings=settings.of_recipe(),
        inputs={**slide_inputs(slide), "quota": asdict(quota) if of_patient else None},
    )


def refuse_if_gone(slide: CohortSlide) -> None:
    """Pass if the slide's files exist.

    Raises:
        SlideError: the slide does not.
        AnnotationError: its annotation does not.
    """
    if not location_exists(slide.path):
        raise SlideError(
            f"{format_location(slide.path)}: no such file, or it cannot be reached; check the path "
            "and its disk"
        )
    if slide.annotation and not slide.annotation.exists():
        raise AnnotationError(
            f"{slide.annotation}: no such file, or it cannot be reached; check the path and its "
            "disk"
        )


def slide_inputs(slide: CohortSlide) -> dict[str, Any]:
    """Return what any patches of a slide depend on: its files as they are now, and its row of the
    cohort."""
    # A key that few cohorts need does not change the recipes of the others.
    origin = slide.annotation_origin
    return {
        **({"annotation_origin": origin} if origin else {}),
        **({"has_regions": True} if slide.has_regions else {}),
        "slide": file_identity(slide.path) if location_exists(slide.path) else str(slide.path),
        "annotation": file_identity(slide.annotation)
        if slide.annotation and slide.annotation.exists()
        else None,
        "label": slide.label,
        "mpp": slide.mpp,
        "exhaustive": slide.exhaustive,
    }
