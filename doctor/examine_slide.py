"""Check-up of one slide, without reading it whole."""

import hashlib
import time
from concurrent.futures import Future, wait
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Thread

from shapely.geometry import MultiPolygon

from ..batch import SlideOutcome
from ..cohort import CohortSlide
from ..inference import PredictSettings
from ..patching import TileSettings
from ..storage import Location, SlideError, SpacingError, format_count
from ..wsi import Annotation, Slide, TissueMask, open_slide, tissue_mask
from .annotation_checks import AnnotationFacts, check_on_slide, load_annotation
from .checkup import SlideCheckup
from .findings import Finding, error, from_exception, warning
from .pixel_checks import COPY_AGAIN, check_pixels, overview_mpx, sample_tiles
from .settings import DoctorSettings
from .workload import PredictWorkload, TileWorkload, measure_prediction, measure_tiling

__all__ = ["ExaminedSlide", "SlideToCheck", "examine_slide"]

FINGERPRINT_BYTES = 2**16  # read at the start, the middle and the end of the file


@dataclass(frozen=True, kw_only=True)
class SlideToCheck:
    """A slide, and the stages that would use it."""

    row: CohortSlide
    is_tiled: bool
    is_predicted: bool

    @property
    def id(self) -> str:
        return self.row.id


@dataclass(frozen=True, kw_only=True)
class ExaminedSlide(SlideOutcome):
    """Outcome of one slide, with its check-up."""

    checkup: SlideCheckup


def examine_slide(to_check: SlideToCheck, *, settings: DoctorSettings) -> ExaminedSlide:
    """Run every check on one slide, except those that an earlier finding makes impossible."""
    start, minutes = time.perf_counter(), settings.sample.minutes
    # A read that hangs ends only with its process, which a daemon thread does not keep from ending.
    future: Future[SlideCheckup] = Future()
    Thread(target=_fulfil, args=(future, to_check, settings), daemon=True).start()
    wait([future], timeout=60 * minutes)
    if future.done():
        checkup = future.result()
    else:
        hang = error(
            "time",
            f"not finished after {minutes:g} min: the slide, its annotation or their disk hangs",
            "copy the files to a local disk; leave the slide out if it still hangs; see "
            "--sample.minutes",
        )
        checkup = replace(SlideCheckup.of_row(to_check.row), findings=(hang,))
    seconds = time.perf_counter() - start
    return ExaminedSlide(
        slide=to_check.id,
        status="partial" if checkup.worst == "error" else "done",
        seconds=seconds,
        checkup=replace(checkup, seconds=seconds),
    )


def _fulfil(future: Future[SlideCheckup], to_check: SlideToCheck, settings: DoctorSettings) -> None:
    try:
        future.set_result(_examine(to_check, settings))
    except BaseException as failure:  # the caller's thread raises it again
        future.set_exception(failure)


def _examine(to_check: SlideToCheck, settings: DoctorSettings) -> SlideCheckup:
    row, start = to_check.row, time.perf_counter()
    annotation, findings = load_annotation(row, settings, is_tiled=to_check.is_tiled)
    checkup = replace(
        SlideCheckup.of_row(row),
        findings=tuple(findings),
        fingerprint=_fingerprint(row.path),
        annotation_seconds=time.perf_counter() - start,
    )
    try:
        slide = open_slide(row.path, mpp=row.mpp, fallback_mpp=settings.tile.slide_mpp)
    except SlideError as failure:
        check = "µm/px" if isinstance(failure, SpacingError) else "open"
        finding = from_exception(check, failure, source=row.path)
        return replace(checkup, findings=(finding, *findings))
    with slide:
        return _examine_open(checkup, slide, to_check, annotation, settings)


