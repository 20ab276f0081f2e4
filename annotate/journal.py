"""Journal of annotators: one line of JSON an event, appended in one write; and their active time.

A line that a killed process left torn is ignored, wherever it stands.
"""

import json
import logging
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from ..storage import StoreError

__all__ = ["LONGEST_GAP_S", "EventKind", "Journal", "JournalEvent", "active_seconds"]

logger = logging.getLogger(__name__)

LONGEST_GAP_S = 30.0
"""A longer time without input is a break and does not count."""
EventKind = Literal["open", "input", "save", "close"]
"""input: keys, mouse or wheel on the slide, at most one event a second is needed."""
LONGEST_LINE = 4000
TEXT = 200


@dataclass(frozen=True, kw_only=True)
class JournalEvent:
    """An event of one annotator on one slide."""

    time: float
    """Seconds since 1970, UTC."""
    slide: str
    kind: EventKind = "input"
    annotator: str = ""
    tab: str = ""
    mode: str = ""
    """scratch or corrected."""
    version: int = 0
    """save: the version that was written."""

    @classmethod
    def now(cls, slide: str, kind: EventKind, **facts: Any) -> "JournalEvent":
        return cls(time=datetime.now(UTC).timestamp(), slide=slide, kind=kind, **facts)

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "JournalEvent":
        """Raises ValueError, TypeError, KeyError or OverflowError if it is no event."""
        if plain["kind"] not in get_args(EventKind):
            raise ValueError(f"kind {plain['kind']!r}")
        texts = {name: str(plain.get(name, ""))[:TEXT] for name in ("annotator", "tab", "mode")}
        time = float(plain["time"])
        if not 0 <= time < 1e11:
            raise ValueError(f"time {time}")
        return cls(
            time=time,
            slide=str(plain["slide"])[:TEXT],
            kind=plain["kind"],
            version=int(plain.get("version", 0)),
            **texts,
        )


@dataclass(frozen=True)
class Journal:
    """A file of events that any number of processes append to."""

    path: Path

    def append(self, *events: JournalEvent) -> None:
        """Append events, one write each.

        Raises:
            StoreError: one cannot be written.
        """
        for event in events:
            line = json.dumps({k: v for k, v in asdict(event).items() if v != ""}).encode() + b"\n"
            if len(line) > LONGEST_LINE:
                raise StoreError(f"{self.path}: an event of {len(line)} bytes is no event")
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                number = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
                try:
                    size = os.fstat(number).st_size
                    torn = size > 0 and os.pread(number, 1, size - 1) != b"\n"
                    content = b"\n" * torn + line  # else a torn line would spoil this one
                    if os.write(number, content) < len(content):
                        raise OSError("only a part of the event was written")
                finally:
                    os.close(number)
            except OSError as error:
                raise StoreError(f"{self.path}: cannot be written: {error}") from error

    def events(self) -> list[JournalEvent]:
        """Return all events in the order of time; torn lines are left out, with a warning for those
        that are not the last.

        Raises:
            StoreError: the file cannot be read.
        """
        try:
            lines = self.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StoreError(f"{self.path}: cannot be read: {error}") from error
        events, torn = [], 0
        for line in lines:
            if not line.strip():
                continue
            try:
                events.append(JournalEvent.from_json(json.loads(line)))
            except (ValueError, KeyError, TypeError, OverflowError):
                torn += line is not lines[-1]
        if torn:
            logger.warning("%s: %d torn lines are left out", self.path, torn)
        return sorted(events, key=lambda event: event.time)


def active_seconds(events: Iterable[JournalEvent]) -> dict[tuple[str, str, str], float]:
    """Return the active time by (slide, annotator, mode), seconds.

    The time between two events of an annotator counts for the slide of the first one, unless it is
    longer than `LONGEST_GAP_S`. Two tabs at once do not count twice. After one of them is closed,
    the time counts for the other one.
    """
    by_annotator: dict[str, list[JournalEvent]] = defaultdict(list)
    for event in events:
        by_annotator[event.annotator].append(event)
    seconds: dict[tuple[str, str, str], float] = defaultdict(float)
    for annotator, own in by_annotator.items():
        own.sort(key=lambda event: event.time)
        open_tabs: dict[str, JournalEvent] = {}  # last event of each, the latest at the end
        for event, following in zip(own, [*own[1:], None], strict=True):
            open_tabs.pop(event.tab, None)
            if event.kind != "close":
                open_tabs[event.tab] = event
            gap = 0.0 if following is None else following.time - event.time
            counted = gap if gap <= LONGEST_GAP_S and open_tabs else 0.0
            at = next(reversed(open_tabs.values()), event)
            seconds[at.slide, annotator, at.mode] += counted
    return dict(seconds)
