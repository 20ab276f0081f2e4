"""Versions of one slide's outlines: NNNN.geojson, numbered, append-only, each whole or absent.

No file is ever rewritten; see `version_file` for its form.
"""

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from ..storage import AnnotationError, SettingsError, StoreError, is_disk_full, new_file
from .drafts import Drafts
from .identity import SlideIdentity
from .origins import EarlierOutline, read_earlier, with_origins
from .outlines import DrawnOutline, OutlineOrigin
from .valid_shapes import parse_features
from .version_file import read_info, write_version
from .version_info import SaveFacts, Version, VersionInfo

__all__ = [
    "SlideChangedError",
    "SlideVersions",
    "VersionConflictError",
    "is_slide_id",
]

_FILE = re.compile(r"(\d{4,9})\.geojson")
_SLIDE = re.compile(r"\w[^/\\]*")
_SLIDE_BYTES = 200


def is_slide_id(name: str) -> bool:
    """Tell whether a text can be the id of a slide, and so the name of its folder, as it is for
    predictions."""
    is_one_name = name.isprintable() and _SLIDE.fullmatch(name) is not None
    return is_one_name and len(name.encode()) <= _SLIDE_BYTES


class VersionConflictError(StoreError):
    """A save on top of a version that is not the newest any more. Nothing was written."""

    def __init__(self, message: str, newest: int) -> None:
        super().__init__(message)
        self.newest = newest
        """Number of the newest version."""


class SlideChangedError(StoreError):
    """A save of outlines of a slide that is not the one they were drawn on."""


