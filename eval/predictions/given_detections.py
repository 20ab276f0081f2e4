"""Detections of any program, without heatmaps."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...cohort import CohortSlide
from ...storage import ScoreError
from ...wsi import Detections
from .detection_files import DetectionFiles
from .prediction import Prediction, identify_file
from .slide_file import SlideFile

__all__ = ["NO_ROW", "GivenDetections"]

NO_ROW = "no row in the table: nothing was found on it"


@dataclass(frozen=True)
class GivenDetections:
    """Detections without heatmaps; slides are opened only for their size and µm/px, which the
    cohort may give instead."""

    files: DetectionFiles
    unlisted: tuple[str, ...] = ()
    """Empty: detections of slides that are not listed are refused."""

    def check(self, slides: Sequence[CohortSlide]) -> None:
        """Pass if a table has rows of one of these slides, or no rows at all.

        Raises:
            ScoreError: all rows are of other slides.
        """
        others = self.files.by_slide.keys() - {slide.id for slide in slides}
        if self.files.is_table and others and len(others) == len(self.files.by_slide):
            raise ScoreError(
                f"{self.files.path}: no row of the {len(slides)} slides to evaluate, rows of "
                f"{len(others)} others, the first {next(iter(self.files.by_slide))}; give their "
                "--split, or another table"
            )

    def load(self, slide: CohortSlide, file: SlideFile) -> Prediction:
        size, mpp = file.find_size()
        return self.of_size(slide.id, slide_size=size, slide_mpp=mpp)

    def of_size(self, slide: str, *, slide_size: tuple[int, int], slide_mpp: float) -> Prediction:
        """Return the prediction of a slide whose size is known."""
        found, files = self.files.by_slide.get(slide), self.files
        absence, notes = "", ()
        if found is None and files.is_table:
            notes = (NO_ROW,)
        elif found is None:
            absence = (
                f"no prediction at {files.path / slide}.csv; add it, empty where nothing was found"
            )
        elif found.repeated:
            notes = (f"{found.repeated} of {len(found.detections)} detections repeat another one",)
        return Prediction(
            detections=Detections.concatenate([]) if found is None else found.detections,
            slide_size=slide_size,
            slide_mpp=slide_mpp,
            absence=absence,
            outside=() if found is None else found.list_outside(slide_size),
            notes=notes,
        )

    def load_heatmap(self, slide: str) -> None:
        """Return None: detections have no heatmap."""

    def identify_inputs(self, slide: CohortSlide) -> dict[str, Any]:
        if self.files.is_table:
            return {"detections": identify_file(self.files.path)}
        found = self.files.by_slide.get(slide.id)
        return {"detections": None if found is None else identify_file(found.path)}
