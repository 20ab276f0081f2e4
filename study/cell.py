"""Cell of a study: one training and its test; and the sample of labels that it trains on."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .data import UNKNOWN, StudyData
from .settings import Learner
from .splits import Split

__all__ = ["ALL", "Axis", "Cell", "Sample", "draw_sample", "make_seed"]

ALL = "all"
Axis = int | float | str


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One training on a sample of the training slides of a split, and its test."""

    axes: tuple[tuple[str, Axis], ...]
    """(name, value): "learner" first, then what the study varies."""
    repeat: int
    fold: int
    seed: int

    @property
    def id(self) -> str:
        """Name of the cell, safe as a folder name."""
        point = "-".join(str(v) if name == "learner" else f"{name}{v}" for name, v in self.axes)
        return f"{point}-r{self.repeat}-f{self.fold}-s{self.seed}"

    @property
    def encoder(self) -> str:
        """Name of the encoder in the settings; empty where there is one."""
        return str(dict(self.axes).get("encoder", ""))

    @property
    def learner(self) -> Learner:
        return "weak" if dict(self.axes)["learner"] == "weak" else "strong"


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Labels that a training gets."""

    slides: tuple[int, ...]
    """Indices of the slides that it reads, ascending."""
    labels: np.ndarray
    """weak: label of each slide, (slides,) int8. strong: label of each window of these slides one
    after another, (windows,) int8, -1 where the label is not given."""
    count: int
    """Number of labels that are given."""
    positives: int
    """Number of given labels that are truly tumour."""
    flipped: int
    """Number of given labels that were made wrong."""


def make_seed(*facts: object) -> int:
    """Seed in [0, 2³¹) that depends on these facts only, the same on every machine."""
    text = "\n".join(map(str, facts)).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:4], "big") >> 1


def draw_sample(cell: Cell, split: Split, data: StudyData, *, seed: int) -> Sample:
    """Draw the labels of a cell.

    A sample of m labels holds positives in their share p/(p + n) of the training side, and at least
    one label of each class. Larger samples of one seed contain the smaller ones. Labels are those
    of slides for the weak learner, and of windows of all training slides for the strong one; a
    sample of slides is the same for both.
    """
    axes: Mapping[str, Axis] = dict(cell.axes)
    rng = np.random.default_rng(make_seed(seed, cell.repeat, cell.fold, cell.seed, "sample"))
    slides = np.array([data.places[name] for name in split.train], np.int64)
    size = axes.get("slides", ALL)
    if size == 0:
        return _make_sample(np.zeros(0, np.int64), *[np.zeros(0, np.int8)] * 2)
    if cell.learner == "weak":
        size = axes.get("labels", size)
    slides = slides[_stratify(data.is_tumor[slides].astype(np.int8), size, rng)]
    noise = np.random.default_rng(make_seed(seed, cell.repeat, cell.fold, cell.seed, "noise"))
    share = float(axes.get("flipped", 0.0))
    if cell.learner == "weak":
        labels = data.is_tumor[slides].astype(np.int8)
        return _make_sample(slides, labels, _flip(labels, share, noise))
    labels = np.concatenate([data.windows[index] for index in slides])
    kept = _stratify(labels, axes.get("labels", ALL), rng)
    given = np.full(len(labels), UNKNOWN, np.int8)
    given[kept] = labels[kept]
    return _drop_unread(_make_sample(slides, given, _flip(given, share, noise)), data)


def _stratify(labels: np.ndarray, size: Axis, rng: np.random.Generator) -> np.ndarray:
    """Indices of a sample of the known labels, ascending; "all" takes every one of them."""
    positive, negative = (rng.permutation(np.flatnonzero(labels == value)) for value in (1, 0))
    p, n = len(positive), len(negative)
    if size == ALL or int(size) >= p + n:
        return np.sort(np.concatenate([positive, negative]))
    wanted = int(size)
    share = round(wanted * p / max(1, p + n))
    low, high = max(1, wanted - n), min(p, wanted - 1)
    count = min(max(share, low), high)
    return np.sort(np.concatenate([positive[:count], negative[: wanted - count]]))


def _flip(labels: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Labels of which a share is made wrong; one label of each class stays right."""
    known = np.flatnonzero(labels != UNKNOWN)
    flipped = labels.copy()
    count = round(share * len(known))
    if not count:
        return flipped
    classes = [known[labels[known] == value] for value in (0, 1)]
    right = {int(rng.choice(members)) for members in classes if len(members)}
    others = np.array([index for index in known.tolist() if index not in right], np.int64)
    wrong = rng.permutation(others)[:count]
    flipped[wrong] = 1 - flipped[wrong]
    return flipped


def _make_sample(slides: np.ndarray, truth: np.ndarray, given: np.ndarray) -> Sample:
    known = given != UNKNOWN
    return Sample(
        slides=tuple(slides.tolist()),
        labels=given,
        count=int(known.sum()),
        positives=int((truth[known] == 1).sum()),
        flipped=int((truth != given).sum()),
    )


def _drop_unread(sample: Sample, data: StudyData) -> Sample:
    """The sample without slides of which no window has a label."""
    ends = np.cumsum([len(data.windows[index]) for index in sample.slides])
    parts: Sequence[np.ndarray] = np.split(sample.labels, ends[:-1])
    kept = [
        (s, part) for s, part in zip(sample.slides, parts, strict=True) if (part != UNKNOWN).any()
    ]
    return Sample(
        slides=tuple(index for index, _ in kept),
        labels=np.concatenate([part for _, part in kept]),
        count=sample.count,
        positives=sample.positives,
        flipped=sample.flipped,
    )
