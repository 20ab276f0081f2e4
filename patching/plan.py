"""Plan of one slide: its quota, and which patches it gives. No patch is read."""

from collections.abc import Sequence
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
from .sampling import Candidates, candidates, choose, slide_rng
from .settings import TileSettings

__all__ = [
    "Quota",
    "SlidePlan",
    "plan_slide",
    "quotas",
    "recipe_of",
    "refuse_if_gone",
    "slide_inputs",
    "tumor_of",
]


@dataclass(frozen=True, kw_only=True)
class Quota:
    """Maximum number of patches of each class."""

    tumor: int
    normal: int

    def applied(self, settings: TileSettings) -> TileSettings:
        """Return the settings with this slide's quota."""
        return settings.model_copy(
            update={"tumor_per_slide": self.tumor, "normal_per_slide": self.normal}
        )


def quotas(slides: Sequence[CohortSlide], settings: TileSettings) -> dict[str, Quota]:
    """Compute the quota of each slide, by slide id, before any slide is opened.

    A patient's quota is divided evenly among the slides that can have the class; the remainder goes
    to the first ones by id.
    """
    tumor = _shares(
        [s for s in slides if s.label == "tumor"],
        settings.tumor_per_slide,
        settings.tumor_per_patient,
    )
    # On a slide that is annotated in part, an area without annotation may be tumour.
    normal = [s for s in slides if s.label == "normal" or s.exhaustive]
    shares = _shares(normal, settings.normal_per_slide, settings.normal_per_patient)
    return {
        slide.id: Quota(tumor=tumor.get(slide.id, 0), normal=shares.get(slide.id, 0))
        for slide in slides
    }


def _shares(
    slides: Sequence[CohortSlide], per_slide: int, per_patient: int | None
) -> dict[str, int]:
    if per_patient is None:
        return {slide.id: per_slide for slide in slides}
    of_patient: dict[str, list[str]] = {}
    for slide in slides:
        of_patient.setdefault(slide.patient or f"slide {slide.id}", []).append(slide.id)
    shares = {}
    for ids in of_patient.values():
        each, rest = divmod(per_patient, len(ids))
        shares |= {
            slide_id: min(per_slide, each + (place < rest))
            for place, slide_id in enumerate(sorted(ids))
        }
    return shares


@dataclass(frozen=True, kw_only=True)
class SlidePlan:
    """Windows that become patches of a slide; they decide the content of its shards."""

    chosen: dict[str, Candidates]
    """Windows by class; row i is row i of the class's arrays in the store, readable or not."""
    reason: str
    """Reason why there are none; else empty."""

    def __len__(self) -> int:
        return sum(map(len, self.chosen.values()))


def plan_slide(
    opened: Slide, slide: CohortSlide, settings: TileSettings, quota: Quota
) -> SlidePlan:
    """Choose the windows of a slide: the same for the same slide, annotation, settings and quota.

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
    """Load the annotated tumour of a labelled slide, level-0 px; empty on normal slides."""
    tumor = slide.load_tumor(settings.groups)
    if tumor is None and slide.label == "tumor":
        raise AnnotationError(
            f"{slide.path}: labelled tumor but has no annotation; give one in the cohort, or leave "
            "the label empty"
        )
    return tumor or MultiPolygon()


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
    return {
        "slide": file_identity(slide.path) if location_exists(slide.path) else str(slide.path),
        "annotation": file_identity(slide.annotation)
        if slide.annotation and slide.annotation.exists()
        else None,
        "label": slide.label,
        "mpp": slide.mpp,
        "exhaustive": slide.exhaustive,
    }
