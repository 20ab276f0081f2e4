"""Annotations matched to slides by their names."""

import logging
import os
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from ..storage import fold_name, format_count
from ..wsi import ANNOTATION_SUFFIXES, annotation_suffix
from .found_files import warn_of_files

__all__ = ["match_annotations"]

logger = logging.getLogger(__name__)


def match_annotations(slides: Sequence[Path], annotation_files: Sequence[Path]) -> dict[Path, Path]:
    """Match annotations to slides; among slides of one name the nearest folder wins.

    A name in the same letters comes before one with blanks for underscores. Warnings tell the
    annotations that belong to no slide, and those that may belong to several.
    """
    by_letters: dict[str, list[Path]] = {}
    by_words: dict[str, list[Path]] = {}
    for slide in slides:
        names = _names_of_slide(slide)
        for name in set(map(_fold_letters, names)):
            by_letters.setdefault(name, []).append(slide)
        for name in set(map(fold_name, names)):
            by_words.setdefault(name, []).append(slide)
    found: dict[Path, list[Path]] = {}
    unmatched = []
    for path in annotation_files:
        is_packed = annotation_suffix(path) != path.suffix.lower()
        stem = _fold_letters(Path(path.stem).stem if is_packed else path.stem)
        short = re.sub(r"[_-]annotations?$", "", stem)
        candidates = (
            by_letters.get(stem) or by_letters.get(short) or by_words.get(fold_name(stem), [])
        )
        shared = [_count_shared_folders(path, slide) for slide in candidates]
        if not candidates:
            unmatched.append(path)
        elif shared.count(max(shared)) > 1:
            logger.warning(
                "%s may belong to several slides of that name, so it is left out; fill in the "
                "annotation column",
                path,
            )
        else:
            found.setdefault(candidates[shared.index(max(shared))], []).append(path)
    belong = "belongs" if len(unmatched) == 1 else "belong"
    warn_of_files(
        format_count(len(unmatched), "annotation"),
        unmatched,
        f"{belong} to no slide; name each like its slide, or fill in the annotation column",
    )
    return {slide: _choose(slide, paths) for slide, paths in found.items()}


def _names_of_slide(slide: Path) -> tuple[str, ...]:
    # A DICOM slide has the name of its folder; its files are named for levels.
    stem = slide.parent.name if slide.suffix.casefold() == ".dcm" else slide.stem
    return stem, slide.name, re.sub(r"\.ome$", "", slide.stem, flags=re.IGNORECASE)


def _fold_letters(name: str) -> str:
    # Names that a Mac wrote have accents as letters of their own.
    return unicodedata.normalize("NFC", name).casefold()


def _choose(slide: Path, paths: list[Path]) -> Path:
    """The nearest annotation of a slide, then the first suffix in the list."""
    first, *others = sorted(
        paths,
        key=lambda path: (
            -_count_shared_folders(path, slide),
            ANNOTATION_SUFFIXES.index(annotation_suffix(path)),
        ),
    )
    for other in others:
        logger.warning("%s is left out: %s already has the annotation %s", other, slide, first)
    return first


def _count_shared_folders(one: Path, other: Path) -> int:
    return len(Path(os.path.commonpath([one.parent, other.parent])).parts)
