"""FROC: lesion sensitivity against false positives per slide, by definitions that have names.

The official programs disagree with each other and with the paper's words. All are one computation
with five choices (`FrocDefinition`); which lesions there are by each rule is settled before, in
`lesions` and `pixel_rules`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ..scoring.matching import Verdicts

__all__ = ["DEFINITIONS", "SLACK", "Froc", "FrocDefinition", "froc_curve", "undefined"]

SLACK = 1e-9  # a rate such as 0.1 × 30 slides must still admit the third false positive


@dataclass(frozen=True, kw_only=True)
class FrocDefinition:
    """How a curve is drawn and read."""

    name: str
    lesions: Literal["gigaslide", "camelyon16-e1", "camelyon16-e2"]
    """Whose lesions are found: outlines grown exactly, or the level-5 mask of a program."""
    thresholds: Literal["every", "positive", "all but the smallest"]
    """Which of the values seen are operating points. The last loses a real one when nothing was
    missed."""
    slides: Literal["all", "normal"]
    """Slides whose false positives are counted, and by whose number they are divided."""
    hits: Literal["float64", "float32"]
    """How the probabilities of found lesions are held. As float32 a hit of 0.3 lies above a false
    positive of 0.3, one of 0.9 below a false positive of 0.9: equal ones come apart, and to a false
    positive's threshold they compare in float32 again."""
    reading: Literal["reachable", "interpolated", "first at least"]
    """Sensitivity at f false positives per slide: the best operating point with at most f (a step
    function: nothing is promised that no threshold gives); a straight line between points; or the
    first point with at least f, else the last."""
    words: str
    """For the reader of a report."""

    def as_hits(self, probability: np.ndarray) -> np.ndarray:
        """Probabilities (float64) rounded as those of found lesions are, float64."""
        return (
            probability.astype(np.float32).astype(np.float64)
            if self.hits == "float32"
            else probability
        )

    def counted(self, verdicts: Verdicts) -> np.ndarray:
        """Which of the slides count for false positives: (S,) bool; never one without a
        prediction."""
        return (
            verdicts.is_predicted & verdicts.is_normal
            if self.slides == "normal"
            else verdicts.is_predicted
        )


DEFINITIONS = {
    definition.name: definition
    for definition in (
        FrocDefinition(
            name="gigaslide",
            lesions="gigaslide",
            thresholds="every",
            slides="all",
            hits="float64",
            reading="reachable",
            words="false positives over all slides; every operating point; best sensitivity with "
            "at most f",
        ),
        FrocDefinition(
            name="liu2017",
            lesions="gigaslide",
            thresholds="every",
            slides="normal",
            hits="float64",
            reading="reachable",
            words="the same, but false positives on and over tumour-negative slides only",
        ),
        FrocDefinition(
            name="camelyon16-e1",
            lesions="camelyon16-e1",
            thresholds="all but the smallest",
            slides="all",
            hits="float32",
            reading="interpolated",
            words="lesions and curve of Evaluation_FROC.py (2016): level-5 mask, 0.243 µm/px "
            "whatever the slide, "
            "smallest threshold dropped, hits held as float32; interpolated, as NCRF and MONAI do",
        ),
        FrocDefinition(
            name="camelyon16-e2",
            lesions="camelyon16-e2",
            thresholds="positive",
            slides="all",
            hits="float64",
            reading="first at least",
            words="lesions and curve of the script shipped with the public data: level-5 mask, its "
            "own µm/px; first "
            "point with at least f, else the last",
        ),
    )
}


@dataclass(frozen=True, kw_only=True)
class Froc:
    """A curve and its readings. Where it is not defined the arrays are empty and `undefined` says
    why."""

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
            self,
            threshold=nothing,
            false_positives=nothing,
            sensitivity=nothing,
            at_rates=(),
            undefined=reason,
        )


def froc_curve(verdicts: Verdicts, definition: FrocDefinition, *, rates: tuple[float, ...]) -> Froc:
    """The curve of pooled verdicts. A lesion found with p = 0 is found; a missed one has no
    operating point."""
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
    chosen = definition.counted(verdicts)
    false = np.sort(verdicts.false_positive[chosen[verdicts.false_positive_slide]])
    hits = np.sort(definition.as_hits(verdicts.best[verdicts.is_found]))
    threshold = _thresholds(false, hits, verdicts=verdicts, definition=definition)
    false_positives = np.append(
        (len(false) - np.searchsorted(false, threshold)) / chosen.sum(), 0.0
    )
    below = np.searchsorted(hits, definition.as_hits(threshold))
    sensitivity = np.append((len(hits) - below) / verdicts.countable, 0.0)
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
    if not verdicts.is_predicted.any():
        return "no predictions"
    return "" if definition.counted(verdicts).any() else "no tumour-negative slides"


def _thresholds(
    false: np.ndarray, hits: np.ndarray, *, verdicts: Verdicts, definition: FrocDefinition
) -> np.ndarray:
    if definition.thresholds == "every":
        return np.unique(np.concatenate([false, hits]))
    # The official programs hold 0.0 for every lesion without a hit, and for isolated tumour cells
    # even with one.
    blanks = np.zeros(len(verdicts.best) - len(hits))
    values = np.unique(np.concatenate([false, hits, blanks]))
    return values[1:] if definition.thresholds == "all but the smallest" else values[values != 0.0]


def _read(
    false_positives: np.ndarray,
    sensitivity: np.ndarray,
    rates: tuple[float, ...],
    definition: FrocDefinition,
) -> Iterator[float]:
    """Both arrays ascending, from (0, 0)."""
    for rate in rates:
        if definition.reading == "interpolated":
            yield float(np.interp(rate, false_positives, sensitivity))
        elif definition.reading == "first at least":
            yield float(
                sensitivity[min(np.searchsorted(false_positives, rate), len(sensitivity) - 1)]
            )
        else:
            yield float(
                sensitivity[np.searchsorted(false_positives, rate + SLACK, side="right") - 1]
            )
