"""Definitions of the FROC curve: whose false positives count, and over which slides."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..scoring.matching import PooledMatches

__all__ = ["DEFINITIONS", "OURS", "FrocDefinition"]


@dataclass(frozen=True, kw_only=True)
class FrocDefinition:
    """Slides whose false positives are counted, and by whose number they are divided."""

    name: str
    slides: Literal["all", "normal"]
    description: str

    def select(self, matches: PooledMatches) -> np.ndarray:
        """Slides that count for false positives, (S,) bool; never one without a prediction."""
        if self.slides == "normal":
            return matches.predicted & matches.is_normal
        return matches.predicted


OURS = FrocDefinition(
    name="gigaslide",
    slides="all",
    description="false positives over all slides; every operating point; sensitivity at f is the "
    "best with at most f",
)
DEFINITIONS = {
    OURS.name: OURS,
    "liu2017": FrocDefinition(
        name="liu2017",
        slides="normal",
        description="as gigaslide, but with false positives on and over tumour-negative slides "
        "only",
    ),
}
