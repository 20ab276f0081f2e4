"""Plan of one slide: its quota, and which patches it gives. No patch is read."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import shapely
from shapely.geometry import MultiPolygon

from ..cohort import CohortSlide
from ..storage import (
    AnnotationError,
    Recipe,
    SlideError,
    file_identity,
    format_count,
    format_location,
    location_exists,
)
from ..wsi import Slide, TissueMask, floor_div, tissue_mask
from .sampling import Candidates, candidates, choose, slide_rng
from .settings import TileSettings

__all__ = [
    "Quota",
    "SlidePlan",
    "plan_patches",
    "plan_slide",
    "quotas",
    "recipe_of",
    "refuse_if_gone",
    "slide_inputs",
    "tumor_of",
]

logger = logging.getLogger(__name__)

ON_TISSUE = 0.5  # share of the tumour from which on the outline fits the tissue
ON_GLASS = 0.1  # share below which the outline meets the tissue by chance only
WHOLE = 0.999  # share of the tumour inside a slide that holds all of it


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
    normal = [s for s in slides if s.label == "normal" or s.exhaustive or s.has_regions]
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
    no_tumor: str = ""
    """Reason why the outline of a tumour slide gives no tumour; else empty. Then the slide gives no
    patch at all, for where the outline does not fit the tissue, tissue outside it may be tumour."""

    def __len__(self) -> int:
        return sum(map(len, self.chosen.values()))


def plan_slide(
    opened: Slide, slide: CohortSlide, settings: TileSettings, quota: Quota
) -> SlidePlan:
    """Choose the windows of a slide: the same for the same slide, annotation, settings and quota.

    Raises:
        AnnotationError: the annotation is missing or cannot be read, or contradicts the label.
    """
    tumor = tumor_of(slide, settings, opened)
    tissue = tissue_mask(opened, settings.tissue)
    plan = plan_patches(opened, slide, tissue, tumor, quota.applied(settings))
    if slide.label == "tumor" and not tumor.is_empty and not plan.no_tumor:
        _warn_if_off_tissue(opened, slide, tissue, tumor)
    return plan


def plan_patches(
    opened: Slide,
    slide: CohortSlide,
    tissue: TissueMask,
    tumor: MultiPolygon,
    settings: TileSettings,
) -> SlidePlan:
    """Choose the windows of a slide whose tissue and tumour are known; see `plan_slide`."""
    annotation = slide.load_annotation(settings.groups, slide=opened) if slide.has_regions else None
    normal_in = annotation.regions if annotation is not None else None
    windows = candidates(opened, tissue, tumor, settings, normal_in=normal_in)
    chosen = choose(windows, slide_rng(settings.seed, slide.id), settings)
    reason = ""
    if not len(windows):
        too_small = _describe_too_small(opened, settings)
        reason = "no tissue" if tissue.is_empty else f"no window fits over its tissue{too_small}"
    if slide.label != "tumor" or (slide.has_regions and tumor.is_empty):
        return SlidePlan(chosen=chosen, reason=reason)
    gives_tumor = _gives_tumor(opened, tissue, tumor, settings, found=windows)
    if gives_tumor and not _is_on_glass(tissue, tumor, limit=ON_GLASS):
        return SlidePlan(chosen=chosen, reason=reason)
    problem = "outline on glass" if gives_tumor else "no tumour patch"
    return SlidePlan(
        chosen={name: rows.take(np.zeros(0, np.int64)) for name, rows in chosen.items()},
        reason=reason,
        no_tumor=f"{problem}: "
        f"{_explain_no_tumor(opened, tissue, tumor, settings, left_out=chosen)}",
    )


def _describe_too_small(opened: Slide, settings: TileSettings) -> str:
    """Describe a slide that no patch with its margin fits on; return "" for any other."""
    scale = opened.scale(settings.mpp, allow_upsampling=settings.allow_upsampling)
    width, height = (floor_div(px, scale.level0) for px in opened.size)
    side = settings.patch_px + 2 * settings.margin_px
    if min(width, height) >= side:
        return ""
    return f": {width} × {height} px at {scale.mpp:g} µm/px, and a patch with its margin has {side}"


def _gives_tumor(
    opened: Slide,
    tissue: TissueMask,
    tumor: MultiPolygon,
    settings: TileSettings,
    *,
    found: Candidates,
) -> bool:
    """Tell whether any window is tumour, of those found or, where tumour patches are not wanted, of
    finer strides."""
    if found.is_tumor.any():
        return True
    if settings.tumor_per_slide:
        return False  # the finest stride was searched
    one = settings.model_copy(update={"tumor_per_slide": 1, "normal_per_slide": 0})
    return bool(candidates(opened, tissue, tumor, one).is_tumor.any())


def _explain_no_tumor(
    opened: Slide,
    tissue: TissueMask,
    tumor: MultiPolygon,
    settings: TileSettings,
    *,
    left_out: Mapping[str, Candidates],
) -> str:
    """Explain why the outline gives no tumour, and what is left out."""
    on_tissue = tissue.share_of(tumor)
    facts = _format_place(opened, tumor, on_tissue)
    tumour = f"{len(left_out['tumor'])} tumour and " if len(left_out["tumor"]) else ""
    normal = format_count(len(left_out["normal"]), "normal patch", "normal patches")
    if tissue.is_empty:
        advice = f"if it has tissue, verify its {opened.info.mpp:g} µm/px, or see --tissue.method"
    elif _describe_too_small(opened, settings):
        advice = "leave the slide out, or see --patch-px and --margin-px"
    elif on_tissue >= ON_TISSUE:
        advice = "see --min-tissue, --tumor-above and --border-um, or draw the outline again"
    else:
        advice = _advise_on_place(opened)
    return f"{facts}; {tumour}{normal} left out; {advice}"


def _is_on_glass(tissue: TissueMask, tumor: MultiPolygon, *, limit: float) -> bool:
    """Tell whether less than this share of the tumour lies on tissue, and less than this share of
    the tissue in the tumour: a wide outline around a small piece of tissue fits."""
    on_tissue = tissue.share_of(tumor)
    return on_tissue < limit and on_tissue * tumor.area < limit * tissue.area_level0


def _warn_if_off_tissue(
    opened: Slide, slide: CohortSlide, tissue: TissueMask, tumor: MultiPolygon
) -> None:
    """Warn where an outline of another frame or unit meets tissue by chance: its real tumour would
    be normal patches."""
    if _is_on_glass(tissue, tumor, limit=ON_TISSUE):
        logger.warning(
            "%s: only %s; %s, for else its normal patches may be tumour",
            slide.id,
            _format_place(opened, tumor, tissue.share_of(tumor)),
            _advise_on_place(opened),
        )


def _format_place(opened: Slide, tumor: MultiPolygon, on_tissue: float) -> str:
    inside = shapely.intersection(tumor, shapely.box(0, 0, *opened.size)).area / tumor.area
    outside = f", {1 - inside:.0%} outside the slide" if inside < WHOLE else ""
    return f"{on_tissue:.0%} of the outlined tumour lies on tissue{outside}"


def _advise_on_place(opened: Slide) -> str:
    return (
        "make sure that the annotation is this slide's and was drawn at full resolution, in px and "
        f"not in µm, and that {opened.info.mpp:g} µm/px is right"
    )


def tumor_of(slide: CohortSlide, settings: TileSettings, opened: Slide) -> MultiPolygon:
    """Load the annotated tumour of a labelled slide, level-0 px; empty on normal slides."""
    tumor = slide.load_tumor(settings.groups, slide=opened)
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
