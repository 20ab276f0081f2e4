"""Findings of a check-up: severity, message, and advice."""

from dataclasses import dataclass
from functools import partial
from typing import Literal

__all__ = [
    "BY_SEVERITY",
    "Finding",
    "Severity",
    "error",
    "find_worst",
    "from_exception",
    "note",
    "warning",
]

Severity = Literal["error", "warning", "note"]
"""error: the run would fail, lose pixels or be wrong; warning: look at it; note: good to know."""
BY_SEVERITY: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """One finding on a slide, or on several slides together."""

    severity: Severity
    check: str
    """Name of the check, in a word or two."""
    message: str
    advice: str = ""
    slides: tuple[str, ...] = ()
    """Ids of the slides concerned; empty for a finding that belongs to one slide."""


error = partial(Finding, "error")
warning = partial(Finding, "warning")
note = partial(Finding, "note")


def from_exception(check: str, exception: Exception, *, source: object) -> Finding:
    """Make an error of one of our exceptions: the part after the last semicolon is its advice."""
    text = str(exception).removeprefix(f"{source}: ")
    message, _, advice = text.rpartition("; ")
    if not message:
        return error(check, text, "look at the file; leave the slide out if it stays unreadable")
    return error(check, message, advice)


def find_worst(findings: tuple[Finding, ...]) -> Severity | None:
    found = {finding.severity for finding in findings}
    return next((severity for severity in BY_SEVERITY if severity in found), None)
