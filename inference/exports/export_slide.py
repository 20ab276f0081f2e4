"""Bring the exports of one slide up to date with its prediction."""

import hashlib
import json
import logging
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ...batch import SlideOutcome
from ...cohort import CohortSlide
from ...storage import (
    GROUP,
    GigaslideError,
    Recipe,
    ScoreError,
    SlideError,
    StoreError,
    file_identity,
    format_location,
    is_disk_full,
    location_exists,
    read_file,
)
from ...wsi import Detections, Heatmap, Slide, open_slide
from ..prediction_folder import DETECTIONS, HEATMAP, RECIPE
from .exporters import EXPORTERS, FORMATS, Exporter
from .settings import ExportSettings
from .source import ExportSource

__all__ = ["PredictedSlide", "export_slide", "list_exporters"]

logger = logging.getLogger(__name__)

VERSION = 2
"""Version of the exported files; a larger one makes them again."""


@dataclass(frozen=True, kw_only=True)
class PredictedSlide:
    """A slide's folder of predictions, and its row of the cohort if there is one."""

    id: str
    folder: Path
    slide: CohortSlide | None = None

    @cached_property
    def heatmap_sha256(self) -> str:
        """SHA-256 of the heatmap, from its metadata.

        Raises:
            StoreError: no metadata, or damaged.
        """
        try:
            return json.loads(read_file(self.folder / HEATMAP, GROUP) or b"")["attributes"][
                "content_sha256"
            ]
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"{self.folder / HEATMAP}: not a readable heatmap ({error!r}); predict this slide "
                "again"
            ) from error

    @cached_property
    def detections_sha256(self) -> str | None:
        """SHA-256 of the table of detections; None if there is none."""
        content = read_file(self.folder, DETECTIONS)
        return None if content is None else hashlib.sha256(content).hexdigest()

    @property
    def threshold(self) -> float:
        """Threshold of the detections, as their recipe states it."""
        made = Recipe.load(self.folder / RECIPE)
        return float(made.settings.get("threshold", 0.5)) if made else 0.5

    def load_heatmap(self) -> Heatmap:
        heatmap = Heatmap.load(self.folder / HEATMAP)
        self._refuse_other(heatmap.slide, HEATMAP)
        return heatmap

    def load_detections(self) -> Detections:
        found = Detections.load(self.folder / DETECTIONS)
        for name in set(found.slide.tolist()):
            self._refuse_other(name, DETECTIONS)
        return found

    def _refuse_other(self, name: str, file: str) -> None:
        if name != self.id:
            raise ScoreError(
                f"{self.folder / file}: of slide {name!r} in the folder of {self.id!r}; predict "
                f"{self.id} again"
            )

    def find_slide(self) -> CohortSlide:
        """Return the slide whose file exists.

        Raises:
            SlideError: no cohort was given, the cohort lacks it, or its file is gone.
        """
        if self.slide is None:
            raise SlideError(f"{self.id}: its file is not known; give the cohort with --slides")
        if not location_exists(self.slide.path):
            raise SlideError(
                f"{format_location(self.slide.path)}: no such slide, and this export shows its "
                "pixels; bring the file back or correct the cohort. Formats without pixels need no "
                "slide"
            )
        return self.slide

    def open_slide(self, mpp: float) -> AbstractContextManager[Slide]:
        return open_slide(self.find_slide().path, mpp=mpp)


def list_exporters(settings: ExportSettings) -> tuple[str, ...]:
    """List the names of the exporters that the settings ask for."""
    return tuple(dict.fromkeys(name for form in settings.to for name in FORMATS[form]))


def export_slide(
    predicted: PredictedSlide, *, out: Path, settings: ExportSettings, slide_threshold: float | None
) -> SlideOutcome:
    """Write the exports of a slide that are missing or changed into out/<slide>.

    An export that fails does not stop the others: the slide is then partial.

    Raises:
        GigaslideError: none could be made.
    """
    threshold = predicted.threshold
    source = ExportSource(
        id=predicted.id,
        load_heatmap=predicted.load_heatmap,
        load_detections=predicted.load_detections,
        open_slide=lambda: predicted.open_slide(source.heatmap.slide_mpp),
        settings=settings,
        patient=predicted.slide.patient if predicted.slide else "",
        threshold=threshold,
        slide_threshold=threshold if slide_threshold is None else slide_threshold,
    )
    made, failures = 0, list[GigaslideError]()
    names = list_exporters(settings)
    for name in names:
        try:
            made += _update(EXPORTERS[name], predicted, source, out / predicted.id)
        except GigaslideError as error:
            if is_disk_full(error):
                raise
            failures.append(error)
    if len(failures) == len(names):
        raise failures[0]
    for error in failures:
        logger.warning("%s: %s", predicted.id, error)
    reasons = dict.fromkeys(str(error) for error in failures)
    return SlideOutcome(
        slide=predicted.id,
        status="partial" if failures else "done" if made else "skipped",
        reason="; ".join(reasons) or ("" if made else "unchanged"),
        counts={"exports": made, "unchanged": len(names) - made - len(failures)},
    )


def _update(
    exporter: Exporter, predicted: PredictedSlide, source: ExportSource, folder: Path
) -> bool:
    """Make one export unless it is there by the same recipe; return whether it was made."""
    output = exporter.output(folder, predicted.id, _recipe(exporter, predicted, source))
    if output.state().is_unchanged:
        return False
    exporter.save(source, output)
    return True


def _recipe(exporter: Exporter, predicted: PredictedSlide, source: ExportSource) -> Recipe:
    settings = source.settings.model_dump(mode="json")
    inputs: dict[str, Any] = {"heatmap": predicted.heatmap_sha256}
    if exporter.reads_detections:
        inputs |= {
            "detections": predicted.detections_sha256,
            "threshold": source.threshold,
            "slide_threshold": source.slide_threshold,
            "patient": source.patient,
        }
    if exporter.reads_pixels or ("origin" in exporter.settings and settings["origin"] == "bounds"):
        inputs["slide"] = file_identity(predicted.find_slide().path)
    return Recipe(
        stage="export",
        settings={"version": VERSION, **{name: settings[name] for name in exporter.settings}},
        inputs=inputs,
    )
