"""The prediction of one slide."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...storage import file_identity, location_exists
from ...wsi import Detections, Heatmap
from .detection_files import is_outside

__all__ = ["Prediction", "identify_file"]


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Prediction of one slide."""

    detections: Detections
    slide_size: tuple[int, int]
    """(width, height), level-0 px."""
    slide_mpp: float
    heatmap: Heatmap | None = None
    absence: str = ""
    """Reason why there is no prediction that can be used; empty where there is one."""
    outside: tuple[str, ...] = ()
    """File, line and place of each detection outside the slide."""
    notes: tuple[str, ...] = ()

    @property
    def score(self) -> float | None:
        """Highest probability of the heatmap, or without one of the detections on the slide; 0.0
        where nothing was found, None without a prediction."""
        if self.absence:
            return None
        if self.heatmap is not None:
            return self.heatmap.slide_score
        inside = ~is_outside(self.detections, self.slide_size)
        return float(self.detections.probability[inside].max(initial=0.0))


def identify_file(path: Path) -> dict[str, Any] | None:
    """Identity of a file for a recipe; None where there is none."""
    return file_identity(path) if location_exists(path) else None
