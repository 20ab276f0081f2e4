"""What is known to be tumour on one slide."""

from dataclasses import dataclass

from shapely.geometry import MultiPolygon

from ..wsi import CohortSlide
from .lesions import Lesions, lesions_of_annotation
from .settings import EvaluateSettings

__all__ = ["Truth"]


@dataclass(frozen=True, kw_only=True)
class Truth:
    """Outlines and the lesions they make; known, or not."""

    tumor: MultiPolygon
    """Level-0 px; empty on a normal slide."""
    lesions: Lesions | None
    """None on a normal slide."""
    is_outlined: bool
    """False on a tumour slide that nobody outlined: its detections and patches cannot be judged."""

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
        return cls(tumor=tumor, lesions=lesions, is_outlined=True)
