"""What is known to be tumour on one slide."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import shapely
from shapely.geometry import MultiPolygon

from ..wsi import DEFAULT_GROUPS, CohortSlide
from .lesions import AnyLesions, lesions_of_annotation
from .pixel_rules import official_lesions
from .settings import EvaluateSettings

__all__ = ["Truth"]


@dataclass(frozen=True, kw_only=True)
class Truth:
    """Outlines and the lesions they make; known, or not."""

    tumor: MultiPolygon
    """Level-0 px; empty on a normal slide."""
    lesions: AnyLesions | None
    """By our rule; None on a normal slide."""
    is_outlined: bool
    """False on a tumour slide that nobody outlined: its detections and patches cannot be judged."""
    official: Mapping[str, AnyLesions] = field(default_factory=dict)
    """As each official program finds them, by its name; empty on a normal slide."""
    notes: tuple[str, ...] = ()
    """What of the annotation makes no lesion, and why."""

    @classmethod
    def of_slide(
        cls, slide: CohortSlide, *, slide_size: tuple[int, int], slide_mpp: float, settings: EvaluateSettings
    ) -> "Truth":
        """Read the annotation; a normal slide needs none.

        Raises:
            AnnotationError: it cannot be read, or contradicts the cohort's label.
        """
        tumor = slide.load_tumor(settings.groups)
        if tumor is None:
            return cls(tumor=MultiPolygon(), lesions=None, is_outlined=slide.label == "normal")
        if tumor.is_empty:
            return cls(tumor=tumor, lesions=None, is_outlined=True)
        lesions = lesions_of_annotation(tumor, slide_size=slide_size, slide_mpp=slide_mpp, settings=settings)
        official = official_lesions(
            tumor,
            annotation=slide.annotation,
            groups={**DEFAULT_GROUPS, **settings.groups},
            slide_size=slide_size,
            slide_mpp=slide_mpp,
        )
        notes = _notes(tumor, lesions, slide_size)
        return cls(tumor=tumor, lesions=lesions, is_outlined=True, official=official, notes=notes)


def _notes(tumor: MultiPolygon, lesions: AnyLesions, slide_size: tuple[int, int]) -> tuple[str, ...]:
    outside = int((~shapely.intersects(shapely.get_parts(tumor), shapely.box(0, 0, *slide_size))).sum())
    raster_um = lesions.measures.raster_um
    found = {
        f"{outside} outlined pieces lie outside the slide and are no lesions": outside,
        f"outlines too detailed: lesions measured on a raster of {raster_um:g} µm/px": raster_um,
    }
    return tuple(words for words, applies in found.items() if applies)
