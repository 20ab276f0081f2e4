"""Lesions of a study's slides on the grids of their windows, and the detections that windows'
scores give: lesion-level figures of trainings on features."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..cohort import CohortSlide
from ..eval import EvaluateSettings, PooledMatches, SlideMatches, Truth, match_labels
from ..inference import PredictSettings, find_peaks
from ..storage import AnnotationError
from ..wsi import Detections, GroupMeaning, SlideFeatures

__all__ = ["RATES", "SlideLesions", "StudyLesions", "find_slide_lesions"]

RATES = EvaluateSettings().false_positives_per_slide
RADIUS_UM = PredictSettings().radius_um


@dataclass(frozen=True, kw_only=True)
class SlideLesions:
    """Lesions of one slide, as its N windows meet them."""

    cells: np.ndarray
    """(N, 2) int64 (row, column) of each window on a grid of one stride."""
    lesion: np.ndarray
    """(N,) int64: label of the lesion that holds the window's centre, 1 to L; 0 for none."""
    is_itc: np.ndarray
    """(L,) bool."""
    is_judged: bool
    """False where tumour is not outlined, or only in part."""
    radius_cells: float
    """Minimum distance of two detections, in strides."""

    def match(self, scores: np.ndarray) -> SlideMatches:
        """Match the detections of windows' scores (N,) with the lesions: the highest windows, at
        least a radius apart, as `gigaslide predict` detects them."""
        rows, columns = self.cells.max(axis=0) + 1
        probability = np.full((rows, columns), np.nan)
        lesion = np.zeros((rows, columns), np.int64)
        at = tuple(self.cells.T)
        probability[at], lesion[at] = scores, self.lesion
        peaks = find_peaks(probability, radius_cells=self.radius_cells, threshold=0.0)
        places = tuple(peaks.T)
        found = Detections.of_slide("", peaks[:, ::-1], probability[places])
        return match_labels(found, lesion[places], self.is_itc)


def find_slide_lesions(
    slide: CohortSlide, features: SlideFeatures, groups: dict[str, GroupMeaning]
) -> SlideLesions:
    """Find the lesions of a slide, as evaluation does, and the windows in them."""
    centres = features.xy + features.side_level0 / 2
    columns_rows = np.rint((features.xy - features.xy.min(axis=0)) / features.stride_level0)
    lesions, is_judged = None, False
    try:
        truth = Truth.of_slide(
            slide,
            slide_size=features.slide_size,
            slide_mpp=features.slide_mpp,
            settings=EvaluateSettings(groups=groups),
        )
        lesions, is_judged = truth.lesions, not truth.unjudged
    except AnnotationError:
        pass  # the slide stays with its label, and counts as one that nobody outlined
    return SlideLesions(
        cells=columns_rows[:, ::-1].astype(np.int64),
        lesion=np.zeros(len(centres), np.int64) if lesions is None else lesions.at(centres),
        is_itc=np.zeros(0, bool) if lesions is None else lesions.measures.is_itc,
        is_judged=is_judged,
        radius_cells=RADIUS_UM / (features.stride_level0 * features.slide_mpp),
    )


@dataclass(frozen=True, kw_only=True)
class StudyLesions:
    """Lesions of all slides of a study, in their order."""

    slides: tuple[SlideLesions, ...]

    @property
    def is_judged(self) -> np.ndarray:
        """(S,) bool."""
        return np.array([one.is_judged for one in self.slides], bool)

    def pool_matches(self, scores: Mapping[int, np.ndarray], is_tumor: np.ndarray) -> PooledMatches:
        """Match the scores (N,) of judged slides, by their index, with their lesions."""
        matches = [self.slides[index].match(found) for index, found in scores.items()]
        return PooledMatches.pool(matches, is_normal=(~is_tumor[list(scores)]).tolist())

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return arrays for an .npz file."""
        slides = self.slides
        return {
            "lesion_cells": np.concatenate([one.cells for one in slides]),
            "lesion": np.concatenate([one.lesion for one in slides]),
            "lesion_is_itc": np.concatenate([one.is_itc for one in slides]),
            "lesion_counts": np.array([len(one.is_itc) for one in slides], np.int64),
            "lesion_is_judged": self.is_judged,
            "lesion_radius_cells": np.array([one.radius_cells for one in slides]),
        }

    @classmethod
    def from_arrays(
        cls, found: Mapping[str, np.ndarray], lengths: Sequence[int]
    ) -> "StudyLesions | None":
        """Read what `to_arrays` returned; None where the file has no lesions."""
        if "lesion" not in found:
            return None
        windows, lesions = np.cumsum(lengths)[:-1], np.cumsum(found["lesion_counts"])[:-1]
        columns = (
            np.split(found["lesion_cells"], windows),
            np.split(found["lesion"], windows),
            np.split(found["lesion_is_itc"], lesions),
            found["lesion_is_judged"].tolist(),
            found["lesion_radius_cells"].tolist(),
        )
        return cls(
            slides=tuple(
                SlideLesions(
                    cells=cells,
                    lesion=lesion,
                    is_itc=is_itc,
                    is_judged=is_judged,
                    radius_cells=radius,
                )
                for cells, lesion, is_itc, is_judged, radius in zip(*columns, strict=True)
            )
        )
