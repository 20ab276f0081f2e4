"""Check-up of a cohort: its slides in parallel, then findings between slides, then estimates."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from ..batch import SILENT, BatchSettings, Listener, SlideOutcome, available_cores, run_slides
from ..cohort import Cohort
from ..inference import slides_to_predict
from ..patching import slides_to_tile
from .checkup import CohortCheckup, SlideCheckup
from .cohort_checks import check_cohort, count_splits, warn_of_unlike_mpp
from .estimate import estimate_stages
from .examine_slide import ExaminedSlide, SlideToCheck, examine_slide
from .findings import Finding, error
from .settings import DoctorSettings

__all__ = ["examine_cohort"]


def examine_cohort(
    cohort: Cohort,
    settings: DoctorSettings,
    batch: BatchSettings,
    *,
    name: str,
    known: Sequence[Finding],
    listener: Listener = SILENT,
) -> CohortCheckup:
    """Examine every slide of the cohort called name; known are the findings of loading it."""
    rows = {slide.id: SlideCheckup.of_row(slide) for slide in cohort}
    tiled = {slide.id for slide in slides_to_tile(cohort, settings.tile)}
    predicted = {slide.id for slide in slides_to_predict(cohort, settings.predict)}
    to_check = [
        SlideToCheck(row=row, is_tiled=row.id in tiled, is_predicted=row.id in predicted)
        for row in cohort
    ]
    summary = run_slides(
        partial(examine_slide, settings=settings), to_check, batch, listener=listener
    )
    slides = warn_of_unlike_mpp(
        [_checkup_of(outcome, rows[outcome.slide]) for outcome in summary.outcomes]
    )
    cores = available_cores()
    workers = max(1, cores if batch.workers is None else batch.workers)
    return CohortCheckup(
        cohort=name,
        slides=slides,
        findings=(*known, *check_cohort(cohort, slides, settings)),
        splits=count_splits(slides),
        estimates=estimate_stages(slides, settings, cores=cores, workers=workers),
        cores=cores,
        settings=settings.model_dump(mode="json"),
    )


def _checkup_of(outcome: SlideOutcome, row: SlideCheckup) -> SlideCheckup:
    if isinstance(outcome, ExaminedSlide):
        return outcome.checkup
    if not outcome.traceback:
        advice = (
            "a damaged file can crash its decoder, and a huge one fill the memory: copy it again, "
            "or leave the slide out"
        )
        crash = error("crash", "the process that examined the slide died", advice)
    else:
        advice = "leave the slide out, and report the traceback in checkup.json"
        crash = error("crash", f"the check-up failed: {outcome.reason}", advice)
    return replace(row, findings=(crash,), traceback=outcome.traceback)
