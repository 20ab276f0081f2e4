"""DICOM files of a folder, grouped into slides by their series."""

import re
from collections.abc import Sequence
from pathlib import Path

__all__ = ["keep_one_per_dicom_slide", "read_series"]

HEADER_BYTES = 1 << 18
# At the top level of a file, the study (0020,000D) stands right before the series (0020,000E);
# series that are only referred to stand without it. Lengths have two bytes after a type, else four.
SERIES = re.compile(
    rb"\x20\x00\x0d\x00(?:UI..|....)[0-9. \0]{1,66}\x20\x00\x0e\x00(?:UI..|....)([0-9.]+)",
    re.DOTALL,
)
OTHER_IMAGE = re.compile(rb"\x08\x00\x08\x00(?:CS..|....)[A-Z_\\ ]*\\(LABEL|OVERVIEW)\b", re.DOTALL)


def keep_one_per_dicom_slide(slides: Sequence[Path]) -> list[Path]:
    """Keep the largest file of each DICOM series in a folder, and every file of other formats.

    OpenSlide opens a slide from any of its files but a label or an overview. Files that name no
    series count as one slide per folder.
    """
    groups: dict[tuple[Path, bytes], list[Path]] = {}
    for path in slides:
        if _is_dicom(path):
            header = _read_header(path)
            members = groups.setdefault((path.parent, _find_series(header)), [])
            if OTHER_IMAGE.search(header) is None:
                members.append(path)
    largest = {max(same, key=lambda path: path.stat().st_size) for same in groups.values() if same}
    return [path for path in slides if path in largest or not _is_dicom(path)]


def read_series(path: Path) -> str:
    """Return the unique id of a DICOM file's series; empty for other files."""
    return _find_series(_read_header(path)).decode() if _is_dicom(path) else ""


def _is_dicom(path: Path) -> bool:
    return path.suffix.casefold() == ".dcm"


def _read_header(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(HEADER_BYTES)
    except OSError:
        return b""


def _find_series(header: bytes) -> bytes:
    match = SERIES.search(header)
    return match[1] if match else b""
