"""Plan of one slide: the patches that it gives. None is read."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import shapely
from shapely.geometry import MultiPolygon

from ..cohort import CohortSlide
from ..storage import (
    AnnotationError,
    format_count,
)
from ..wsi import Slide, TissueMask, floor_div, tissue_mask
from .quota import Quota
from .sampling import Candidates, candidates, choose, slide_rng
from .settings import TileSettings

__all__ = [
    "SlidePlan",
    "plan_patches",
    "plan_slide",
    "tumor_of",
]

logger = logging.getLogger(__name__)

ON_TISSUE = 0.5  # share of the tumour from which on the outline fits the tissue
ON_GLASS = 0.1  # share below which the outline meets the tissue by chance only
WHOLE = 0.999  # share of the tumour inside a slide that holds all of it


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
