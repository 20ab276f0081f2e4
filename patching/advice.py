"""Advice on µm/px and patch side, from the µm/px of the slides and the size of their lesions."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import shapely
from shapely.geometry import MultiPolygon

from ..cohort import CohortSlide
from ..storage import GigaslideError, SpacingError
from ..wsi import Slide, describe_unlikely_mpp, open_slide
from .settings import TileSettings

__all__ = [
    "PatchAdvice",
    "advise_for_slides",
    "advise_patches",
    "measure_widths_um",
    "refuse_if_all_coarser",
]

LEAST_CONTEXT_UM = 145.0
"""Side of a patch below which a network sees little around a gland. The trainings on a real cohort
of colon in docs/experiments.md saw 186 µm."""
STEPS = (1, 2, 4, 8)
SLIDES_MEASURED = 20


@dataclass(frozen=True, kw_only=True)
class PatchAdvice:
    """Advice for `gigaslide tile`."""

    mpp: float
    patch_px: int
    centre_px: int
    narrow_um: float | None
    """Width that nine of ten outlined lesions exceed (µm); None without lesions."""

    def __str__(self) -> str:
        lesions = ""
        if self.narrow_um is not None:
            lesions = f"; nine of ten lesions are wider than {self.narrow_um:.0f} µm"
        return (
            f"--mpp {self.mpp:.4g} fits these slides: patches of {self.patch_px} px are "
            f"{self.patch_px * self.mpp:.0f} µm, their labelled centres "
            f"{self.centre_px * self.mpp:.0f} µm{lesions}"
        )


def advise_patches(
    settings: TileSettings, mpps: Sequence[float], widths_um: Sequence[float]
) -> PatchAdvice | None:
    """Choose the µm/px of patches of the given side: the finest multiple of the coarsest slide's at
    which a patch spans 145 µm, but finer where lesions are narrower than the labelled centre.

    mpps: µm/px of the slides; widths_um: widths of their lesions (µm). None without slides.
    """
    if not mpps:
        return None
    patch_px, centre_px = settings.patch_px, settings.centre_px
    tried = [step * max(mpps) for step in STEPS]
    wide = [number for number, mpp in enumerate(tried) if patch_px * mpp >= LEAST_CONTEXT_UM]
    chosen = wide[0] if wide else len(tried) - 1
    narrow_um = float(np.quantile(widths_um, 0.1)) if len(widths_um) else None
    while chosen and narrow_um is not None and centre_px * tried[chosen] > narrow_um:
        chosen -= 1
    return PatchAdvice(
        mpp=tried[chosen], patch_px=patch_px, centre_px=centre_px, narrow_um=narrow_um
    )


def measure_widths_um(tumor: MultiPolygon, *, mpp: float) -> list[float]:
    """Measure outlined tumour: the shorter side of the smallest rectangle around each part (µm)."""
    widths = []
    for part in tumor.geoms:
        corners = shapely.get_coordinates(shapely.minimum_rotated_rectangle(part))
        widths.append(min(np.hypot(*np.diff(corners[:3], axis=0).T), default=0.0) * mpp)
    return widths


def advise_for_slides(slides: Sequence[CohortSlide], settings: TileSettings) -> PatchAdvice | None:
    """Advise for slides to tile, from the µm/px of all and the lesions of the first 20 that have an
    annotation. Slides that cannot be read do not count: tiling tells of them."""
    mpps, widths_um, measured = [], [], 0
    for row in slides:
        with (
            suppress(GigaslideError),
            open_slide(row.path, mpp=row.mpp, fallback_mpp=settings.slide_mpp) as slide,
        ):
            if describe_unlikely_mpp(slide.info.mpp):
                continue
            mpps.append(slide.info.mpp)
            if row.annotation is not None and measured < SLIDES_MEASURED:
                tumor = row.load_tumor(settings.groups, slide=slide)
                if tumor is not None:
                    widths_um += measure_widths_um(tumor, mpp=slide.info.mpp)
                    measured += 1
    return advise_patches(settings, mpps, widths_um)


def refuse_if_all_coarser(slides: Sequence[CohortSlide], settings: TileSettings) -> None:
    """Refuse a µm/px that every slide is too coarse for, before the work begins. Opens slides until
    one fits; slides that cannot be read, or with an unlikely µm/px, are left to tiling.

    Raises:
        SpacingError: all are too coarse.
    """
    mpps: list[float] = []
    for row in slides if not settings.allow_upsampling else ():
        with (
            suppress(GigaslideError),
            open_slide(row.path, mpp=row.mpp, fallback_mpp=settings.slide_mpp) as slide,
        ):
            if describe_unlikely_mpp(slide.info.mpp) or _fits(slide, settings.mpp):
                return
            mpps.append(slide.info.mpp)
    if mpps:
        finest, coarsest = (f"{mpp:.4g}" for mpp in (min(mpps), max(mpps)))
        have = coarsest if finest == coarsest else f"{finest} to {coarsest}"
        raise SpacingError(
            f"--mpp {settings.mpp:g}: all slides to tile are coarser ({have} µm/px); give --mpp "
            f"{coarsest} or more, or --allow-upsampling"
        )


def _fits(slide: Slide, mpp: float) -> bool:
    try:
        slide.scale(mpp)
    except SpacingError:
        return False
    return True
