"""How many patches each slide may give: its own quota, and its share of its patient's."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..cohort import CohortSlide
from .settings import TileSettings

__all__ = ["Quota", "quotas"]


@dataclass(frozen=True, kw_only=True)
class Quota:
    """At most so many patches of each class."""

    tumor: int
    normal: int

    def applied(self, settings: TileSettings) -> TileSettings:
        """The settings as they hold for this slide."""
        return settings.model_copy(
            update={"tumor_per_slide": self.tumor, "normal_per_slide": self.normal}
        )


def quotas(slides: Sequence[CohortSlide], settings: TileSettings) -> dict[str, Quota]:
    """By slide id. Known before any slide is opened, so that it depends on no order of work.

    A patient's quota is dealt evenly to the slides that have the class, the rest of the division by
    their ids.
    """
    tumor = _dealt(
        [s for s in slides if s.label == "tumor"],
        settings.tumor_per_slide,
        settings.tumor_per_patient,
    )
    # What is not drawn on a slide that is annotated in part may be tumour all the same.
    normal = [s for s in slides if s.label == "normal" or s.exhaustive]
    shares = _dealt(normal, settings.normal_per_slide, settings.normal_per_patient)
    return {
        slide.id: Quota(tumor=tumor.get(slide.id, 0), normal=shares.get(slide.id, 0))
        for slide in slides
    }


def _dealt(
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
