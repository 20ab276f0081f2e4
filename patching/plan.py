"""The plan of one slide: which patches it gives. Cheap and repeatable; no patch is read for it."""

from dataclasses import asdict, dataclass

from shapely.geometry import MultiPolygon

from ..wsi import AnnotationError, CohortSlide, Recipe, Slide, exists, file_identity, tissue_mask
from .quota import Quota
from .select import Candidates, candidates, choose, slide_rng
from .settings import TileSettings

__all__ = ["SlidePlan", "plan_slide", "recipe_of", "tumor_of"]


@dataclass(frozen=True, kw_only=True)
class SlidePlan:
    """All that decides what a slide's shards hold."""

    chosen: dict[str, Candidates]
    """By class; row i of a class is row i of its arrays in the store, readable or not."""
    reason: str
    """Why there are none, where there are none."""

    def __len__(self) -> int:
        return sum(map(len, self.chosen.values()))


def plan_slide(opened: Slide, slide: CohortSlide, settings: TileSettings, quota: Quota) -> SlidePlan:
    """The same for the same slide, annotation, settings and quota, wherever and whenever it is asked for.

    Raises:
        AnnotationError: the annotation is missing or cannot be read, or contradicts the label.
    """
    tumor = tumor_of(slide, settings)
    tissue = tissue_mask(opened, settings.tissue)
    own = quota.applied(settings)
    windows = candidates(opened, tissue, tumor, own)
    return SlidePlan(
        chosen=choose(windows, slide_rng(settings.seed, slide.id), own),
        reason="no tissue" if tissue.is_empty else "" if len(windows) else "no window fits over its tissue",
    )


def tumor_of(slide: CohortSlide, settings: TileSettings) -> MultiPolygon:
    """Tumour drawn on a labelled slide, level-0 px; empty on normal ones."""
    tumor = slide.load_tumor(settings.groups)
    if tumor is None and slide.label == "tumor":
        raise AnnotationError(
            f"{slide.path}: labelled tumor but has no annotation; give one in the cohort, or leave the label empty"
        )
    return tumor or MultiPolygon()


def recipe_of(slide: CohortSlide, settings: TileSettings, quota: Quota) -> Recipe:
    """What a slide's patches are made from; with the same recipe they are the same."""
    # Patient and split are not part of it: a slide moves to another side of the split without being tiled again.
    of_patient = settings.tumor_per_patient is not None or settings.normal_per_patient is not None
    return Recipe(
        stage="tile",
        settings=settings.of_recipe(),
        inputs={
            "slide": file_identity(slide.path) if exists(slide.path) else str(slide.path),
            "annotation": file_identity(slide.annotation) if slide.annotation and slide.annotation.exists() else None,
            "label": slide.label,
            "mpp": slide.mpp,
            "exhaustive": slide.exhaustive,
            "quota": asdict(quota) if of_patient else None,
        },
    )
