"""One slide examined: every check on it, without reading it whole."""

import hashlib
import time
from dataclasses import dataclass, replace
from pathlib import Path

from shapely.geometry import MultiPolygon

from ..batch import SlideOutcome
from ..wsi import CohortSlide, Location, Slide, SlideError, SpacingError, TissueMask, open_slide, tissue_mask
from .checkup import SlideCheckup
from .drawn import Drawn, check_drawn, load_drawn
from .findings import Finding, error, told, warning
from .pixels import COPY_AGAIN, PixelFacts, check_pixels, overview_mpx, sample_tiles
from .settings import DoctorSettings
from .work import TileWork, predict_work, tile_work

__all__ = ["ExaminedSlide", "Patient", "examine_slide"]

FINGERPRINT_BYTES = 2**16  # of the file's start, middle and end


@dataclass(frozen=True, kw_only=True)
class Patient:
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


def examine_slide(patient: Patient, *, settings: DoctorSettings) -> ExaminedSlide:
    """Every check on one slide; what cannot be checked because of an earlier finding is left out."""
    start = time.perf_counter()
    checkup = replace(SlideCheckup.of_row(patient.row), fingerprint=_fingerprint(patient.row.path))
    drawn, findings = load_drawn(patient.row, settings, is_tiled=patient.is_tiled)
    try:
        slide = _opened(patient.row, settings)
    except SlideError as fault:
        check = "µm/px" if isinstance(fault, SpacingError) else "open"
        checkup = replace(checkup, findings=(told(check, fault, of=patient.row.path), *findings))
    else:
        with slide:
            checkup = _seen(replace(checkup, findings=tuple(findings)), slide, patient, drawn, settings)
    seconds = time.perf_counter() - start
    checkup = replace(checkup, seconds=seconds)
    bad = checkup.worst == "error"
    return ExaminedSlide(slide=patient.id, status="partial" if bad else "done", seconds=seconds, checkup=checkup)


def _opened(row: CohortSlide, settings: DoctorSettings) -> Slide:
    return open_slide(row.path, mpp=row.mpp, fallback_mpp=settings.tile.slide_mpp)


def _seen(
    checkup: SlideCheckup, slide: Slide, patient: Patient, drawn: Drawn | None, settings: DoctorSettings
) -> SlideCheckup:
    findings = [*checkup.findings, *check_pixels(slide, patient.row, settings)]
    start = time.perf_counter()
    tissue = _tissue(slide, settings)
    tissue_seconds = time.perf_counter() - start
    if tissue is not None and tissue.is_empty:
        findings.append(warning("tissue", "no tissue found", "look at the slide; see --tissue.method if it has some"))
    with _opened(
        patient.row, settings
    ) as fresh:  # nothing of it is cached, so that the speed is the disk's and the codec's
        tiles, lost = sample_tiles(fresh, tissue, settings.sample)
    findings += lost
    facts = None
    if drawn is not None:
        facts = drawn.facts(slide.info, tissue, settings.evaluate)
        findings += check_drawn(drawn, facts, slide.info, settings.evaluate)
    checkup = replace(
        checkup,
        pixels=PixelFacts.of(slide.info),
        tiles=tiles,
        tissue_mm2=None if tissue is None else _area_mm2(tissue, slide.info.mpp),
        tissue_seconds=tissue_seconds,
        annotation=facts,
    )
    if tissue is not None:
        checkup, more = _work(checkup, slide, patient, tissue, drawn, settings)
        findings += more
    if slide.unreadable and not lost:
        says = f"{len(slide.unreadable)} tiles could not be decoded where tissue was looked for or patches were tried"
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
    patient: Patient,
    tissue: TissueMask,
    drawn: Drawn | None,
    settings: DoctorSettings,
) -> tuple[SlideCheckup, list[Finding]]:
    try:
        slide.scale(settings.tile.mpp, allow_upsampling=settings.tile.allow_upsampling)
    except SpacingError:
        return checkup, []  # told already, and no stage can use it
    tumor = MultiPolygon() if drawn is None else drawn.tumor
    agrees = (patient.row.label == "tumor") != tumor.is_empty
    tile = tile_work(slide, patient.row, tissue, tumor, settings) if patient.is_tiled and agrees else None
    predict = predict_work(slide, tissue, settings) if patient.is_predicted else None
    return replace(checkup, tile=tile, predict=predict), _quota(tile, patient.row, tissue)


def _quota(tile: TileWork | None, row: CohortSlide, tissue: TissueMask) -> list[Finding]:
    if tile is None or tissue.is_empty:
        return []
    if not tile.patches:
        return [warning("patches", "no patch fits over its tissue", "see --patch-px, --mpp and --min-tissue")]
    if row.label == "tumor" and not tile.tumor_patches:
        return [warning("patches", "no tumour patch over its tissue", "see --min-tissue, and look at its annotation")]
    return []


def _fingerprint(path: Location) -> str:
    """Of the file's size, start, middle and end; empty for what is no local file."""
    if not (isinstance(path, Path) and path.is_file()):
        return ""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        for place in (0, size // 2, max(0, size - FINGERPRINT_BYTES)):
            file.seek(place)
            digest.update(file.read(FINGERPRINT_BYTES))
    return digest.hexdigest() if size else ""
