"""How sure a figure is: slides drawn again with replacement, a patient's slides together.

Percentile and BCa intervals (Efron 1987; for several strata Davison and Hinkley 1997, section 5.3).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

__all__ = ["SLACK", "Estimate", "Resampling", "Statistic"]

SLACK = 1e-12  # what rounding alone makes of one figure summed in several orders
MOST_DROPPED = (
    0.1  # share of resamples without a value; the others are a choice, and their spread too narrow
)


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A figure with its intervals. None where it is not defined, and `undefined` says why."""

    value: float | None
    low: float | None = None
    """Percentile interval; None where there is none, and where resamples all but agree, which would
    look certain."""
    high: float | None = None
    bca_low: float | None = None
    """Bias-corrected and accelerated interval; None where the resamples do not tell it."""
    bca_high: float | None = None
    resamples: int = 0
    """Resamples behind the intervals."""
    dropped: int = 0
    """Resamples in which the figure was not defined."""
    undefined: str = ""
    note: str = ""
    """What must be known of the interval: why there is none, or why it says little."""


@dataclass(frozen=True, kw_only=True)
class Statistic:
    """Figures of any draw of the S slides: weights (B, S), how often each was drawn → (B, K), NaN
    where undefined."""

    names: tuple[str, ...]
    """K names."""
    of: Callable[[np.ndarray], np.ndarray]
    undefined: str = ""
    """Why no draw defines it; empty if some does."""


@dataclass(frozen=True, kw_only=True)
class Resampling:
    """Resamples as weights (B, S) int64: how often each of S slides was drawn. The same for every
    figure."""

    weights: np.ndarray
    left_out: np.ndarray
    """(U, S) int64, 0 or 1: each unit left out in turn."""
    has_tumor: np.ndarray
    """(U,) bool: units with at least one tumour slide; drawn among themselves, as the others are.
    """
    units_with_normal: int
    """Units with at least one normal slide, those with tumour included."""
    normal_slides: int
    unit: str
    """"patients" or "slides": what was drawn."""
    confidence: float

    @property
    def tumor_units(self) -> int:
        return int(self.has_tumor.sum())

    @property
    def normal_units(self) -> int:
        return int((~self.has_tumor).sum())

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
        """Draw patients where the cohort names any (a slide without one stands for itself), else
        slides.

        The draw does not depend on the order of the slides.
        """
        by_patient = any(patients)
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
            left_out=(np.arange(len(units))[:, None] != unit_of).astype(np.int64),
            has_tumor=has_tumor,
            units_with_normal=len(np.unique(unit_of[~is_tumor])),
            normal_slides=int((~is_tumor).sum()),
            unit="patients" if by_patient else "slides",
            confidence=confidence,
        )

    def resampled(self, statistic: Statistic) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The figures (K,), their resamples (B, K), and with each unit left out (U, K)."""
        whole = np.ones((1, self.weights.shape[1]), np.int64)
        found = statistic.of(np.concatenate([whole, self.weights, self.left_out]))
        return found[0], found[1 : 1 + len(self.weights)], found[1 + len(self.weights) :]

    def estimates(self, statistic: Statistic) -> dict[str, Estimate]:
        """Each figure of a statistic with its intervals."""
        if statistic.undefined:
            return {
                name: Estimate(value=None, undefined=statistic.undefined)
                for name in statistic.names
            }
        columns = zip(statistic.names, *(part.T for part in self.resampled(statistic)), strict=True)
        return {name: self.estimate(*column) for name, *column in columns}

    def estimate(self, value: float, resampled: np.ndarray, left_out: np.ndarray) -> Estimate:
        """The intervals of a value from its resamples (B,), NaN ones dropped and counted, and its
        (U,) jackknife."""
        if np.isnan(value):
            return Estimate(value=None, undefined="not defined on these slides")
        kept = np.sort(resampled[~np.isnan(resampled)])
        dropped = len(resampled) - len(kept)
        if len(kept) and max(self.tumor_units, self.normal_units) < 2:
            note = f"no interval: one of the {self.unit} of each kind, nothing to draw"
            return Estimate(value=float(value), resamples=len(kept), dropped=dropped, note=note)
        if not len(kept) or dropped > MOST_DROPPED * len(resampled):
            note = (
                f"no interval: not defined in {dropped} of {len(resampled)} resamples"
                if dropped
                else ""
            )
            return Estimate(value=float(value), resamples=len(kept), dropped=dropped, note=note)
        tails = np.array([(1 - self.confidence) / 2, (1 + self.confidence) / 2])
        low, high = np.quantile(kept, tails).tolist()
        if high - low <= SLACK:
            every = "every" if kept[-1] - kept[0] <= SLACK else "nearly every"
            note = f"{every} resample gives the same value: how sure it is cannot be told"
            return Estimate(value=float(value), resamples=len(kept), dropped=dropped, note=note)
        bca_low, bca_high = self._bca(float(value), kept, left_out, tails)
        return Estimate(
            value=float(value),
            low=low,
            high=high,
            bca_low=bca_low,
            bca_high=bca_high,
            resamples=len(kept),
            dropped=dropped,
            note=self._alone,
        )

    @property
    def _alone(self) -> str:
        """What an interval lacks where a stratum has one unit: it is in every draw."""
        unit = self.unit.removesuffix("s")
        alone = {"with tumour": self.tumor_units, "without tumour": self.normal_units}
        kinds = [kind for kind, units in alone.items() if units == 1]
        return (
            f"only one {unit} {kinds[0]}: its share of chance is not in the interval"
            if kinds
            else ""
        )

    def _bca(
        self, value: float, resampled: np.ndarray, left_out: np.ndarray, tails: np.ndarray
    ) -> tuple[float, float] | tuple[None, None]:
        at = self._bca_tails(value, resampled, left_out, tails)
        if at is None:
            return None, None
        low, high = np.quantile(resampled, at).tolist()
        return (low, high) if high - low > SLACK else (None, None)

    def _bca_tails(
        self, value: float, resampled: np.ndarray, left_out: np.ndarray, tails: np.ndarray
    ) -> np.ndarray | None:
        """Which quantiles of the resamples the BCa interval takes; None where it cannot be told."""
        # A resample that is the value but for rounding is half below it.
        slack = SLACK * max(1.0, abs(value))
        below = np.searchsorted(resampled, [value - slack, value + slack]).mean()
        if not 0 < below < len(resampled) or np.isnan(left_out).any():
            return None
        bias = norm.ppf(below / len(resampled))
        cubes = squares = 0.0
        for stratum in (True, False):
            values = left_out[self.has_tumor == stratum]
            if len(values):
                influence = (len(values) - 1) * (values.mean() - values)
                cubes += float((influence**3).sum()) / len(values) ** 3
                squares += float((influence**2).sum()) / len(values) ** 2
        acceleration = cubes / (6 * squares**1.5) if squares > 0 else 0.0
        moved = bias + norm.ppf(tails)
        scale = 1 - acceleration * moved
        return norm.cdf(bias + moved / scale) if (scale > 0).all() else None
