"""Weak labels of windows, which cost no expert's time: where a study finds them, those that a
training of one fold gets, and the classifier that learns from them."""

import hashlib
import json
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...cohort import Cohort
from ...models import BagModel
from ...storage import SettingsError, format_count
from ...wsi import is_same_mpp
from ..data import FoundSlides, StudyData
from ..features.slides import read_slides
from ..settings import WeakSettings
from ..splits import Split

__all__ = [
    "WEAK",
    "WeakSet",
    "WeakSlides",
    "describe_weak_labels",
    "draw_weak_set",
    "fit_weak",
    "hash_weak_set",
    "label_by_scores",
    "leave_out_weak",
    "read_weak_study",
]

logger = logging.getLogger(__name__)

WEAK = "weak.npz"
"""Labels of the slides of quality weak, in the study's folder."""
KEPT = 256
"""Weak models that a process keeps: every number of strong slides starts from the same ones."""
_models: OrderedDict[str, BagModel] = OrderedDict()


@dataclass(frozen=True, kw_only=True, eq=False)
class WeakSet:
    """Slides of a training side with weak labels."""

    bags: tuple[np.ndarray, ...]
    """Features of each slide's windows, (N, D) float16."""
    is_tumor: np.ndarray
    """(bags,) bool."""
    windows: tuple[np.ndarray, ...] | None
    """Weak labels of each slide's windows, (N,) int8, -1 unknown; None where a weak learner has to
    make them from the labels of the slides."""
    settings: WeakSettings
    key: str
    """Hash of all of this: equal keys have equal weak labels."""


@dataclass(frozen=True, kw_only=True)
class WeakSlides(FoundSlides):
    """Slides of a study of weak labels."""

    weak: StudyData | None = None
    """Slides of quality weak, where the weak labels are theirs."""

    def save(self, out: Path) -> None:
        super().save(out)
        if self.weak is not None:
            self.weak.save(out, WEAK)


def leave_out_weak(cohort: Cohort) -> Cohort:
    """Return a cohort without its slides of quality weak, which a warning names."""
    kept = tuple(slide for slide in cohort if slide.quality == "strong")
    if len(kept) < len(cohort):
        weak = next(slide.id for slide in cohort if slide.quality == "weak")
        logger.warning(
            "%s of quality weak left out, such as %s",
            format_count(len(cohort) - len(kept), "slide"),
            weak,
        )
    return replace(cohort, slides=kept)


def read_weak_study(cohort: Cohort, settings: WeakSettings) -> WeakSlides:
    """Read the slides to be split, and those of quality weak where the weak labels are theirs.

    Raises:
        SettingsError: see `read_slides`; also without weak slides, or where their features are of
            another encoder or scale than the other slides'.
        StoreError: features that cannot be read.
    """
    if settings.source != "outlines":
        return _with_weak(read_slides(leave_out_weak(cohort), settings), None)
    weak = tuple(slide for slide in cohort if slide.quality == "weak")
    if not weak:
        raise SettingsError(
            "the cohort has no slide with weak outlines; set its column quality to weak, or give "
            "--source scores"
        )
    others = tuple(slide for slide in cohort if slide.quality == "strong")
    strong = read_slides(replace(cohort, slides=others), settings)
    found = read_slides(replace(cohort, slides=weak), settings, need_normal=False)
    mine, theirs = found.encoder_keys[0], strong.encoder_keys[0]
    if mine[:-1] != theirs[:-1] or not is_same_mpp(mine[-1], theirs[-1]):
        raise SettingsError(
            f"the slides of quality weak have features of {mine[0]} ({mine[3]} px at {mine[4]:g} "
            f"µm/px), the others of {theirs[0]} ({theirs[3]} px at {theirs[4]:g} µm/px); encode "
            "all with one encoder"
        )
    return _with_weak(strong, found.data)


def _with_weak(found: FoundSlides, weak: StudyData | None) -> WeakSlides:
    names = [field.name for field in fields(found)]
    return WeakSlides(**{name: getattr(found, name) for name in names}, weak=weak)


def draw_weak_set(
    split: Split,
    data: StudyData,
    weak: StudyData | None,
    settings: WeakSettings,
    read: Callable[[str], np.ndarray],
) -> WeakSet:
    """Return the weak labels of a training side: those of its own slides' labels, or those of the
    slides of quality weak, without the patients to be tested.

    Raises:
        SettingsError: no such slide is left.
    """
    if weak is None:
        chosen, source = [data.places[name] for name in split.train], data
    else:
        chosen, source = _untested(split, data, weak), weak
    if not chosen:
        raise SettingsError(
            f"{format_count(len(source.ids), 'slide')} with weak outlines, all of patients that "
            "are tested here; add weak slides of other patients"
        )
    return WeakSet(
        bags=tuple(read(source.ids[index]) for index in chosen),
        is_tumor=source.is_tumor[chosen],
        windows=None if weak is None else tuple(source.windows[index] for index in chosen),
        settings=settings,
        key=hash_weak_set(split, data, weak, settings),
    )


def _untested(split: Split, data: StudyData, weak: StudyData) -> list[int]:
    tested = {data.patients[data.places[name]] for name in split.test} - {""}
    return [
        index
        for index, (name, patient) in enumerate(zip(weak.ids, weak.patients, strict=True))
        if patient not in tested and name not in split.test
    ]


def hash_weak_set(
    split: Split, data: StudyData, weak: StudyData | None, settings: WeakSettings
) -> str:
    """Hash all that the weak labels of a training side depend on."""
    facts = [split.train, split.test, dict(data.contents), weak and dict(weak.contents)]
    text = json.dumps([facts, describe_weak_labels(settings)])
    return hashlib.sha256(text.encode()).hexdigest()


def describe_weak_labels(settings: WeakSettings) -> Mapping[str, Any]:
    """Settings that weak labels depend on, plain JSON."""
    return settings.model_dump(mode="json", include={"source", "score_above"})


def label_by_scores(
    scores: Sequence[np.ndarray], is_tumor: np.ndarray, *, above: float
) -> list[np.ndarray]:
    """Label windows by their scores: on a slide with tumour those above a score, and its highest
    one, are tumour; all others are normal.

    scores: (N,) of each slide, in [0, 1]. Return (N,) int8 of each: 1 or 0.
    """
    labels = []
    for found, has_tumor in zip(scores, is_tumor.tolist(), strict=True):
        mine = (found > above) & has_tumor
        if has_tumor and len(found):
            mine[np.argmax(found)] = True
        labels.append(mine.astype(np.int8))
    return labels


def fit_weak(weak: WeakSet, seed: int) -> BagModel:
    """Train the classifier of windows on weak labels; the same labels and seed give one model.

    Raises:
        GigaslideError: bags or labels that cannot be trained on.
    """
    key = f"{weak.key} {seed} {weak.settings.epochs} {weak.settings.pooling}"
    if key not in _models:
        _models[key] = _fit(weak, seed)
        while len(_models) > KEPT:
            _models.popitem(last=False)
    return _models[key]


def _fit(weak: WeakSet, seed: int) -> BagModel:
    from ...training import fit_bags  # imports Keras

    bags, windows = list(weak.bags), weak.windows
    if windows is None:
        slides = weak.settings.learners_of_bags["weak"]
        teacher = fit_bags(bags, weak.is_tumor.astype(np.int8), slides, seed=seed).model
        scores = [teacher.predict(bag).windows for bag in bags]
        windows = label_by_scores(scores, weak.is_tumor, above=weak.settings.score_above)
    strong = weak.settings.learners_of_bags["strong"]
    return fit_bags(bags, list(windows), strong, seed=seed).model
