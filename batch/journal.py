"""Journal of an output folder: a line of JSON for each event, appended by every run on it.

For people, and for what no output records: why a slide failed. Resume reads the outputs.
"""

import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

__all__ = ["JOURNAL", "Journal"]

logger = logging.getLogger(__name__)

JOURNAL = "run.jsonl"


class Journal:
    """File of JSON lines to which one process at a time appends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._is_broken = False

    def write(self, event: str, **fields: Any) -> None:
        """Append a line. An error of the disk is logged once and stops nothing."""
        line = json.dumps(
            {"time": _now(), "event": event, **fields}, ensure_ascii=True, default=str
        )
        try:
            with self.path.open("ab") as file:
                file.write(line.encode() + b"\n")
        except OSError as error:
            if not self._is_broken:
                logger.warning("%s: cannot be written: %s", self.path, error)
            self._is_broken = True

    def mend(self) -> None:
        """End a last line that a kill cut off, so that the next one stands alone."""
        try:
            with self.path.open("rb+") as file:
                if file.seek(0, 2) and (file.seek(-1, 2), file.read(1))[1] != b"\n":
                    file.write(b"\n")
        except FileNotFoundError:
            pass
        except OSError as error:
            logger.warning("%s: %s", self.path, error)

    def lines(self) -> Iterator[dict[str, Any]]:
        """Yield every whole line, the oldest first."""
        try:
            with self.path.open("rb") as file:
                for line in file:
                    try:
                        found = json.loads(line)
                    except ValueError:
                        continue
                    if isinstance(found, dict):
                        yield found
        except FileNotFoundError:
            return

    def failures(self, stage: str = "") -> dict[str, dict[str, Any]]:
        """Return the last line of each slide whose last outcome in a stage was a failure."""
        lines = (
            line
            for line in self.lines()
            if line.get("event") == "slide" and line.get("stage", "") == stage
        )
        last = {line.get("slide"): line for line in lines}
        return {str(slide): line for slide, line in last.items() if line.get("status") == "failed"}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
