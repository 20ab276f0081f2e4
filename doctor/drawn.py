"""What is drawn on a slide, and whether it meets the slide. Level-0 px."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import shapely
from shapely.geometry import MultiPolygon

from ..cohort import CohortSlide
from ..eval import EvaluateSettings, find_lesions
from ..storage import GigaslideError
from ..wsi import DEFAULT_GROUPS, Annotation, GroupMeaning, PolygonRaster, SlideInfo, TissueMask
from .findings import Finding, error, note, told, warning
from .heard import heard
from .settings import DoctorSettings
from .words import format_count

__all__ = ["AnnotationFacts", "GroupFacts", "check_drawn", "load_drawn"]

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

    @classmethod
    def of(
        cls,
        annotation: Annotation,
        info: SlideInfo,
        tissue: TissueMask | None,
        settings: EvaluateSettings,
    ) -> "AnnotationFacts":
        slide = shapely.box(0, 0, info.width, info.height)
        counts = Counter(outline.group for outline in annotation.outlines)
        polygons = np.array([outline.polygon for outline in annotation.outlines], object)
        area, inside = (
            shapely.area(polygons).sum(),
            shapely.area(shapely.intersection(polygons, slide)).sum(),
        )
        tumor = MultiPolygon(_whole(shapely.intersection(annotation.tumor, slide)))
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
            outside_share=float(1 - inside / area) if area else 0.0,
            on_tissue_share=None if tissue is None else _on_tissue(tumor, tissue),
            lesions=len(lesions.measures) - isolated,
            isolated_cells=isolated,
        )


def load_drawn(
    row: CohortSlide, settings: DoctorSettings, *, is_tiled: bool
) -> tuple[Annotation | None, list[Finding]]:
    """The annotation, and findings on what stands in the file and in the cohort's row."""
    if row.annotation is None:
        if row.label != "tumor":
            return None, []
        says = "labelled tumor but has no annotation"
        if is_tiled:
            return None, [
                error("annotation", says, "give one in the cohort, or leave the label empty")
            ]
        return None, [
            warning("annotation", f"{says}: its lesions are in no figure", "give one in the cohort")
        ]
    groups: dict[str, GroupMeaning] = {**DEFAULT_GROUPS, **settings.tile.groups}
    try:
        with heard("gigaslide.wsi.annotations") as mended:
            annotation = Annotation.load(row.annotation, groups=groups, slide=row.path)
    except GigaslideError as fault:
        return None, [told("annotation", fault, of=row.annotation)]
    return annotation, [*_label(row, annotation), *_in_part(row), *_mended(row, mended)]


def _in_part(row: CohortSlide) -> Iterator[Finding]:
    if row.label == "tumor" and not row.exhaustive:
        says = (
            "outlined in part: it gives tumour patches only, and evaluation judges its slide score "
            "alone"
        )
        yield note("annotation", says, "leave exhaustive empty if every tumour is drawn")


def _mended(row: CohortSlide, words: list[str]) -> Iterator[Finding]:
    if words:
        says = f"{format_count(len(words), 'outline')} mended or left out, the first: "
        advice = "draw it anew where that is not what was meant"
        yield warning("annotation", says + words[0].removeprefix(f"{row.annotation}: "), advice)


def _label(row: CohortSlide, annotation: Annotation) -> Iterator[Finding]:
    is_empty = annotation.tumor.is_empty
    if row.label and (row.label == "tumor") == is_empty:
        says = (
            f"labelled {row.label}, but the annotation shows "
            f"{'no tumour' if is_empty else 'tumour'}"
        )
        yield error("label", says, "correct one of them, or say with --groups what its groups mean")
    elif not row.label and not is_empty:
        yield warning(
            "label",
            "tumour is annotated, but there is no label: it is not tiled",
            "write tumor into its label column",
        )


def check_drawn(
    annotation: Annotation, facts: AnnotationFacts, info: SlideInfo, settings: EvaluateSettings
) -> Iterator[Finding]:
    """Findings on whether the outlines belong to these pixels."""
    border = shapely.box(
        -OUTSIDE_PX, -OUTSIDE_PX, info.width + OUTSIDE_PX, info.height + OUTSIDE_PX
    )
    polygons = [outline.polygon for outline in annotation.outlines]
    beyond = int((~shapely.covered_by(polygons, border)).sum())
    if beyond:
        says = (
            f"{beyond} of {len(polygons)} outlines reach beyond the slide, "
            f"{facts.outside_share:.0%} of their area"
        )
        if facts.outside_share > MOSTLY:
            yield error(
                "outside",
                says,
                "look whether it is another slide's annotation, or was drawn on a reduced copy",
            )
        else:
            yield warning("outside", says, "look whether it is this slide's annotation")
    if (
        facts.on_tissue_share is not None
        and facts.on_tissue_share < OFF_TISSUE
        and facts.outside_share <= MOSTLY
    ):
        says = (
            f"only {facts.on_tissue_share:.0%} of the tumour area lies on tissue: annotation and "
            "tissue do not meet"
        )
        yield warning(
            "on tissue",
            says,
            "look whether it is another slide's annotation; if it is not, see --tissue.method",
        )
    if facts.isolated_cells and not facts.lesions:
        says = f"all {facts.isolated_cells} lesions are shorter than {settings.itc_um:g} µm"
        yield warning(
            "lesions",
            f"{says}: isolated tumour cells, neither hit nor miss",
            "expect nothing of it in FROC, or see --evaluate.itc-um",
        )


def _whole(geometry) -> list:
    return [
        part
        for part in shapely.get_parts(geometry)
        if part.geom_type == "Polygon" and part.area > 0
    ]


def _on_tissue(tumor: MultiPolygon, tissue: TissueMask) -> float | None:
    if tumor.is_empty or tissue.is_empty:
        return None
    drawn = PolygonRaster(tumor).window(
        (0.0, 0.0), px_level0=tissue.scale_level0, shape=tissue.mask.shape
    )
    return float(tissue.mask[drawn].mean()) if drawn.any() else None
