"""What a check found, how bad it is, and what to do next."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["BY_SEVERITY", "Finding", "Severity", "error", "note", "told", "warning", "worst"]

Severity = Literal["error", "warning", "note"]
"""error: the run would fail, lose pixels or be wrong; warning: look at it; note: good to know."""
BY_SEVERITY: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that a check found, on one slide or between several."""

    severity: Severity
    check: str
    """Which check found it, in a word or two."""
    says: str
    advice: str = ""
    slides: tuple[str, ...] = ()
    """Ids of the slides between which it was found; empty on a slide's own finding."""


def error(check: str, says: str, advice: str, *, slides: tuple[str, ...] = ()) -> Finding:
    return Finding(severity="error", check=check, says=says, advice=advice, slides=slides)


def warning(check: str, says: str, advice: str, *, slides: tuple[str, ...] = ()) -> Finding:
    return Finding(severity="warning", check=check, says=says, advice=advice, slides=slides)


def note(check: str, says: str, advice: str = "", *, slides: tuple[str, ...] = ()) -> Finding:
    return Finding(severity="note", check=check, says=says, advice=advice, slides=slides)


def told(check: str, fault: Exception, *, of: object) -> Finding:
    """An error finding from the message of one of our errors, whose last words say what to do
    next."""
    message = str(fault).removeprefix(f"{of}: ")
    says, _, advice = message.rpartition("; ")
    return error(
        check,
        says or message,
        advice if says else "look at the file; leave the slide out if it stays so",
    )


def worst(findings: tuple[Finding, ...]) -> Severity | None:
    found = {finding.severity for finding in findings}
    return next((severity for severity in BY_SEVERITY if severity in found), None)
