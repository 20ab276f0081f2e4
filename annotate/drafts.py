"""Drafts of one slide, draft-<tab>.geojson: what a page saved by itself. They are no versions."""

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..storage import AnnotationError, SettingsError, StoreError, atomic_file

__all__ = ["LARGEST_DRAFT", "Drafts"]

LARGEST_DRAFT = 2**28  # bytes
_TAB = re.compile(r"[0-9a-zA-Z_-]{1,64}")


@dataclass(frozen=True)
class Drafts:
    """The drafts in a slide's folder, one for each tab of a browser."""

    folder: Path

    def save(self, tab: str, plain: Mapping[str, Any]) -> None:
        """Keep what a page shows, a FeatureCollection with members of its own; it replaces the
        draft of this tab.

        Raises:
            AnnotationError: above `LARGEST_DRAFT`.
            StoreError: it cannot be written; the earlier draft stays.
        """
        content = json.dumps(plain).encode()
        if len(content) > LARGEST_DRAFT:
            raise AnnotationError(
                f"{self.folder.name}: the draft is over {LARGEST_DRAFT >> 20} MB; simplify it"
            )
        try:
            with atomic_file(self._path(tab), sync=False) as partial:
                partial.write_bytes(content)
        except OSError as error:
            raise StoreError(f"{self.folder.name}: the draft was not saved: {error}") from error

    def tabs(self) -> list[str]:
        """Return the tabs that left a draft, the last written first."""
        return list(self.times())

    def times(self) -> dict[str, float]:
        """Return when each tab wrote its draft, seconds since 1970, the last written first."""
        written = []
        for path in self.folder.glob("draft-*.geojson"):
            with suppress(FileNotFoundError):  # another process removed it meanwhile
                written.append((path.stat().st_mtime_ns, path.stem.removeprefix("draft-")))
        return {tab: time / 1e9 for time, tab in sorted(written, reverse=True)}

    def load(self, tab: str) -> dict[str, Any] | None:
        """Return a tab's draft; None if there is none, or a damaged one."""
        try:
            return json.loads(self._path(tab).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def remove(self, tab: str) -> None:
        """Remove a tab's draft, if there is one."""
        self._path(tab).unlink(missing_ok=True)

    def _path(self, tab: str) -> Path:
        if not _TAB.fullmatch(tab):
            raise SettingsError(f"{tab[:80]!r} is no name of a tab: letters, digits, '-', '_'")
        return self.folder / f"draft-{tab}.geojson"
