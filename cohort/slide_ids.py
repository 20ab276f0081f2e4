"""Ids of slides: unique in a cohort, and safe as names of files."""

import hashlib
import os
import re
import unicodedata
from collections import Counter
from dataclasses import replace
from pathlib import Path

from .cohort_slide import CohortSlide
from .written_paths import make_absolute

__all__ = ["fold_id", "with_unique_ids"]

# A file name may have 255 bytes; a hash, a suffix and the endings of partial files are added.
ID_BYTES = 150


def with_unique_ids(rows: list[CohortSlide], base: Path | None) -> tuple[CohortSlide, ...]:
    """Return the rows with safe and unique ids; equal ones get a hash of their path relative to
    base, by default the folder that contains all slides."""
    safe = [_safe_id(row.id) for row in rows]
    uses = Counter(map(fold_id, safe))
    if base is None:
        folders = [make_absolute(row.path).parent for row in rows if isinstance(row.path, Path)]
        base = Path(os.path.commonpath(folders)) if folders else Path()
    slides = []
    for row, name in zip(rows, safe, strict=True):
        if uses[fold_id(name)] > 1:
            # A relative path, so that moving the cohort with its slides does not rename outputs.
            path = row.path
            if isinstance(path, Path):
                path = os.path.relpath(make_absolute(path), make_absolute(base))
            name += "-" + hashlib.sha256(path.encode("utf-8", "surrogateescape")).hexdigest()[:8]
        slides.append(replace(row, id=name))
    return tuple(slides)


def _safe_id(name: str) -> str:
    # Letters of any script stay; quotes, newlines, spaces and slashes could end a command or a
    # line. Zarr reserves names that start with two underscores, a leading dash makes an option, a
    # leading dot a hidden file. File systems limit the bytes of a name.
    safe = re.sub(r"[^\w.-]+", "_", name).lstrip("_.-").encode()[:ID_BYTES]
    return safe.decode(errors="ignore") or "slide"


def fold_id(name: str) -> str:
    """Return an id in the form in which ids are compared."""
    # On file systems that ignore case or the Unicode form, "A" would overwrite "a".
    return unicodedata.normalize("NFC", name).casefold()