def _examine_open(
    checkup: SlideCheckup,
    slide: Slide,
    to_check: SlideToCheck,
    annotation: Annotation | None,
    settings: DoctorSettings,
) -> SlideCheckup:
    findings = [*checkup.findings, *check_pixels(slide, to_check.row, settings)]
    start = time.perf_counter()
    tissue = None
    if overview_mpx(slide, settings.tile.tissue.mpp) <= settings.sample.overview_mpx:
        tissue = tissue_mask(slide, settings.tile.tissue)
    tissue_seconds = time.perf_counter() - start
    if tissue is not None and tissue.is_empty:
        advice = "look at the slide; if it has tissue, see --tissue.method"
        findings.append(warning("tissue", "no tissue found", advice))
    tiles, unreadable = sample_tiles(slide, tissue, settings)
    findings += unreadable
    checkup = replace(checkup, pixels=slide.info, tissue_seconds=tissue_seconds, tiles=tiles)
    if annotation is not None:
        start = time.perf_counter()
        facts = AnnotationFacts.measure(annotation, slide.info, tissue, settings.evaluate)
        findings += check_on_slide(annotation, facts, slide.info, settings.evaluate)
        seconds = checkup.annotation_seconds + time.perf_counter() - start
        checkup = replace(checkup, annotation=facts, annotation_seconds=seconds)
    if tissue is not None:
        tumor = MultiPolygon() if annotation is None else annotation.tumor
        area_um2 = float(tissue.mask.sum()) * (tissue.scale_level0 * slide.info.mpp) ** 2
        checkup = replace(checkup, tissue_mm2=area_um2 / 1e6)
        tile, predict = _measure_work(slide, to_check, tissue, tumor, settings)
        findings += _check_patches(tile, tissue)
        checkup = replace(checkup, tile=tile, predict=predict)
    lost = len(slide.unreadable) - tiles.unreadable
    if lost and all(finding.severity != "error" for finding in unreadable):
        count = format_count(lost, "tile")
        message = f"{count} outside the sample cannot be decoded"
        findings.append(error("tiles", message, COPY_AGAIN))
    return replace(checkup, findings=tuple(findings))


def _measure_work(
    slide: Slide,
    to_check: SlideToCheck,
    tissue: TissueMask,
    tumor: MultiPolygon,
    settings: DoctorSettings,
) -> tuple[TileWorkload | None, PredictWorkload | None]:
    row = to_check.row
    label_fits = (row.label != "tumor") == tumor.is_empty or (row.has_regions and tumor.is_empty)
    tile = predict = None
    if to_check.is_tiled and label_fits and _can_read(slide, settings.tile, settings):
        tile = measure_tiling(slide, row, tissue, tumor, settings)
    if to_check.is_predicted and _can_read(slide, settings.predict, settings):
        predict = measure_prediction(slide, tissue, settings)
    return tile, predict


def _can_read(
    slide: Slide, stage: TileSettings | PredictSettings, settings: DoctorSettings
) -> bool:
    """Test whether the stage can read the slide; `check_pixels` has reported it if not."""
    try:
        slide.scale(settings.tile.mpp, allow_upsampling=stage.allow_upsampling)
    except SpacingError:
        return False
    return True


def _check_patches(tile: TileWorkload | None, tissue: TissueMask) -> list[Finding]:
    if tile is None:
        return []
    if tile.no_tumor:
        message, _, advice = tile.no_tumor.rpartition("; ")
        return [error("patches", message, advice)]
    if tissue.is_empty:
        return []
    if not tile.patches:
        advice = "see --tile.patch-px, --mpp and --min-tissue"
        return [warning("patches", "no patch fits on its tissue", advice)]
    return []


def _fingerprint(path: Location) -> str:
    """Hash of the size, start, middle and end of a local file; empty if it cannot be read."""
    if not (isinstance(path, Path) and path.is_file()):
        return ""
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            digest = hashlib.sha256(str(size).encode())
            for offset in (0, size // 2, max(0, size - FINGERPRINT_BYTES)):
                file.seek(offset)
                digest.update(file.read(FINGERPRINT_BYTES))
    except OSError:
        return ""  # opening the slide reports the error
    return digest.hexdigest() if size else ""
