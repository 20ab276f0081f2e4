"""How sure a figure is: slides drawn again with replacement, a patient's slides together."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Estimate", "Resampling", "estimate"]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A figure with its interval. None where it is not defined, and `undefined` says why."""

    value: float | None
    low: float | None = None
    high: float | None = None
    resamples: int = 0
    """Resamples behind the interval."""
    dropped: int = 0
    """Resamples in which the figure was not defined."""
    undefined: str = ""


@dataclass(frozen=True, kw_only=True)
class Resampling:
    """Resamples as weights (B, S) int64: how often each of S slides was drawn. The same for every figure."""

    weights: np.ndarray
    unit: str
    """"patients" or "slides": what was drawn."""
    tumor_units: int
    """Units with at least one tumour slide; drawn among themselves, as the others are."""
    normal_units: int

    @classmethod
    def draw(
        cls, ids: Sequence[str], patients: Sequence[str], is_tumor: np.ndarray, *, resamples: int, seed: int
    ) -> "Resampling":
        """Draw patients where the cohort names any (a slide without one stands for itself), else slides.

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
            unit="patients" if by_patient else "slides",
            tumor_units=int(has_tumor.sum()),
            normal_units=int((~has_tumor).sum()),
        )


def estimate(value: float | None, resampled: np.ndarray, *, confidence: float, undefined: str = "") -> Estimate:
    """The percentile interval of resampled values (B,); NaN ones are dropped and counted."""
    if value is None:
        return Estimate(value=None, undefined=undefined)
    kept = resampled[~np.isnan(resampled)]
    dropped = len(resampled) - len(kept)
    if not len(kept):
        return Estimate(value=value, dropped=dropped)
    low, high = np.quantile(kept, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Estimate(value=value, low=float(low), high=float(high), resamples=len(kept), dropped=dropped)
