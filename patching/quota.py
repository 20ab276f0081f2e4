"""Quotas of patches: the share of each slide where patients have a limit."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..cohort import CohortSlide
from .settings import TileSettings

__all__ = ["Quota", "compute_quotas"]


@dataclass(frozen=True, kw_only=True)
class Quota:
    """Maximum number of patches of each class."""

    tumor: int
    normal: int

    def applied(self, settings: TileSettings) -> TileSettings:
        """Return the settings with this slide's quota."""
        return settings.model_copy(
            update={"tumor_per_slide": self.tumor, "normal_per_slide": self.normal}
        )


def compute_quotas(slides: Sequence[CohortSlide], settings: TileSettings) -> dict[str, Quota]:
    """Compute the quota of each slide, by slide id, before any slide is opened.

    A patient's quota is divided evenly among the slides that can have the class; the remainder goes
    to the first ones by id.
    """
    tumor = _shares(
        [s for s in slides if s.label == "tumor"],
        settings.tumor_per_slide,
        settings.tumor_per_patient,
    )
    # On a slide that is annotated in part, an area without annotation may be tumour.
    normal = [s for s in slides if s.label == "normal" or s.exhaustive or s.has_regions]
    shares = _shares(normal, settings.normal_per_slide, settings.normal_per_patient)
    return {
        slide.id: Quota(tumor=tumor.get(slide.id, 0), normal=shares.get(slide.id, 0))
        for slide in slides
    }


def _shares(
    slides: Sequence[CohortSlide], per_slide: int, per_patient: int | None
) -> dict[str, int]:
    if per_patient is None:
        return {slide.id: per_slide for slide in slides}
    of_patient: dict[str, list[str]] = {}
    for slide in slides:
        of_patient.setdefault(slide.patient or f"slide {slide.id}", []).append(slide.id)
    shares = {}
    for ids in of_patient.values():
        each, rest = divmod(per_patient, len(ids))
        shares |= {
            slide_id: min(per_slide, each + (place < rest))
            for place, slide_id in enumerate(sorted(ids))
        }
    return shares
