"""Our FROC definitions and the official programs, by name."""

import numpy as np
from gigaslide.eval import DEFINITIONS, Froc, PooledMatches, froc_curve
from gigaslide.eval.camelyon16.programs import PROGRAMS, official_curve, resample_readings
from gigaslide.eval.statistics.froc import resample_sensitivity

RATES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
NAMES = (*DEFINITIONS, *PROGRAMS)


def curve(matches: PooledMatches, name: str, rates: tuple[float, ...] = RATES) -> Froc:
    if name in PROGRAMS:
        return official_curve(matches, PROGRAMS[name], rates=rates)
    return froc_curve(matches, DEFINITIONS[name], rates=rates)


def resample(
    matches: PooledMatches, name: str, weights: np.ndarray, rates: tuple[float, ...] = RATES
) -> np.ndarray:
    """Readings (B, R) of draws (B, S)."""
    if name in PROGRAMS:
        return resample_readings(matches, PROGRAMS[name], weights, rates=rates)
    return resample_sensitivity(matches, DEFINITIONS[name], weights, rates=np.array(rates))
