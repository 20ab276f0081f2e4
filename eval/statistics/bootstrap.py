"""Confidence intervals by bootstrap: slides drawn with replacement, a patient's slides together.

The percentile interval, and the bias-corrected and accelerated one (BCa, Efron 1987; with strata
as in Davison and Hinkley 1997, section 5.3) where `benchmarks/eval/interval_coverage.py` shows that
it covers better on small cohorts: for the AUC.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import ndtr, ndtri

from ...storage import format_count, pluralise

__all__ = ["SLACK", "Draws", "Estimate", "Resampling", "Statistic"]

SLACK = 1e-12  # rounding error of one figure summed in several orders
MOST_UNDEFINED = 0.1  # share of resamples; beyond it the defined ones are a selection
VERY_FEW_UNITS = 5
FEW_UNITS = 10


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A figure with its confidence interval."""

    value: float | None
    """None where the figure is not defined."""
    low: float | None = None
    """None without an interval, and where the resamples (nearly) all agree."""
    high: float | None = None
    method: str = ""
    """Kind of the interval: "percentile bootstrap", "BCa bootstrap" or "DeLong"."""
    resamples: int = 0
    """Resamples behind the interval."""
    dropped: int = 0
    """Resamples in which the figure was not defined."""
    undefined: str = ""
    """Reason why there is no value."""
    note: str = ""
    """Reason why there is no interval, or a limit of the interval."""


@dataclass(frozen=True, kw_only=True)
class Statistic:
    """K figures as a function of how often each of S slides was drawn."""

    names: tuple[str, ...]
    """K names."""
    compute: Callable[[np.ndarray], np.ndarray]
    """Weights (B, S) → figures (B, K), NaN where undefined."""
    undefined: str = ""
    """Reason why no draw defines them; empty if some does."""
    has_bca: bool = False
    """True: the interval is BCa. False: percentile."""


@dataclass(frozen=True, kw_only=True)
class Draws:
    """A statistic on all slides, on each resample, and without each unit."""

    value: np.ndarray
    """(K,)."""
    resampled: np.ndarray
    """(B, K)."""
    jackknife: np.ndarray | None = None
    """(U, K); None where the interval is percentile."""


