"""Folder of annotations: a folder of versions for each slide, annotations.json, a journal.

annotations.json     format, the deal of modes
journal.jsonl        events of annotators, see `Journal`
<slide>/NNNN.geojson versions, see `SlideVersions`
"""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..storage import SettingsError, StoreError, format_count, new_file
from .deal import Deal
from .journal import Journal
from .version_info import FORMAT
from .versions import SlideVersions, is_slide_id

__all__ = ["AnnotationFolder"]

FACTS = "annotations.json"


@dataclass(frozen=True)
class AnnotationFolder:
    """The annotations of a cohort."""

    path: Path

    @classmethod
    def create(cls, path: Path, deal: Deal | None = None) -> "AnnotationFolder":
        """Open a folder, which is made if nothing is there. deal holds for a new folder only.

        Raises:
            SettingsError: something else is there.
            StoreError: annotations of another format.
        """
        if not (path / FACTS).exists():
            if path.exists() and (not path.is_dir() or any(path.glob("[!.]*"))):
                raise SettingsError(
                    f"{path}: is no folder of annotations (it has no {FACTS}) and is left as it "
                    "is; give another one"
                )
            facts = {"format": FORMAT, "deal": (deal or Deal()).model_dump()}
            try:
                with new_file(path / FACTS) as partial:
                    partial.write_text(json.dumps(facts, indent=1), encoding="utf-8")
            except FileExistsError:
                pass  # another process was faster
        return cls.open(path)

    @classmethod
    def open(cls, path: Path) -> "AnnotationFolder":
        """Open a folder that exists.

        Raises:
            StoreError: no annotations are there, or those of another format.
        """
        folder = cls(path)
        form = folder._facts.get("format")
        if form != FORMAT:
            raise StoreError(
                f"{path / FACTS}: the format is {form!r}, not {FORMAT}; update gigaslide"
            )
        return folder

    @cached_property
    def _facts(self) -> dict[str, Any]:
        path = self.path / FACTS
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise StoreError(
                f"{self.path}: no annotations are there (no {FACTS}); give the folder of gigaslide "
                "view, propose or annotations save"
            ) from error
        except (OSError, ValueError) as error:
            raise StoreError(f"{path}: cannot be read: {error}") from error
        if not isinstance(facts, dict):
            raise StoreError(f"{path}: is no JSON object; put back the file that was there")
        return facts

    @cached_property
    def deal(self) -> Deal:
        """The deal of slides between modes."""
        return Deal.model_validate(self._facts.get("deal", {}))

    @property
    def journal(self) -> Journal:
        return Journal(self.path / "journal.jsonl")

    def versions(self, slide: str) -> SlideVersions:
        """Return the versions of a slide, which may have none.

        Raises:
            SettingsError: no id of a slide.
        """
        return SlideVersions(self.path / slide, slide)

    def slides(self) -> list[str]:
        """Return the ids of the slides that have a version, sorted."""
        found = (one for one in self.path.iterdir() if one.is_dir() and is_slide_id(one.name))
        return sorted(one.name for one in found if self.versions(one.name).numbers())

    def describe(self) -> str:
        return f"{format_count(len(self.slides()), 'slide')} in {self.path}"
