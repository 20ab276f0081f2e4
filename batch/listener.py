"""Listener of a run: functions that it calls while it works on the slides."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .outcome import SlideOutcome

__all__ = ["SILENT", "Listener"]


def _ignore(_: object) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Listener:
    """Functions that a run calls while it works; one that is not given does nothing."""

    on_outcome: Callable[[SlideOutcome], None] = _ignore
    """Receives the outcome of each slide."""
    on_plan: Callable[[Mapping[str, int]], None] = _ignore
    """Receives the counts that the pending blocks of a slide will add up to, where the work knows
    them."""
    on_block: Callable[[Mapping[str, int]], None] = _ignore
    """Receives the counts of each finished block."""


SILENT = Listener()
