"""Time that `gigaslide predict` took for each slide, over all runs that a heatmap needed, without
loading the network, which a process does once for all slides."""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Seconds", "compare_seconds", "read_seconds"]

JOURNAL, SUMMARY = "run.jsonl", "summary.csv"
MADE = ("done", "partial")


@dataclass(frozen=True, kw_only=True)
class Seconds:
    """Time that two predictions of the same slides took (s)."""

    slides: int
    first: float
    second: float

    @property
    def ratio(self) -> float | None:
        """Time of the first by that of the second."""
        return self.first / self.second if self.second else None


def compare_seconds(first: Path, second: Path) -> Seconds | None:
    """Compare the time of two folders of predictions on the slides whose time both know, see
    `read_seconds`; None if there are none."""
    one, two = read_seconds(first), read_seconds(second)
    shared = one.keys() & two.keys()
    if not shared:
        return None
    first_s, second_s = (sum(table[slide] for slide in shared) for table in (one, two))
    return Seconds(slides=len(shared), first=first_s, second=second_s)


def read_seconds(predictions: Path) -> dict[str, float]:
    """Return the time of work that each slide's heatmap took (s), by the journal of all runs; in a
    folder without one, that of the last run's summary."""
    if (predictions / JOURNAL).is_file():
        return _add_up(_lines(predictions / JOURNAL))
    if not (predictions / SUMMARY).is_file():
        return {}
    with (predictions / SUMMARY).open(newline="", encoding="utf-8") as file:
        return {
            row["slide"]: float(row["seconds"])
            for row in csv.DictReader(file)
            # A partial slide is also listed by a run that only found it unchanged.
            if row.get("status") == "done" and row.get("seconds")
        }


def _add_up(lines: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Time of each slide that was made. A run that was stopped counts with the blocks that it
    finished, if a later run continued it."""
    earlier: dict[str, float] = {}
    current: dict[str, float] = {}
    loaded: dict[str, float] = {}  # loading the network, in the current run
    begun_by: dict[str, Any] = {}
    made: dict[str, float] = {}
    for line in lines:
        slide, run, event = line.get("slide"), line.get("run"), line.get("event")
        if not isinstance(slide, str) or line.get("stage"):
            continue
        seconds, loading = _number(line.get("seconds")), _number(line.get("loading"))
        if event == "plan" and begun_by.get(slide) != run:
            is_new = line.get("pending") == line.get("blocks")
            before = earlier.get(slide, 0.0) + current.get(slide, 0.0)
            earlier[slide] = 0.0 if is_new else before
            begun_by[slide], current[slide], loaded[slide] = run, seconds, 0.0
        elif begun_by.get(slide) != run:
            continue  # a run that found the slide unchanged
        elif event in ("plan", "block"):
            current[slide] += seconds - loading
            loaded[slide] += loading
        elif event == "slide" and line.get("status") in MADE:
            made[slide] = earlier[slide] + seconds - loaded[slide]
    return made


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        for line in file:
            try:
                found = json.loads(line)
            except ValueError:  # a line that a kill cut off
                continue
            if isinstance(found, dict):
                yield found


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