@dataclass(frozen=True, kw_only=True)
class Resampling:
    """Resamples of S slides as weights: how often each was drawn. All figures share them."""

    weights: np.ndarray
    """(B, S) int64."""
    unit_of: np.ndarray
    """(S,) int64, the patient (or slide) that each slide is drawn with."""
    has_tumor: np.ndarray
    """(U,) bool: units with a tumour slide; they are drawn apart from the others."""
    is_normal: np.ndarray
    """(S,) bool: slides without tumour."""
    unit: str
    """"patients" or "slides"."""
    confidence: float

    @property
    def tumor_units(self) -> int:
        return int(self.has_tumor.sum())

    @property
    def normal_units(self) -> int:
        return int((~self.has_tumor).sum())

    @property
    def fewest_units(self) -> int:
        """Patients (or slides) with a slide of the class that fewer have; one may have both."""
        with_normal = len(np.unique(self.unit_of[self.is_normal]))
        return min(self.tumor_units, with_normal)

    @property
    def is_large_enough(self) -> bool:
        """False with fewer than ten patients (or slides) of a class: too few for a p-value."""
        return self.fewest_units >= FEW_UNITS

    @classmethod
    def draw(
        cls,
        ids: Sequence[str],
        patients: Sequence[str],
        is_tumor: np.ndarray,
        *,
        resamples: int,
        seed: int,
        confidence: float = 0.95,
    ) -> "Resampling":
        """Draw patients if the cohort names any (a slide without one stands for itself), else
        slides.

        The order of the slides does not affect the draw.
        """
        names = [f"patient {p}" if p else f"slide {i}" for i, p in zip(ids, patients, strict=True)]
        units, unit_of = np.unique(np.array(names, dtype=str), return_inverse=True)
        has_tumor = np.bincount(unit_of, is_tumor, len(units)) > 0
        rng = np.random.default_rng(seed)
        drawn = np.zeros((resamples, len(units)), np.int64)
        for stratum in (True, False):
            members = np.flatnonzero(has_tumor == stratum)
            if len(members):
                share = np.full(len(members), 1 / len(members))
                drawn[:, members] = rng.multinomial(len(members), share, size=resamples)
        return cls(
            weights=drawn[:, unit_of],
            unit_of=unit_of,
            has_tumor=has_tumor,
            is_normal=~is_tumor,
            unit="patients" if any(patients) else "slides",
            confidence=confidence,
        )

    @cached_property
    def caution(self) -> str:
        """A warning where few patients or slides were drawn; empty where there are enough."""
        kinds = {"with tumour": self.tumor_units, "without tumour": self.normal_units}
        few = [f"{n} {self.unit} {kind}" for kind, n in kinds.items() if n < FEW_UNITS]
        if not few or not len(self.weights):
            return ""
        normal_slides, sources = (
            int(self.is_normal.sum()),
            len(np.unique(self.unit_of[self.is_normal])),
        )
        shared, fewest = "", min(kinds.values())
        if not self.normal_units and self.unit == "patients" and sources:
            fewest = min(self.tumor_units, sources)
            shared = (
                f"; the {normal_slides} normal slides come from {format_count(sources, 'patient')}"
            )
        advice = "Take intervals as rough."
        if fewest < VERY_FEW_UNITS:
            advice = "Intervals from so few come out too narrow: do not quote them."
        return f"Only {' and '.join(few)}{shared}. {advice}"

    def evaluate(self, statistic: Statistic) -> Draws:
        """Compute a statistic on all slides, on every resample, and for BCa without each unit."""
        parts = [np.ones((1, self.weights.shape[1]), np.int64), self.weights]
        if statistic.has_bca:
            parts.append((np.arange(len(self.has_tumor))[:, None] != self.unit_of).astype(np.int64))
        found = statistic.compute(np.concatenate(parts))
        end = 1 + len(self.weights)
        return Draws(
            value=found[0],
            resampled=found[1:end],
            jackknife=found[end:] if statistic.has_bca else None,
        )

    def estimate_all(self, statistic: Statistic, draws: Draws | None = None) -> dict[str, Estimate]:
        """Estimate every figure of a statistic, from its draws if they are at hand."""
        if statistic.undefined:
            none = Estimate(value=None, undefined=statistic.undefined)
            return dict.fromkeys(statistic.names, none)
        draws = draws or self.evaluate(statistic)
        return {
            name: self.estimate(
                draws.value[k],
                draws.resampled[:, k],
                None if draws.jackknife is None else draws.jackknife[:, k],
            )
            for k, name in enumerate(statistic.names)
        }

    def estimate(
        self, value: float, resampled: np.ndarray, jackknife: np.ndarray | None = None
    ) -> Estimate:
        """Return a value with its interval from resamples (B,), of which NaN ones are dropped and
        counted; BCa if a jackknife (U,) is given and defines one, else percentile."""
        if np.isnan(value):
            return Estimate(value=None, undefined="not defined on these slides")
        kept = np.sort(resampled[~np.isnan(resampled)])
        dropped = len(resampled) - len(kept)
        counts = {"value": float(value), "resamples": len(kept), "dropped": dropped}
        if len(kept) and max(self.tumor_units, self.normal_units) < 2:
            note = f"no interval: too few {self.unit} (at most one with tumour, one without)"
            return Estimate(**counts, note=note)
        if not len(kept) or dropped > MOST_UNDEFINED * len(resampled):
            note = f"no interval: not defined in {dropped} of {len(resampled)} resamples"
            return Estimate(**counts, note=note if dropped else "")
        tails = np.array([(1 - self.confidence) / 2, (1 + self.confidence) / 2])
        low, high = np.quantile(kept, tails).tolist()
        if high - low <= SLACK:
            every = "every" if kept[-1] - kept[0] <= SLACK else "nearly every"
            return Estimate(**counts, note=f"no interval: {every} resample gives the same value")
        method = "percentile bootstrap"
        bca = None if jackknife is None else self._bca(float(value), kept, jackknife, tails)
        if bca is not None:
            method, (low, high) = "BCa bootstrap", bca
        return Estimate(**counts, low=low, high=high, method=method, note=self._single_unit)

    @property
    def _single_unit(self) -> str:
        """A limit of the interval where a stratum has one unit, which is in every draw."""
        counts = {"with tumour": self.tumor_units, "without tumour": self.normal_units}
        kinds = [kind for kind, units in counts.items() if units == 1]
        if not kinds:
            return ""
        return f"only one {pluralise(1, self.unit[:-1])} {kinds[0]}: its variation is not included"

    def _bca(
        self, value: float, resampled: np.ndarray, jackknife: np.ndarray, tails: np.ndarray
    ) -> tuple[float, float] | None:
        """The BCa interval from sorted resamples; None where it cannot be computed."""
        # A resample that equals the value but for rounding counts half as below it.
        slack = SLACK * max(1.0, abs(value))
        below = np.searchsorted(resampled, [value - slack, value + slack]).mean()
        if not 0 < below < len(resampled) or np.isnan(jackknife).any():
            return None
        cubes = squares = 0.0
        for stratum in (True, False):
            values = jackknife[self.has_tumor == stratum]
            if len(values):
                influence = (len(values) - 1) * (values.mean() - values)
                cubes += float((influence**3).sum()) / len(values) ** 3
                squares += float((influence**2).sum()) / len(values) ** 2
        acceleration = cubes / (6 * squares**1.5) if squares > 0 else 0.0
        bias = ndtri(below / len(resampled))
        moved = bias + ndtri(tails)
        scale = 1 - acceleration * moved
        if not (scale > 0).all():
            return None
        low, high = np.quantile(resampled, ndtr(bias + moved / scale)).tolist()
        return (low, high) if high - low > SLACK else None
