"""Proposals: outlines of the cells of a heatmap above a threshold, as a version to correct.

A heatmap of windows and one of a segmentation are treated alike.
"""

import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import shapely

from ..cohort import Cohort, CohortSlide
from ..storage import ScoreError, SlideError, StoreError, format_count
from ..wsi import Heatmap, find_contours
from .folder import AnnotationFolder
from .identity import SlideIdentity
from .outlines import DrawnOutline
from .settings import ProposeSettings
from .version_info import MADE_BY_MODEL, SaveFacts

__all__ = [
    "HEATMAP",
    "Proposal",
    "propose_outlines",
    "propose_slide",
    "slides_with_heatmap",
]

HEATMAP = "heatmap.zarr"
DIGITS = 2


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """Outcome of a proposal for one slide."""

    slide: str
    status: Literal["done", "unchanged", "skipped", "failed"]
    reason: str = ""
    outlines: int = 0
    version: int = 0


def slides_with_heatmap(cohort: Cohort, predictions: Path) -> list[CohortSlide]:
    """Return the slides of a cohort that have a heatmap.

    Raises:
        ScoreError: none has.
    """
    found = [slide for slide in cohort if (predictions / slide.id / HEATMAP).is_dir()]
    if not found:
        raise ScoreError(
            f"{predictions}: no slide of the cohort has a {HEATMAP} here; give the folder that "
            "gigaslide predict wrote"
        )
    return found


def propose_slide(
    slide: CohortSlide, folder: AnnotationFolder, predictions: Path, settings: ProposeSettings
) -> Proposal:
    """Write the outlines of a slide's heatmap as a proposed version.

    A slide of which a person saved a version is skipped; a proposal from the same heatmap and
    settings is unchanged, another one becomes the next version.
    """
    try:
        versions = folder.versions(slide.id)
        heatmap = Heatmap.load(predictions / slide.id / HEATMAP)
        recipe: dict[str, Any] = {
            "heatmap": heatmap.content_sha256,
            "model": heatmap.model_hash,
            "settings": settings.model_dump(mode="json"),
        }
        before = versions.newest()
        if before is not None and not before.facts.is_proposal:
            who = before.facts.annotator or "a person"
            reason = f"version {before.number} is by {who}, and stays"
            return Proposal(slide=slide.id, status="skipped", reason=reason, version=before.number)
        if before is not None and before.facts.recipe == recipe:
            return Proposal(
                slide=slide.id,
                status="unchanged",
                outlines=before.outlines,
                version=before.number,
            )
        outlines = propose_outlines(heatmap, settings)
        facts = SaveFacts(made_by=MADE_BY_MODEL, recipe=recipe)
        saved = versions.save(
            outlines,
            facts,
            parent=before.number if before else 0,
            identity=_identify(slide, heatmap),
            slide_changed=True,
            keep_origins=True,
        )
    except (StoreError, SlideError, ScoreError, OSError) as error:
        return Proposal(slide=slide.id, status="failed", reason=str(error))
    return Proposal(
        slide=slide.id,
        status="done",
        outlines=len(outlines),
        version=saved.number,
        reason=format_count(len(outlines), "outline"),
    )


def _identify(slide: CohortSlide, heatmap: Heatmap) -> SlideIdentity:
    """Identity of the slide; from the heatmap alone where its file cannot be opened here.

    Raises:
        ScoreError: the heatmap is that of a slide of another size or µm/px.
    """
    width, height = heatmap.slide_size
    predicted = SlideIdentity(width=width, height=height, mpp=heatmap.slide_mpp)
    try:
        found = SlideIdentity.of_slide(slide)
    except SlideError:
        return predicted
    changes = predicted.differences(found)
    if changes:
        raise ScoreError(
            f"{slide.path}: is not the slide that its heatmap was predicted on "
            f"({'; '.join(changes)}); predict it again, or put that slide back"
        )
    return replace(found, mpp=found.mpp or predicted.mpp)


def propose_outlines(heatmap: Heatmap, settings: ProposeSettings) -> list[DrawnOutline]:
    """Outline the cells above a threshold: valid polygons with holes, the largest first."""
    tolerance_um = settings.tolerance_um
    if tolerance_um is None:
        tolerance_um = heatmap.stride_level0 * heatmap.slide_mpp / 2
    found = find_contours(
        heatmap,
        level=settings.threshold,
        simplify_um=tolerance_um,
        min_area_um2=settings.min_area_um2,
        min_hole_um2=settings.min_hole_um2,
    )
    placed = [
        (part, contour) for contour in found for part in shapely.get_parts(contour.shape).tolist()
    ]
    placed.sort(key=lambda one: -one[0].area)
    outlines = []
    for number, (part, contour) in enumerate(placed, 1):
        rounded = shapely.transform(part, lambda xy: xy.round(DIGITS))
        shape = rounded if rounded.is_valid and rounded.area > 0 else part
        identity = f"{heatmap.slide} {heatmap.content_sha256} {number} {shape.bounds}"
        outlines.append(
            DrawnOutline(
                id=str(uuid.uuid5(uuid.NAMESPACE_URL, identity)),
                shape=shape,
                group=settings.group,
                name=f"proposal {number}",
                origin="proposed",
                metadata={"model": heatmap.model_hash},
                measurements={
                    "Maximum probability": round(contour.highest, 6),
                    "Mean probability": round(contour.mean, 6),
                    "Area µm^2": round(shape.area * heatmap.slide_mpp**2, 1),
                },
            )
        )
    return outlines
