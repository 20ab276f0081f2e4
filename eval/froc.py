"""FROC: lesion sensitivity against false positives per slide, by definitions that have names.

The official programs disagree with each other and with the paper's words. All are one computation with four choices
(`FrocDefinition`); which lesions there are by each rule is settled before, in `lesions` and `pixel_rules`.

Probabilities are float64 throughout; E1 holds those of hits as float32, which can part a hit from an equal false
positive.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from .verdicts import Verdicts

__all__ = ["DEFINITIONS", "Froc", "FrocDefinition", "froc_curve", "resampled_sensitivity", "undefined"]

SLACK = 1e-9  # a rate such as 0.1 × 30 slides must still admit the third false positive
CHUNK = 2**23  # entries of a (resamples, detections) array held at once
MOST_AT_ONCE = 4096  # false positives looked at together


@dataclass(frozen=True, kw_only=True)
class FrocDefinition:
    """How a curve is drawn and read."""

    name: str
    lesions: Literal["gigaslide", "camelyon16-e1", "camelyon16-e2"]
    """Whose lesions are found: outlines grown exactly, or the level-5 mask of a program."""
    thresholds: Literal["every", "positive", "all but the smallest"]
    """Which of the values seen are operating points. The last loses a real one when nothing was missed."""
    slides: Literal["all", "normal"]
    """Slides whose false positives are counted, and by whose number they are divided."""
    reading: Literal["reachable", "interpolated", "first at least"]
    """Sensitivity at f false positives per slide: the best operating point with at most f (a step function: nothing is
    promised that no threshold gives); a straight line between points; or the first point with at least f, else the
    last."""
    words: str
    """For the reader of a report."""


DEFINITIONS = {
    definition.name: definition
    for definition in (
        FrocDefinition(
            name="gigaslide",
            lesions="gigaslide",
            thresholds="every",
            slides="all",
            reading="reachable",
            words="false positives over all slides; every operating point; best sensitivity with at most f",
        ),
        FrocDefinition(
            name="liu2017",
            lesions="gigaslide",
            thresholds="every",
            slides="normal",
            reading="reachable",
            words="the same, but false positives on and over tumour-negative slides only",
        ),
        FrocDefinition(
            name="camelyon16-e1",
            lesions="camelyon16-e1",
            thresholds="all but the smallest",
            slides="all",
            reading="interpolated",
            words="lesions and curve of Evaluation_FROC.py (2016): level-5 mask, 0.243 µm/px whatever the slide, "
            "smallest threshold dropped; interpolated, as NCRF and MONAI do",
        ),
        FrocDefinition(
            name="camelyon16-e2",
            lesions="camelyon16-e2",
            thresholds="positive",
            slides="all",
            reading="first at least",
            words="lesions and curve of the script shipped with the public data: level-5 mask, true µm/px; first point "
            "with at least f, else the last",
        ),
    )
}


@dataclass(frozen=True, kw_only=True)
class Froc:
    """A curve and its readings. Where it is not defined the arrays are empty and `undefined` says why."""

    definition: FrocDefinition
    threshold: np.ndarray
    """(T,) ascending, ending with inf: nothing detected."""
    false_positives: np.ndarray
    """(T,) per slide, descending."""
    sensitivity: np.ndarray
    """(T,) share of countable lesions found."""
    rates: tuple[float, ...]
    """False positives per slide at which the curve is read."""
    at_rates: tuple[float, ...]
    undefined: str = ""

    @property
    def score(self) -> float | None:
        """Mean sensitivity at the rates."""
        return float(np.mean(self.at_rates)) if self.at_rates else None

    def without(self, reason: str) -> "Froc":
        """The same, not defined."""
        nothing = np.zeros(0)
        return replace(
            self, threshold=nothing, false_positives=nothing, sensitivity=nothing, at_rates=(), undefined=reason
        )


def froc_curve(verdicts: Verdicts, definition: FrocDefinition, *, rates: tuple[float, ...]) -> Froc:
    """The curve of pooled verdicts. A lesion found with p = 0 is found; a missed one has no operating point."""
    reason = undefined(verdicts, definition)
    if reason:
        nothing = np.zeros(0)
        return Froc(
            definition=definition,
            threshold=nothing,
            false_positives=nothing,
            sensitivity=nothing,
            rates=rates,
            at_rates=(),
            undefined=reason,
        )
    chosen = _counted(verdicts, definition)
    false = np.sort(verdicts.false_positive[chosen[verdicts.false_positive_slide]])
    hits = np.sort(verdicts.best[~verdicts.is_itc & ~np.isnan(verdicts.best)])
    threshold = _thresholds(false, hits, verdicts=verdicts, definition=definition)
    false_positives = np.append((len(false) - np.searchsorted(false, threshold)) / chosen.sum(), 0.0)
    sensitivity = np.append((len(hits) - np.searchsorted(hits, threshold)) / verdicts.countable, 0.0)
    return Froc(
        definition=definition,
        threshold=np.append(threshold, np.inf),
        false_positives=false_positives,
        sensitivity=sensitivity,
        rates=rates,
        at_rates=tuple(_read(false_positives[::-1], sensitivity[::-1], rates, definition)),
    )


def undefined(verdicts: Verdicts, definition: FrocDefinition) -> str:
    """Why a curve is not defined; empty where it is."""
    if not len(verdicts.is_normal):
        return "no slides"
    if not len(verdicts.best):
        return "no lesions"
    if not verdicts.countable:
        return "no countable lesions, only isolated tumour cells"
    return "" if _counted(verdicts, definition).any() else "no tumour-negative slides"


def _counted(verdicts: Verdicts, definition: FrocDefinition) -> np.ndarray:
    return verdicts.is_normal if definition.slides == "normal" else np.ones(len(verdicts.is_normal), bool)


def _thresholds(false: np.ndarray, hits: np.ndarray, *, verdicts: Verdicts, definition: FrocDefinition) -> np.ndarray:
    if definition.thresholds == "every":
        return np.unique(np.concatenate([false, hits]))
    # The official programs hold 0.0 for every lesion without a hit, and for isolated tumour cells even with one.
    blanks = np.zeros(len(verdicts.best) - len(hits))
    values = np.unique(np.concatenate([false, hits, blanks]))
    return values[1:] if definition.thresholds == "all but the smallest" else values[values != 0.0]


def _read(
    false_positives: np.ndarray, sensitivity: np.ndarray, rates: tuple[float, ...], definition: FrocDefinition
) -> Iterator[float]:
    """Both arrays ascending, from (0, 0)."""
    for rate in rates:
        if definition.reading == "interpolated":
            yield float(np.interp(rate, false_positives, sensitivity))
        elif definition.reading == "first at least":
            yield float(sensitivity[min(np.searchsorted(false_positives, rate), len(sensitivity) - 1)])
        else:
            yield float(sensitivity[np.searchsorted(false_positives, rate + SLACK, side="right") - 1])


def resampled_sensitivity(
    verdicts: Verdicts, definition: FrocDefinition, weights: np.ndarray, *, rates: np.ndarray
) -> np.ndarray:
    """Sensitivity at rates (R,) for slides drawn weights (B, S) times each: (B, R), NaN where it is not defined.

    Only for definitions read as "reachable": there f admits every threshold above the first false positive that is one
    too many, so a resample is a running sum over detections sorted once.
    """
    if definition.reading != "reachable":
        raise ValueError(f"{definition.name}: a curve read as {definition.reading!r} cannot be resampled")
    chosen = _counted(verdicts, definition)
    kept = np.flatnonzero(chosen[verdicts.false_positive_slide])
    order = kept[np.argsort(-verdicts.false_positive[kept], kind="stable")]
    found = np.flatnonzero(~verdicts.is_itc & ~np.isnan(verdicts.best))
    found = found[np.argsort(-verdicts.best[found], kind="stable")]
    # Hits above each false positive, in its order; past the last one, every hit.
    above = np.append(np.searchsorted(-verdicts.best[found], -verdicts.false_positive[order], side="left"), len(found))
    slides = (verdicts.false_positive_slide[order], verdicts.lesion_slide[found])
    countable = verdicts.lesion_slide[~verdicts.is_itc]
    rows = []
    step = max(1, CHUNK // (len(found) + MOST_AT_ONCE))
    for start in range(0, len(weights), step):
        drawn = weights[start : start + step].astype(np.int32)
        limits = (drawn @ chosen)[:, None] * rates + SLACK
        hits = np.pad(drawn[:, slides[1]].cumsum(axis=1), ((0, 0), (1, 0)))
        lesions = drawn[:, countable].sum(axis=1, dtype=np.float64)
        lesions[(lesions == 0) | (drawn @ chosen == 0)] = np.nan
        admitted = _admitted(drawn, slides[0], limits)
        rows.append(np.take_along_axis(hits, above[admitted], axis=1) / lesions[:, None])
    return np.concatenate(rows) if rows else np.zeros((0, len(rates)))


def _admitted(drawn: np.ndarray, slide: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """How many of the false positives, best first, stay within limits (B, R): (B, R) int64.

    slide (F,) is the slide of each. Only those below the last limit are looked at, a stretch after another.
    """
    admitted = np.zeros(limits.shape, np.int64)
    before = np.zeros(len(drawn), np.int64)
    for start in range(0, len(slide), MOST_AT_ONCE):
        running = drawn[:, slide[start : start + MOST_AT_ONCE]].cumsum(axis=1, dtype=np.int64) + before[:, None]
        admitted += np.stack([np.searchsorted(row, at, side="right") for row, at in zip(running, limits, strict=True)])
        before = running[:, -1]
        if (before > limits.max(axis=1)).all():
            break
    return admitted
