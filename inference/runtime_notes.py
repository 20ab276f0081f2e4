"""Runtimes of a heatmap: noted in the records of its blocks, told by its attributes."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from ..models import DensePredictor, Predictor, RegionPredictor
from ..storage import BlockRecord
from ..wsi import ceil_div

__all__ = ["Loaded", "describe_runtimes", "note_runtimes"]

Loaded = Predictor | DensePredictor | RegionPredictor
"""A model that a process has loaded, in any form."""


def note_runtimes(loaded: Sequence[Loaded]) -> list[tuple[str, float]]:
    """Return the runtime of each network, and its measured difference from Keras rounded up to a
    power of ten: the last digits of another measurement differ."""
    return [(one.runtime, _round_up(one.difference)) for one in loaded]


def describe_runtimes(records: Iterable[BlockRecord]) -> dict[str, Any]:
    """Return the attributes of a heatmap: runtimes that computed its blocks, and their largest
    difference."""
    pairs = [pair for record in records for pair in record.notes.get("runtimes", ())]
    return {
        "runtime": "+".join(sorted({name for name, _ in pairs if name})),
        "runtime_difference": max((difference for _, difference in pairs), default=0.0),
    }


def _round_up(difference: float) -> float:
    return float(f"1e{ceil_div(math.log10(difference), 1)}") if difference > 0 else 0.0
