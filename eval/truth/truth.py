"""What is known to be tumour on one slide."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import shapely
from shapely.geometry import MultiPolygon, Polygon

from ...cohort import CohortSlide
from ...storage import AnnotationError
from ...wsi import DEFAULT_GROUPS
from ..camelyon16 import official_lesions
from ..settings import EvaluateSettings
from .lesions import AnyLesions, lesions_of_annotation

__all__ = ["LeftOutline", "Truth"]

NOT_OUTLINED = "tumour is not outlined"
IN_PART = (
    "tumour is outlined in part, not exhaustively: what is found beside the outlines may be tumour"
)


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
    no_official: str = ""
    """Why the official programs could find no lesions where ours are known; empty where they can.
    """
    left_out: tuple[LeftOutline, ...] = ()
    notes: tuple[str, ...] = ()
    """How the lesions were measured, where that is not the usual way."""

    @classmethod
    def of_slide(
        cls,
        slide: CohortSlide,
        *,
        slide_size: tuple[int, int],
        slide_mpp: float,
        settings: EvaluateSettings,
    ) -> "Truth":
        """Read the annotation; a normal slide needs none.

        A tumour slide that is outlined in part keeps its lesions, but nothing on it is judged:
        CAMELYON16's test_114 and the like are left out of lesion evaluations.

        Raises:
            AnnotationError: it cannot be read, contradicts the cohort's label, or lies outside the
            slide.
        """
        annotation = slide.load_annotation(settings.groups)
        if annotation is None:
            unjudged = "" if slide.label == "normal" else NOT_OUTLINED
            return cls(tumor=MultiPolygon(), lesions=None, unjudged=unjudged)
        tumor = annotation.tumor
        if tumor.is_empty:
            return cls(tumor=tumor, lesions=None)
        drawn = [
            (outline.name, outline.polygon)
            for outline in annotation.outlines
            if annotation.is_tumor(outline)
        ]
        frame = {"slide_size": slide_size, "slide_mpp": slide_mpp}
        truth = cls.of_outlines(
            tumor, drawn, where=str(slide.annotation), settings=settings, **frame
        )
        without_area = tuple(
            LeftOutline(
                name=outline.name, reason="encloses nothing: a line, or fewer than three points"
            )
            for outline in annotation.without_area
            if annotation.is_tumor(outline)
        )
        official = official_lesions(
            tumor,
            annotation=slide.annotation,
            groups={**DEFAULT_GROUPS, **settings.groups},
            **frame,
        )
        whole = replace(truth, official=official, left_out=(*without_area, *truth.left_out))
        return whole if slide.exhaustive else whole.in_part()

    @classmethod
    def of_outlines(
        cls,
        tumor: MultiPolygon,
        drawn: Sequence[tuple[str, Polygon | MultiPolygon]],
        *,
        where: str,
        slide_size: tuple[int, int],
        slide_mpp: float,
        settings: EvaluateSettings,
    ) -> "Truth":
        """Of tumour, level-0 px, and the named outlines that it was drawn with; without official
        lesions.

        Raises:
            AnnotationError: every outline lies outside the slide; where is what it names.
        """
        outside = ~shapely.intersects(
            [polygon for _, polygon in drawn], shapely.box(0, 0, *slide_size)
        )
        if len(drawn) and outside.all():
            all_of_them = "its outline" if len(drawn) == 1 else f"all of its {len(drawn)} outlines"
            lie = "lies" if len(drawn) == 1 else "lie"
            raise AnnotationError(
                f"{where}: {all_of_them} of tumour {lie} outside the slide of {slide_size[0]} × "
                f"{slide_size[1]} px; is it another slide's annotation?"
            )
        lesions = lesions_of_annotation(
            tumor, slide_size=slide_size, slide_mpp=slide_mpp, settings=settings
        )
        raster_um = lesions.measures.raster_um
        detailed = f"outlines too detailed: lesions measured on a raster of {raster_um:g} µm/px"
        names = [name for (name, _), is_outside in zip(drawn, outside, strict=True) if is_outside]
        return cls(
            tumor=tumor,
            lesions=lesions,
            left_out=tuple(
                LeftOutline(name=name, reason="lies outside the slide") for name in names
            ),
            notes=(detailed,) if raster_um else (),
        )

    def in_part(self) -> "Truth":
        """The same where not every tumour is outlined: nothing is judged by it."""
        return replace(self, unjudged=IN_PART, official={}, no_official="")
