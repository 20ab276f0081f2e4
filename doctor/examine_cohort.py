"""A cohort examined: slides in parallel, then what is between them, then what a run would take."""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from ..batch import BatchSettings, SlideOutcome, run_slides
from ..cohort import Cohort
from ..inference import slides_to_predict
from ..patching import slides_to_tile
from ..storage import atomic_folder
from .checkup import CohortCheckup, SlideCheckup
from .cohort_checks import between_slides, sides_of, with_unlike_mpp
from .estimate import estimate
from .examine_slide import ExaminedSlide, SlideToCheck, examine_slide
from .findings import Finding, error
from .html_page import checkup_html
from .settings import DoctorSettings

__all__ = ["check_up", "save_checkup"]

JSON, PAGE = "checkup.json", "checkup.html"


def check_up(
    cohort: Cohort,
    settings: DoctorSettings,
    batch: BatchSettings,
    *,
    name: str,
    known: Sequence[Finding],
    on_outcome: Callable[[SlideOutcome], None] | None = None,
) -> CohortCheckup:
    """Examine every slide of a cohort called name; known is what was found when it was loaded."""
    to_check = _slides_to_check(cohort, settings)
    rows = {slide.id: SlideCheckup.of_row(slide) for slide in cohort}
    summary = run_slides(
        partial(examine_slide, settings=settings), to_check, batch, on_outcome=on_outcome
    )
    slides = with_unlike_mpp(
        [_checkup(outcome, rows[outcome.slide]) for outcome in summary.outcomes]
    )
    cores = os.cpu_count() or 1
    workers = max(1, cores if batch.workers is None else batch.workers)
    return CohortCheckup(
        cohort=name,
        slides=slides,
        findings=(*known, *between_slides(cohort, slides, settings)),
        sides=sides_of(slides),
        estimates=estimate(slides, settings, cores=cores, workers=workers),
        cores=cores,
        settings=settings.model_dump(mode="json"),
    )


def _slides_to_check(cohort: Cohort, settings: DoctorSettings) -> list[SlideToCheck]:
    tiled = {slide.id for slide in slides_to_tile(cohort, settings.tile)}
    predicted = {slide.id for slide in slides_to_predict(cohort, settings.predict)}
    return [
        SlideToCheck(row=row, is_tiled=row.id in tiled, is_predicted=row.id in predicted)
        for row in cohort
    ]


def _checkup(outcome: SlideOutcome, row: SlideCheckup) -> SlideCheckup:
    if isinstance(outcome, ExaminedSlide):
        return outcome.checkup
    if not outcome.traceback:
        advice = (
            "a damaged file can crash its decoder, a huge one fill the memory: copy it again, or "
            "leave it out"
        )
        return replace(row, findings=(error("crash", "the process that examined it died", advice),))
    advice = "leave the slide out; please report it with the traceback in checkup.json"
    crash = error("crash", f"the check-up failed: {outcome.reason}", advice)
    return replace(row, findings=(crash,), traceback=outcome.traceback)


def save_checkup(checkup: CohortCheckup, out: Path) -> Path:
    """Write checkup.json and checkup.html into the folder out, both or none; return the page's
    path.

    Raises:
        SettingsError: out holds something else than a check-up.
    """
    with atomic_folder(out, known_by=JSON) as partial_folder:
        (partial_folder / JSON).write_text(
            json.dumps(checkup.to_json(), indent=1, allow_nan=False), encoding="utf-8"
        )
        (partial_folder / PAGE).write_text(
            checkup_html(checkup), encoding="utf-8", errors="backslashreplace"
        )
    return out / PAGE
