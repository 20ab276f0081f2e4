"""Threshold of the operating point: given, chosen for the model, or neither."""

import json
from dataclasses import dataclass
from pathlib import Path

from ...storage import ScoreError
from ..settings import EvaluateSettings

__all__ = ["THRESHOLD", "OperatingThreshold", "find_threshold"]

THRESHOLD = "operating_threshold.json"


@dataclass(frozen=True, kw_only=True)
class OperatingThreshold:
    """Minimum probability of a tumour slide or a detection."""

    value: float
    origin: str
    """Origin, in words."""

    def apply(self, settings: EvaluateSettings) -> EvaluateSettings:
        """Return the settings with this threshold."""
        return settings.model_copy(update={"slide_threshold": self.value})


def find_threshold(predictions: Path, settings: EvaluateSettings) -> OperatingThreshold:
    """Return the threshold that the settings give, or that `gigaslide predict` copied from the
    model card into a folder of predictions, or 0.5.

    Raises:
        ScoreError: the copy is damaged.
    """
    if settings.slide_threshold is not None:
        return OperatingThreshold(value=settings.slide_threshold, origin="given by slide_threshold")
    path = predictions / THRESHOLD
    if not path.is_file():
        return OperatingThreshold(
            value=settings.threshold, origin="not chosen on validation slides"
        )
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        value, origin = float(found["value"]), str(found["origin"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ScoreError(
            f"{path}: not an operating threshold: {error!r}; predict again, or give "
            "--slide-threshold"
        ) from error
    if not 0 <= value <= 1:
        raise ScoreError(
            f"{path}: the threshold is {value:g}, expected 0 to 1; predict again, or give "
            "--slide-threshold"
        )
    return OperatingThreshold(value=value, origin=origin)
