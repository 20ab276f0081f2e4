"""Checks of a slide's annotation: on its own, and against the slide. Level-0 px."""

import logging
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from logging.handlers import BufferingHandler

import numpy as np
import shapely
from shapely.geometry import MultiPolygon

from ..cohort import CohortSlide
from ..eval import EvaluateSettings, find_lesions
from ..patching import measure_widths_um
from ..storage import GigaslideError
from ..wsi import DEFAULT_GROUPS, Annotation, GroupMeaning, SlideInfo, TissueMask
from .findings import Finding, error, from_exception, note, warning
from .settings import DoctorSettings

__all__ = ["AnnotationFacts", "GroupFacts", "check_on_slide", "load_annotation"]

MOSTLY_OUTSIDE = 0.5  # share of the outlined area beyond the slide's border
OFF_TISSUE = 0.5  # share of the tumour on tissue below which the two do not match
OUTSIDE_PX = 1.0  # tolerance for outlines along the border, level-0 px


@dataclass(frozen=True, kw_only=True)
class GroupFacts:
    """A group of outlines, and its meaning."""

    name: str
    meaning: GroupMeaning
    outlines: int


@dataclass(frozen=True, kw_only=True)
class AnnotationFacts:
    """Measurements of an annotation."""

    groups: tuple[GroupFacts, ...]
    vertices: int
    tumor_mm2: float
    outside_share: float
    """Share of the outlined area beyond the slide's border."""
    on_tissue_share: float | None
    """Share of the tumour on tissue; None without tumour or without tissue."""
    lesions: int
    """Countable lesions, as in evaluation."""
    isolated_cells: int
    """Lesions that are too small to count."""
    widths_um: tuple[float, ...] = ()
    """Width of each outlined piece of tumour: the shorter side of the rectangle around it (µm)."""

    @classmethod
    def measure(
        cls,
        annotation: Annotation,
        info: SlideInfo,
        tissue: TissueMask | None,
        settings: EvaluateSettings,
    ) -> "AnnotationFacts":
        slide = shapely.box(0, 0, info.width, info.height)
        counts = Counter(outline.group for outline in annotation.outlines)
        polygons = np.array([outline.polygon for outline in annotation.outlines], object)
        area = shapely.area(polygons).sum()
        area_inside = shapely.area(shapely.intersection(polygons, slide)).sum()
        tumor = MultiPolygon(
            [
                part
                for part in shapely.get_parts(shapely.intersection(annotation.tumor, slide))
                if part.geom_type == "Polygon" and part.area > 0
            ]
        )
        lesions = find_lesions(
            tumor, slide_size=(info.width, info.height), slide_mpp=info.mpp, settings=settings
        )
        isolated = int(lesions.measures.is_itc.sum())
        return cls(
            groups=tuple(
                GroupFacts(name=name, meaning=annotation.groups[name.casefold()], outlines=count)
                for name, count in sorted(counts.items())
            ),
            vertices=int(shapely.get_num_coordinates(polygons).sum()),
            tumor_mm2=annotation.tumor.area * info.mpp**2 / 1e6,
            outside_share=float(1 - area_inside / area) if area else 0.0,
            on_tissue_share=None if tissue is None else _share_on_tissue(tumor, tissue),
            lesions=len(lesions.measures) - isolated,
            isolated_cells=isolated,
            widths_um=tuple(round(um, 1) for um in measure_widths_um(tumor, mpp=info.mpp)),
        )


