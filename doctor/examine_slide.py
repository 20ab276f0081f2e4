"""One slide examined: every check on it, without reading it whole."""

import hashlib
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from shapely.geometry import MultiPolygon

from ..batch import SlideOutcome
from ..cohort import CohortSlide
from ..inference import PredictSettings
from ..patching import TileSettings
from ..storage import Location, SlideError, SpacingError
from ..wsi import Annotation, Slide, TissueMask, open_slide, tissue_mask
from .annotation_checks import AnnotationFacts, check_drawn, load_drawn
from .checkup import SlideCheckup
from .findings import Finding, error, told, warning
from .formatting import format_count
from .pixel_checks import COPY_AGAIN, PixelFacts, check_pixels, overview_mpx, sample_tiles
from .settings import DoctorSettings
from .timeout import within
from .workload import TileWork, predict_work, tile_work

__all__ = ["ExaminedSlide", "SlideToCheck", "examine_slide"]

FINGERPRINT_BYTES = 2**16  # of the file's start, middle and end


@dataclass(frozen=True, kw_only=True)
class SlideToCheck:
    """A slide to be examined, and which stages would use it."""

    row: CohortSlide
    is_tiled: bool
    is_predicted: bool

    @property
    def id(self) -> str:
        return self.row.id


@dataclass(frozen=True, kw_only=True)
class ExaminedSlide(SlideOutcome):
    """The outcome of one slide, with all that was seen."""

    checkup: SlideCheckup


def examine_slide(to_check: SlideToCheck, *, settings: DoctorSettings) -> ExaminedSlide:
    """Every check on one slide; what cannot be checked because of an earlier finding is left
    out."""
    start, minutes = time.perf_counter(), settings.sample.minutes
    checkup = within(60 * minutes, partial(_examined, to_check, settings))
    if checkup is None:
        says = f"not done after {minutes:g} min: its file, its annotation or their disk hangs"
        advice = (
            "copy them to a local disk; leave the slide out if it stays so; see --sample.minutes"
        )
        checkup = replace(
            SlideCheckup.of_row(to_check.row), findings=(error("time", says, advice),)
        )
    seconds = time.perf_counter() - start
    checkup = replace(checkup, seconds=seconds)
    bad = checkup.worst == "error"
    return ExaminedSlide(
        slide=to_check.id, status="partial" if bad else "done", seconds=seconds, checkup=checkup
    )


def _examined(to_check: SlideToCheck, settings: DoctorSettings) -> SlideCheckup:
    start = time.perf_counter()
    annotation, findings = load_drawn(to_check.row, settings, is_tiled=to_check.is_tiled)
    checkup = replace(
        SlideCheckup.of_row(to_check.row),
        findings=tuple(findings),
        fingerprint=_fingerprint(to_check.row.path),
        annotation_seconds=time.perf_counter() - start,
    )
    try:
        slide = _opened(to_check.row, settings)
    except SlideError as fault:
        check = "µm/px" if isinstance(fault, SpacingError) else "open"
        return replace(checkup, findings=(told(check, fault, of=to_check.row.path), *findings))
    with slide:
        return _seen(checkup, slide, to_check, annotation, settings)


def _opened(row: CohortSlide, settings: DoctorSettings) -> Slide:
    return open_slide(row.path, mpp=row.mpp, fallback_mpp=settings.tile.slide_mpp)


