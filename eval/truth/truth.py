"""Tumour that is known on one slide, and the lesions it makes."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import shapely
from shapely.geometry import MultiPolygon, Polygon

from ...cohort import CohortSlide
from ...storage import AnnotationError, pluralise
from ...wsi import Slide, SlideFrame
from ..settings import EvaluateSettings
from .lesions import AnyLesions, find_lesions

__all__ = ["ExcludedOutline", "Truth", "TumorMask"]

NOT_OUTLINED = "tumour is not outlined"
IN_PART = "tumour is outlined in part: a detection beside the outlines may be tumour"
NO_AREA = "encloses no area: a line, or fewer than three points"
OUTSIDE = "lies outside the slide"


@dataclass(frozen=True, kw_only=True)
class ExcludedOutline:
    """An outline of tumour that makes no lesion."""

    name: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class TumorMask:
    """Tumour of a whole slide as a mask in memory."""

    tumor: np.ndarray
    """bool (rows, columns)."""
    pixel_level0: float
    """Level-0 px per px of the mask."""


@dataclass(frozen=True, kw_only=True)
class Truth:
    """Annotated tumour of one slide and its lesions."""

    tumor: MultiPolygon = field(default_factory=MultiPolygon)
    """Level-0 px; empty on a normal slide."""
    lesions: AnyLesions | None = None
    """None on a normal slide and where tumour is not outlined."""
    unjudged: str = ""
    """Reason why detections and patches cannot be scored; empty where they can."""
    mask: TumorMask | None = None
    """The mask that the lesions come from, where it was given in memory."""
    excluded: tuple[ExcludedOutline, ...] = ()
    notes: tuple[str, ...] = ()
    """Unusual ways in which the lesions were measured."""

    @classmethod
    def of_slide(
        cls,
        slide: CohortSlide,
        *,
        slide_size: tuple[int, int],
        slide_mpp: float,
        settings: EvaluateSettings,
        opened: Slide | None = None,
    ) -> "Truth":
        """Read the annotation of a slide; a normal slide needs none.

        opened is the slide itself, which alone says where its scanned part lies.

        A slide that is outlined in part keeps its lesions, but nothing on it is scored (as for
        CAMELYON16's test_114).

        Raises:
            AnnotationError: the annotation cannot be read, contradicts the cohort's label, or lies
                outside the slide.
        """
        is_there = isinstance(slide.path, str) or slide.path.exists()
        frame = None if is_there else SlideFrame(width=slide_size[0], height=slide_size[1])
        annotation = slide.load_annotation(settings.groups, slide=opened or frame)
        if annotation is None:
            return cls(unjudged="" if slide.label == "normal" else NOT_OUTLINED)
        if annotation.tumor.is_empty:
            nothing = cls(tumor=annotation.tumor)
            return nothing.in_part() if slide.label == "tumor" else nothing
        outlines = [
            (outline.name, outline.polygon)
            for outline in annotation.outlines
            if annotation.is_tumor(outline)
        ]
        truth = cls.of_outlines(
            annotation.tumor,
            outlines,
            where=str(slide.annotation),
            slide_size=slide_size,
            slide_mpp=slide_mpp,
            settings=settings,
        )
        without_area = tuple(
            ExcludedOutline(name=outline.name, reason=NO_AREA)
            for outline in annotation.without_area
            if annotation.is_tumor(outline)
        )
        whole = replace(truth, excluded=(*without_area, *truth.excluded))
        return whole if slide.exhaustive else whole.in_part()

    @classmethod
    def of_outlines(
        cls,
        tumor: MultiPolygon,
        outlines: Sequence[tuple[str, Polygon | MultiPolygon]],
        *,
        where: str,
        slide_size: tuple[int, int],
        slide_mpp: float,
        settings: EvaluateSettings,
    ) -> "Truth":
        """Find the lesions of tumour, level-0 px, that was drawn as these named outlines.

        Raises:
            AnnotationError: every outline lies outside the slide; where names the annotation.
        """
        polygons = [polygon for _, polygon in outlines]
        is_outside = ~shapely.intersects(polygons, shapely.box(0, 0, *slide_size))
        if len(outlines) and is_outside.all():
            raise AnnotationError(
                f"{where}: {len(outlines)} {pluralise(len(outlines), 'outline')} of tumour outside "
                f"the slide of {slide_size[0]} × {slide_size[1]} px, none inside; check that the "
                "annotation belongs to this slide"
            )
        lesions = find_lesions(tumor, slide_size=slide_size, slide_mpp=slide_mpp, settings=settings)
        raster_um = lesions.measures.raster_um
        detailed = f"outlines too detailed: lesions measured on a raster of {raster_um:g} µm/px"
        return cls(
            tumor=tumor,
            lesions=lesions,
            excluded=tuple(
                ExcludedOutline(name=name, reason=OUTSIDE)
                for (name, _), outside in zip(outlines, is_outside, strict=True)
                if outside
            ),
            notes=(detailed,) if raster_um else (),
        )

    def in_part(self) -> "Truth":
        """Return this truth for a slide where some tumour is not outlined: nothing is scored."""
        return replace(self, unjudged=IN_PART)
