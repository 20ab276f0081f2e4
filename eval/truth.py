"""What is known to be tumour on one slide."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import shapely
from shapely.geometry import MultiPolygon

from ..wsi import DEFAULT_GROUPS, Annotation, CohortSlide
from .lesions import AnyLesions, lesions_of_annotation
from .pixel_rules import official_lesions
from .settings import EvaluateSettings

__all__ = ["IN_PART", "LeftOutline", "Truth"]

NOT_OUTLINED = "tumour is not outlined"
IN_PART = "tumour is outlined in part, not exhaustively: what is found beside the outlines may be tumour"


@dataclass(frozen=True, kw_only=True)
class LeftOutline:
    """An outline of tumour that makes no lesion."""

    name: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Truth:
    """Outlines and the lesions they make; known, or not."""

    tumor: MultiPolygon
    """Level-0 px; empty on a normal slide."""
    lesions: AnyLesions | None
    """By our rule; None on a normal slide."""
    unjudged: str = ""
    """Why detections and patches of a tumour slide cannot be judged; empty where they can."""
    official: Mapping[str, AnyLesions] = field(default_factory=dict)
    """As each official program finds them, by its name; empty on a normal slide."""
    left_out: tuple[LeftOutline, ...] = ()
    notes: tuple[str, ...] = ()
    """How the lesions were measured, where that is not the usual way."""

    @classmethod
    def of_slide(
        cls, slide: CohortSlide, *, slide_size: tuple[int, int], slide_mpp: float, settings: EvaluateSettings
    ) -> "Truth":
        """Read the annotation; a normal slide needs none.

        A tumour slide that is outlined in part keeps its lesions, but nothing on it is judged: CAMELYON16's test_114
        and the like are left out of lesion evaluations.

        Raises:
            AnnotationError: it cannot be read, or contradicts the cohort's label.
        """
        annotation = slide.load_annotation(settings.groups)
        if annotation is None:
            unjudged = "" if slide.label == "normal" else NOT_OUTLINED
            return cls(tumor=MultiPolygon(), lesions=None, unjudged=unjudged)
        tumor = annotation.tumor
        if tumor.is_empty:
            return cls(tumor=tumor, lesions=None)
        lesions = lesions_of_annotation(tumor, slide_size=slide_size, slide_mpp=slide_mpp, settings=settings)
        official = official_lesions(
            tumor,
            annotation=slide.annotation,
            groups={**DEFAULT_GROUPS, **settings.groups},
            slide_size=slide_size,
            slide_mpp=slide_mpp,
        )
        raster_um = lesions.measures.raster_um
        detailed = f"outlines too detailed: lesions measured on a raster of {raster_um:g} µm/px"
        return cls(
            tumor=tumor,
            lesions=lesions,
            unjudged="" if slide.exhaustive else IN_PART,
            official=official if slide.exhaustive else {},
            left_out=tuple(_left_out(annotation, slide_size)),
            notes=(detailed,) if raster_um else (),
        )


def _left_out(annotation: Annotation, slide_size: tuple[int, int]) -> Iterator[LeftOutline]:
    for outline in annotation.without_area:
        if annotation.is_tumor(outline):
            yield LeftOutline(name=outline.name, reason="encloses nothing: a line, or fewer than three points")
    drawn = [outline for outline in annotation.outlines if annotation.is_tumor(outline)]
    touches = shapely.intersects([outline.polygon for outline in drawn], shapely.box(0, 0, *slide_size))
    for outline, is_inside in zip(drawn, touches, strict=True):
        if not is_inside:
            yield LeftOutline(name=outline.name, reason="lies outside the slide")