@dataclass(frozen=True)
class SlideVersions:
    """The versions of one slide in a folder of annotations."""

    folder: Path
    """The slide's own folder; it may not exist yet."""
    slide: str

    def __post_init__(self) -> None:
        if not is_slide_id(self.slide):
            raise SettingsError(
                f"{self.slide[:80]!r}: the id cannot name a folder, so the slide's outlines cannot "
                "be kept; give it an id without slashes that begins with a letter or a digit, of "
                f"at most {_SLIDE_BYTES} bytes"
            )

    @property
    def drafts(self) -> Drafts:
        return Drafts(self.folder)

    def path(self, number: int) -> Path:
        """Return the path of a version."""
        return self.folder / f"{number:04d}.geojson"

    def numbers(self) -> list[int]:
        """Return the numbers of all versions, ascending."""
        if not self.folder.is_dir():
            return []
        found = (_FILE.fullmatch(path.name) for path in self.folder.iterdir())
        return sorted(int(match[1]) for match in found if match)

    def history(self) -> list[VersionInfo]:
        """Return all versions, the oldest first, without reading their outlines."""
        return [self.info(number) for number in self.numbers()]

    def info(self, number: int) -> VersionInfo:
        """Read the provenance of a version, from its first line.

        Raises:
            StoreError: no such version, or not one of ours.
        """
        path = self.path(number)
        try:
            return read_info(path)
        except FileNotFoundError as error:
            known = ", ".join(map(str, self.numbers())) or "none"
            raise StoreError(f"{self.slide}: no version {number}; there are: {known}") from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"{path}: not a version that gigaslide wrote ({error!r}); move the file elsewhere, "
                "and bring its outlines in with gigaslide annotations save"
            ) from error

    def newest(self, *, accepted: bool = False) -> VersionInfo | None:
        """Return the newest version that is not blind; with accepted, the newest accepted one.
        None if there is none."""
        for number in reversed(self.numbers()):
            info = self.info(number)
            if not info.facts.blind and (info.facts.accepted or not accepted):
                return info
        return None

    def load(self, number: int) -> Version:
        """Read a version.

        Raises:
            StoreError: no such version, or a damaged one.
        """
        info, path = self.info(number), self.path(number)
        try:
            plain = json.loads(path.read_text(encoding="utf-8"))
            outlines, notes = parse_features(plain, path.name)
        except (OSError, ValueError, RecursionError, AnnotationError) as error:
            raise StoreError(
                f"{path}: damaged ({error}); restore an earlier version of {self.slide}"
            ) from error
        return Version(info=info, outlines=tuple(outlines), notes=tuple(notes))

    def save(
        self,
        outlines: Sequence[DrawnOutline],
        facts: SaveFacts,
        *,
        parent: int,
        identity: SlideIdentity,
        slide_changed: bool = False,
        keep_origins: bool = False,
    ) -> VersionInfo:
        """Write the next version, on top of version parent, 0 where there is none yet.

        parent is the newest version that is not blind. A blind version has none: parent does not
        count, and 0 is written. Origins of outlines are set by comparison with the parent, see
        `with_origins`, unless they are to be kept. With slide_changed, the outlines are taken to
        fit the slide as it is now.

        Raises:
            VersionConflictError: parent is not the newest version any more.
            SlideChangedError: the slide is not the one that the newest version was drawn on.
            StoreError: the newest version is damaged, or the file cannot be written; nothing was
                saved.
        """
        number = self._next_number()  # before the check, so that no later version escapes it
        newest = self._newest_for(parent, facts)
        if newest is not None:
            self._refuse_changed_slide(newest, identity, slide_changed=slide_changed)
        parent = 0 if facts.blind else parent
        if not keep_origins:
            outlines = with_origins(outlines, self._earlier(parent), accepted=facts.accepted)
        info = VersionInfo(
            slide=self.slide,
            number=number,
            parent=parent,
            made=datetime.now(UTC).isoformat(timespec="milliseconds"),
            outlines=len(outlines),
            identity=identity,
            facts=facts,
        )
        while not self._write_new(info, outlines):
            info = replace(info, number=self._next_number())
            self._newest_for(parent, facts)  # a blind version that came meanwhile is no conflict
        return info

    def _next_number(self) -> int:
        return max(self.numbers(), default=0) + 1

    def _newest_for(self, parent: int, facts: SaveFacts) -> VersionInfo | None:
        """Return the newest version that is not blind; refuse a parent that is another one."""
        newest = self.newest()
        number = newest.number if newest else 0
        if parent != number and not facts.blind:
            raise self._conflict(parent, number)
        return newest

    def _write_new(self, info: VersionInfo, outlines: Sequence[DrawnOutline]) -> bool:
        """Write a version; return False if another process has just taken its number."""
        path = self.path(info.number)
        try:
            with new_file(path) as partial:
                write_version(partial, info, outlines)
        except FileExistsError as error:
            if info.number in self.numbers():
                return False
            raise StoreError(
                f"{path}: nothing was saved: a file lies where the slide's folder should be "
                f"({error}); move it away, and save again"
            ) from error
        except OSError as error:
            full = "the disk is full; free some space" if is_disk_full(error) else str(error)
            raise StoreError(f"{path}: nothing was saved: {full}, and save again") from error
        return True

    def _earlier(self, number: int) -> dict[str, EarlierOutline]:
        """Outlines of a version by id; none for number 0."""
        if not number:
            return {}
        path = self.path(number)
        try:
            with path.open(encoding="utf-8") as file:
                return read_earlier(file)
        except (OSError, ValueError, KeyError, AttributeError) as error:
            raise StoreError(
                f"{path}: damaged ({error}); restore an earlier version of {self.slide}"
            ) from error

    def groups(self, number: int) -> list[str]:
        """Return the class of every outline of a version.

        Raises:
            StoreError: no such version, or a damaged one.
        """
        return [outline.group for outline in self._earlier(number).values()]

    def origins(self, number: int) -> Counter[OutlineOrigin]:
        """Count the outlines of a version by origin.

        Raises:
            StoreError: no such version, or a damaged one.
        """
        return Counter(outline.origin for outline in self._earlier(number).values())

    def _conflict(self, parent: int, newest: int) -> VersionConflictError:
        return VersionConflictError(
            f"{self.slide}: version {newest} is there now, and these outlines were made from "
            f"version {parent}; compare them, and save on top of version {newest}",
            newest,
        )

    def _refuse_changed_slide(
        self, known: VersionInfo, identity: SlideIdentity, *, slide_changed: bool
    ) -> None:
        changes = known.identity.differences(identity)
        if changes and not slide_changed:
            raise SlideChangedError(
                f"{self.slide}: the slide is not the one that version {known.number} was drawn on "
                f"({'; '.join(changes)}); check that the outlines fit, and confirm it"
            )

    def restore(
        self, number: int, *, parent: int, annotator: str = "", accepted: bool | None = None
    ) -> VersionInfo:
        """Write an earlier version again as the next one; accepted as it was, or as stated.

        Raises:
            VersionConflictError: parent is not the newest version any more.
            StoreError: no such version, a blind one, or the file cannot be written.
        """
        old = self.load(number)
        if old.info.facts.blind:
            raise StoreError(
                f"{self.slide}: version {number} is blind, so it serves agreement only and cannot "
                "be accepted or restored; choose another version"
            )
        facts = replace(
            old.info.facts,
            annotator=annotator,
            accepted=old.info.facts.accepted if accepted is None else accepted,
            made_by="restore",
            recipe={},
            restored_from=number,
        )
        outlines = old.outlines
        if facts.accepted:
            outlines = with_origins(outlines, self._earlier(number), accepted=True)
        return self.save(
            outlines,
            facts,
            parent=parent,
            identity=old.info.identity,
            slide_changed=True,
            keep_origins=True,
        )
