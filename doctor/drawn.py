"""What is drawn on a slide, and whether it meets the slide. Level-0 px."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import shapely
from shapely.geometry import MultiPolygon

from ..eval import EvaluateSettings, lesions_of_annotation
from ..wsi import (
    DEFAULT_GROUPS,
    Annotation,
    CohortSlide,
    GigaslideError,
    GroupMeaning,
    PolygonRaster,
    SlideInfo,
    TissueMask,
)
from .findings import Finding, error, told, warning
from .settings import DoctorSettings

__all__ = ["AnnotationFacts", "Drawn", "GroupFacts", "check_drawn", "load_drawn"]

MOSTLY = 0.5
OFF_TISSUE = 0.5
OUTSIDE_PX = 1.0  # an outline along the border may overshoot by so much of a level-0 px


@dataclass(frozen=True, kw_only=True)
class GroupFacts:
    """One group of outlines, and what it is taken to mean."""

    name: str
    meaning: GroupMeaning
    outlines: int


@dataclass(frozen=True, kw_only=True)
class AnnotationFacts:
    """What is drawn, measured."""

    groups: tuple[GroupFacts, ...]
    vertices: int
    tumor_mm2: float
    outside_share: float
    """Share of the drawn area beyond the slide's border."""
    on_tissue_share: float | None
    """Share of tumour that lies on tissue; None where either is missing."""
    lesions: int
    """Countable ones, as evaluation counts them."""
    isolated_cells: int
    """Lesions too small to count."""


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """An annotation that could be read."""

    annotation: Annotation

    @property
    def tumor(self) -> MultiPolygon:
        return self.annotation.tumor

    def facts(self, info: SlideInfo, tissue: TissueMask | None, settings: EvaluateSettings) -> AnnotationFacts:
        outlines = self.annotation.outlines
        counts = Counter(outline.group for outline in outlines)
        polygons = np.array([outline.polygon for outline in outlines], object)
        area, inside = shapely.area(polygons).sum(), shapely.area(_cut(polygons, info)).sum()
        tumor = MultiPolygon(_whole(shapely.intersection(self.tumor, shapely.box(0, 0, info.width, info.height))))
        lesions = lesions_of_annotation(
            tumor, slide_size=(info.width, info.height), slide_mpp=info.mpp, settings=settings
        )
        isolated = int(lesions.measures.is_itc.sum())
        return AnnotationFacts(
            groups=tuple(
                GroupFacts(name=name, meaning=self.annotation.groups[name.casefold()], outlines=count)
                for name, count in sorted(counts.items())
            ),
            vertices=int(shapely.get_num_coordinates(polygons).sum()),
            tumor_mm2=self.tumor.area * info.mpp**2 / 1e6,
            outside_share=float(1 - inside / area) if area else 0.0,
            on_tissue_share=None if tissue is None else _on_tissue(tumor, tissue),
            lesions=len(lesions.measures) - isolated,
            isolated_cells=isolated,
        )


def load_drawn(row: CohortSlide, settings: DoctorSettings, *, is_tiled: bool) -> tuple[Drawn | None, list[Finding]]:
    """The annotation, and findings on what stands in the file and in the cohort's row."""
    if row.annotation is None:
        if row.label != "tumor":
            return None, []
        says = "labelled tumor but has no annotation"
        if is_tiled:
            return None, [error("annotation", says, "give one in the cohort, or leave the label empty")]
        return None, [warning("annotation", f"{says}: its lesions are in no figure", "give one in the cohort")]
    groups: dict[str, GroupMeaning] = {**DEFAULT_GROUPS, **settings.tile.groups}
    try:
        annotation = Annotation.load(row.annotation, groups=groups, slide=row.path)
    except GigaslideError as fault:
        return None, [told("annotation", fault, of=row.annotation)]
    return Drawn(annotation=annotation), list(_label(row, annotation))


def _label(row: CohortSlide, annotation: Annotation) -> Iterator[Finding]:
    is_empty = annotation.tumor.is_empty
    if row.label and (row.label == "tumor") == is_empty:
        says = f"labelled {row.label}, but the annotation shows {'no tumour' if is_empty else 'tumour'}"
        yield error("label", says, "correct one of them; see the groups below if they are misunderstood")
    elif not row.label and not is_empty:
        yield warning("label", "tumour is annotated, but there is no label: it is not tiled", "set its label to tumor")


def check_drawn(drawn: Drawn, facts: AnnotationFacts, info: SlideInfo, settings: EvaluateSettings) -> Iterator[Finding]:
    """Findings on whether the outlines belong to these pixels."""
    border = shapely.box(-OUTSIDE_PX, -OUTSIDE_PX, info.width + OUTSIDE_PX, info.height + OUTSIDE_PX)
    polygons = [outline.polygon for outline in drawn.annotation.outlines]
    beyond = int((~shapely.covered_by(polygons, border)).sum())
    if beyond:
        says = f"{beyond} of {len(polygons)} outlines reach beyond the slide, {facts.outside_share:.0%} of their area"
        if facts.outside_share > MOSTLY:
            yield error("outside", says, "is it another slide's annotation, or drawn on a reduced copy?")
        else:
            yield warning("outside", says, "look whether it is this slide's annotation")
    if facts.on_tissue_share is not None and facts.on_tissue_share < OFF_TISSUE and facts.outside_share <= MOSTLY:
        says = f"only {facts.on_tissue_share:.0%} of the tumour area lies on tissue: annotation and tissue do not meet"
        yield warning("on tissue", says, "is it another slide's annotation, or is µm/px wrong?")
    if facts.isolated_cells and not facts.lesions:
        says = f"all {facts.isolated_cells} lesions are shorter than {settings.itc_um:g} µm"
        yield warning("lesions", f"{says}: isolated tumour cells, neither hit nor miss", "FROC gains nothing from it")


def _cut(polygons: np.ndarray, info: SlideInfo) -> np.ndarray:
    return np.asarray(shapely.intersection(polygons, shapely.box(0, 0, info.width, info.height)), object)


def _whole(geometry) -> list:
    return [part for part in shapely.get_parts(geometry) if part.geom_type == "Polygon" and part.area > 0]


def _on_tissue(tumor: MultiPolygon, tissue: TissueMask) -> float | None:
    if tumor.is_empty or tissue.is_empty:
        return None
    drawn = PolygonRaster(tumor).window((0.0, 0.0), px_level0=tissue.scale_level0, shape=tissue.mask.shape)
    return float(tissue.mask[drawn].mean()) if drawn.any() else None