def load_annotation(
    row: CohortSlide, settings: DoctorSettings, *, is_tiled: bool
) -> tuple[Annotation | None, list[Finding]]:
    """Load the annotation, with findings on the file and on the cohort's row."""
    if row.annotation is None:
        return None, _missing(row, is_tiled=is_tiled)
    groups: dict[str, GroupMeaning] = {**DEFAULT_GROUPS, **settings.tile.groups}
    try:
        with _capture_warnings("gigaslide.wsi.annotations") as records:
            annotation = Annotation.load(
                row.annotation, groups=groups, slide=row.path, origin=row.annotation_origin
            )
    except GigaslideError as failure:
        return None, [from_exception("annotation", failure, source=row.annotation)]
    findings = [*_check_label(row, annotation)]
    if row.label == "tumor" and not row.exhaustive:
        findings.append(
            note(
                "annotation",
                "not exhaustive: only its tumour patches are used, and evaluation uses only its "
                "slide score",
                "leave the exhaustive column empty if every tumour is outlined",
            )
        )
    if records:
        first = records[0].getMessage().removeprefix(f"{row.annotation}: ")
        more = f" (and {len(records) - 1} more)" if records[1:] else ""
        findings.append(
            warning(
                "annotation",
                f"{first}{more}",
                "look at the outline in the program that drew it",
            )
        )
    return annotation, findings


@contextmanager
def _capture_warnings(name: str) -> Iterator[list[logging.LogRecord]]:
    """Collect the warnings of a logger and its children, and keep them from other handlers."""
    logger, handler = logging.getLogger(name), BufferingHandler(sys.maxsize)
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    try:
        yield handler.buffer
    finally:
        logger.setLevel(level)
        logger.propagate = propagate
        logger.removeHandler(handler)


def _missing(row: CohortSlide, *, is_tiled: bool) -> list[Finding]:
    if row.label != "tumor":
        return []
    message = "labelled tumor, but without annotation"
    if is_tiled:
        return [error("annotation", message, "give one in the cohort, or leave the label empty")]
    return [
        warning("annotation", f"{message}: its lesions are not scored", "give one in the cohort")
    ]


def _check_label(row: CohortSlide, annotation: Annotation) -> Iterator[Finding]:
    is_empty = annotation.tumor.is_empty
    if row.label == "tumor" and is_empty and not row.has_regions:
        found, advice = annotation.explain_no_tumor()
        yield error("label", f"labelled tumor, but no tumour is outlined: {found}", advice)
    elif row.label == "normal" and not is_empty:
        yield error(
            "label",
            "labelled normal, but the annotation outlines tumour",
            "correct one of them, or give the meaning of its groups with --groups",
        )
    elif not row.label and not is_empty:
        yield warning(
            "label",
            "tumour is outlined, but the label is empty, so the slide is not tiled",
            "write tumor into its label column",
        )


def check_on_slide(
    annotation: Annotation, facts: AnnotationFacts, info: SlideInfo, settings: EvaluateSettings
) -> Iterator[Finding]:
    """Check that the outlines belong to this slide."""
    border = shapely.box(
        -OUTSIDE_PX, -OUTSIDE_PX, info.width + OUTSIDE_PX, info.height + OUTSIDE_PX
    )
    polygons = [outline.polygon for outline in annotation.outlines]
    outside = int((~shapely.covered_by(polygons, border)).sum())
    is_mostly_outside = facts.outside_share > MOSTLY_OUTSIDE
    if outside:
        yield (error if is_mostly_outside else warning)(
            "outside",
            f"{outside} of {len(polygons)} outlines extend beyond the slide, by "
            f"{facts.outside_share:.0%} of their area",
            "make sure that the annotation is this slide's, and was drawn at full resolution",
        )
    share = facts.on_tissue_share
    if share is not None and share < OFF_TISSUE and not is_mostly_outside:
        yield warning(
            "on tissue",
            f"only {share:.0%} of the tumour area lies on tissue",
            "make sure that the annotation is this slide's; if it is, see --tissue.method",
        )
    if facts.isolated_cells and not facts.lesions:
        yield warning(
            "lesions",
            f"all {facts.isolated_cells} lesions are shorter than {settings.itc_um:g} µm: isolated "
            "tumour cells, which FROC ignores",
            "see --evaluate.itc-um",
        )


def _share_on_tissue(tumor: MultiPolygon, tissue: TissueMask) -> float | None:
    if tumor.is_empty or tissue.is_empty:
        return None
    return tissue.share_of(tumor)
