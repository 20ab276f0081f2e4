"""Work of a cell of a curriculum: train on pictures, score the test slides at every checkpoint, and
match the detections of the class activation maps with the lesions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ...eval import DEFINITIONS, Match, PooledMatches, SlideMatches, froc_curve, match_labels
from ...inference import PredictSettings, find_detections
from ...training import WholeSlideSettings
from ...wsi import row_column
from ..cell import Cell
from ..lesions import RATES
from ..splits import Split
from ..work import FURTHER, StudyWork, Trained
from .pictures import PICTURES, PictureFolder, StudiedSlide

__all__ = ["SCORES", "TRUTHS", "CurriculumWork", "pool_matches"]

SCORES, TRUTHS = "finding_scores", "finding_truths"
"""Arrays (F, T) of all findings, tumour first."""


@dataclass(frozen=True, kw_only=True)
class CurriculumWork(StudyWork):
    """Work of the cells of a study of a curriculum."""

    training: WholeSlideSettings
    initial_weights: str
    """Source of the first weights; empty: random."""
    radius_um: float

    @property
    def further_files(self) -> tuple[str, ...]:
        return (FURTHER,)

    @cached_property
    def pictures(self) -> PictureFolder:
        return PictureFolder(path=self.out / PICTURES)

    @cached_property
    def side_px(self) -> int:
        """Side of the square that every slide is padded to."""
        return max(self.pictures.read(name).picture.side_px for name in self.data.ids)

    def train_cell(self, cell: Cell, split: Split) -> Trained:
        from ...training import train_whole_slides  # imports Keras

        axes, test = dict(cell.axes), self.find_tested(split)
        slides = [self.pictures.read(name) for name in split.test]
        course, scores = [], []
        for step, model in train_whole_slides(
            [self.pictures.read(name).picture for name in split.train],
            self.training,
            seed=self.draw_seed(cell),
            has_patches=axes["learner"] == "curriculum",
            has_blur=axes["augmentation"] == "blur",
            side_px=self.side_px,
            initial_weights=self.initial_weights,
        ):
            scores = [model.predict(one.picture) for one in slides]
            course.append((step, [one.slide[0] for one in scores]))
        maps = [one.cells[..., 0] for one in scores]
        pairs = zip(split.test, slides, maps, strict=True)
        matches = [self._match(name, one, cells) for name, one, cells in pairs]
        further = _pack_matches(matches)
        pooled, _ = pool_matches([further], test, self.data.is_tumor)
        arrays = {
            "slides": test,
            "slide_scores": np.array(course[-1][1], np.float32),
            "score": np.concatenate([cells.ravel() for cells in maps]).astype(np.float32),
        }
        further |= {
            "steps": np.array([step for step, _ in course], np.int64),
            "course": np.array([found for _, found in course], np.float32),
            SCORES: np.stack([one.slide for one in scores], axis=1).astype(np.float32),
            TRUTHS: np.stack([one.picture.findings for one in slides], axis=1),
        }
        froc = froc_curve(pooled, DEFINITIONS["gigaslide"], rates=RATES)
        figures = {"cam_froc": froc.score}
        counts = self._count(split, has_patches=axes["learner"] == "curriculum")
        return Trained(arrays=arrays, counts=counts, figures=figures, further=further)

    def _match(self, name: str, slide: StudiedSlide, cells: np.ndarray) -> SlideMatches | None:
        """Match the detections of a map with the slide's lesions; None where they are not known."""
        if not slide.is_judged:
            return None
        heatmap = slide.draw_map(name, cells)
        settings = PredictSettings(radius_um=self.radius_um, threshold=0.0)
        found = find_detections(heatmap, settings)
        places = row_column(
            np.stack([found.x, found.y], axis=1),
            origin_level0=heatmap.origin_level0,
            stride_level0=heatmap.stride_level0,
        )
        label = slide.lesion[tuple(places.T)].astype(np.int64)
        return match_labels(found, label, slide.is_itc)

    def _count(self, split: Split, *, has_patches: bool) -> dict[str, int]:
        data = self.data
        train = [data.places[name] for name in split.train]
        patches = round(self.training.patch_steps * self.training.steps) if has_patches else 0
        return {
            **self.count_slides(train, split),
            "labels": len(train),
            "positive_labels": int(data.is_tumor[train].sum()),
            "flipped_labels": 0,
            "patch_steps": patches,
            "whole_slide_steps": self.training.steps - patches,
        }


def _pack_matches(matches: Sequence[SlideMatches | None]) -> dict[str, np.ndarray]:
    """Arrays of matches: which of the T slides are judged, and their false positives and lesions
    with the place of their slide among the T."""
    judged = [(place, one) for place, one in enumerate(matches) if one is not None]
    false = [one.probability[one.match == Match.FALSE_POSITIVE] for _, one in judged]
    places = np.array([place for place, _ in judged], np.int64)
    return {
        "judged": places,
        "false_positive": np.concatenate([np.zeros(0), *false]),
        "false_positive_slide": np.repeat(places, [len(one) for one in false]),
        "best": np.concatenate([np.zeros(0), *(one.best for _, one in judged)]),
        "is_itc": np.concatenate([np.zeros(0, bool), *(one.is_itc for _, one in judged)]),
        "lesion_slide": np.repeat(places, [len(one.best) for _, one in judged]),
    }


def pool_matches(
    packed: Sequence[Mapping[str, np.ndarray]],
    tested: np.ndarray | Sequence[np.ndarray],
    is_tumor: np.ndarray,
) -> tuple[PooledMatches, np.ndarray]:
    """Pool the matches of test sets, each with the indices of its slides among all; return them and
    the indices of the slides with known lesions, ascending.

    is_tumor: (S,) bool, of all slides.
    """
    sets = [tested] if isinstance(tested, np.ndarray) else tested
    pairs = list(zip(packed, sets, strict=True))
    judged = np.sort(np.concatenate([own[one["judged"]] for one, own in pairs]))

    def join(name: str) -> np.ndarray:
        return np.concatenate([one[name] for one in packed])

    def places(name: str) -> np.ndarray:
        found = np.concatenate([own[one[name]] for one, own in pairs])
        return np.searchsorted(judged, found)

    pooled = PooledMatches(
        is_normal=~is_tumor[judged],
        false_positive=join("false_positive"),
        false_positive_slide=places("false_positive_slide"),
        best=join("best"),
        is_itc=join("is_itc"),
        lesion_slide=places("lesion_slide"),
    )
    return pooled, judged