def _seen(
    checkup: SlideCheckup,
    slide: Slide,
    to_check: SlideToCheck,
    annotation: Annotation | None,
    settings: DoctorSettings,
) -> SlideCheckup:
    findings = [*checkup.findings, *check_pixels(slide, to_check.row, settings)]
    start = time.perf_counter()
    tissue = _tissue(slide, settings)
    checkup = replace(
        checkup, pixels=PixelFacts.of(slide.info), tissue_seconds=time.perf_counter() - start
    )
    if tissue is not None and tissue.is_empty:
        findings.append(
            warning(
                "tissue", "no tissue found", "look at the slide; see --tissue.method if it has some"
            )
        )
    # Nothing of a fresh handle is cached, so that the speed is the disk's and the codec's.
    with _opened(to_check.row, settings) as fresh:
        tiles, lost = sample_tiles(fresh, tissue, settings.sample)
    findings += lost
    if annotation is not None:
        start = time.perf_counter()
        facts = AnnotationFacts.of(annotation, slide.info, tissue, settings.evaluate)
        findings += check_drawn(annotation, facts, slide.info, settings.evaluate)
        seconds = checkup.annotation_seconds + time.perf_counter() - start
        checkup = replace(checkup, annotation=facts, annotation_seconds=seconds)
    checkup = replace(checkup, tiles=tiles)
    if tissue is not None:
        tumor = MultiPolygon() if annotation is None else annotation.tumor
        checkup = replace(checkup, tissue_mm2=_area_mm2(tissue, slide.info.mpp))
        checkup, more = _work(checkup, slide, to_check, tissue, tumor, settings)
        findings += more
    if slide.unreadable and not lost:
        says = (
            f"{format_count(len(slide.unreadable), 'tile')} not decoded where tissue was looked "
            "for or patches were tried"
        )
        findings.append(error("tiles", says, COPY_AGAIN))
    return replace(checkup, findings=tuple(findings))


def _tissue(slide: Slide, settings: DoctorSettings) -> TissueMask | None:
    if overview_mpx(slide, settings.tile.tissue.mpp) > settings.sample.overview_mpx:
        return None
    return tissue_mask(slide, settings.tile.tissue)


def _area_mm2(tissue: TissueMask, mpp: float) -> float:
    return float(tissue.mask.sum()) * (tissue.scale_level0 * mpp) ** 2 / 1e6


def _work(
    checkup: SlideCheckup,
    slide: Slide,
    to_check: SlideToCheck,
    tissue: TissueMask,
    tumor: MultiPolygon,
    settings: DoctorSettings,
) -> tuple[SlideCheckup, list[Finding]]:
    agrees = (to_check.row.label == "tumor") != tumor.is_empty
    tile = predict = None
    if to_check.is_tiled and agrees and _fits(slide, settings.tile, settings):
        tile = tile_work(slide, to_check.row, tissue, tumor, settings)
    if to_check.is_predicted and _fits(slide, settings.predict, settings):
        predict = predict_work(slide, tissue, settings)
    return replace(checkup, tile=tile, predict=predict), _quota(tile, to_check.row, tissue)


def _fits(slide: Slide, stage: TileSettings | PredictSettings, settings: DoctorSettings) -> bool:
    """Whether the stage can read the slide; where it cannot, that is a finding already."""
    try:
        slide.scale(settings.tile.mpp, allow_upsampling=stage.allow_upsampling)
    except SpacingError:
        return False
    return True


def _quota(tile: TileWork | None, row: CohortSlide, tissue: TissueMask) -> list[Finding]:
    if tile is None or tissue.is_empty:
        return []
    if not tile.patches:
        return [
            warning(
                "patches", "no patch fits over its tissue", "see --patch-px, --mpp and --min-tissue"
            )
        ]
    if row.label == "tumor" and not tile.tumor_patches:
        return [
            warning(
                "patches",
                "no tumour patch over its tissue",
                "see --min-tissue, and look at its annotation",
            )
        ]
    return []


def _fingerprint(path: Location) -> str:
    """Of the file's size, start, middle and end; empty for what is no local file, and for one that
    cannot be read."""
    if not (isinstance(path, Path) and path.is_file()):
        return ""
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            digest = hashlib.sha256(str(size).encode())
            for place in (0, size // 2, max(0, size - FINGERPRINT_BYTES)):
                file.seek(place)
                digest.update(file.read(FINGERPRINT_BYTES))
    except OSError:
        return ""  # opening it as a slide tells why
    return digest.hexdigest() if size else ""
