"""Bytes and suffix of an annotation file, which may be compressed with gzip as QuPath does."""

import gzip
import zlib
from pathlib import Path

from ...storage import AnnotationError

__all__ = ["ANNOTATION_SUFFIXES", "JSON", "MASKS", "annotation_suffix", "read_bytes"]

JSON = (".geojson", ".json")
MASKS = (".tif", ".tiff")
LARGEST_BYTES = 2**29  # about ten million vertices
ANNOTATION_SUFFIXES = (".xml", *JSON, ".annotations", ".ndpa")
"""Suffixes of files that can be nothing else; a TIFF may be a mask or a slide."""
GZIP, ZIP = b"\x1f\x8b", b"PK\x03\x04"


def annotation_suffix(path: Path) -> str:
    """Return the suffix that names an annotation's format, in lower case: .geojson also of
    a.geojson.gz."""
    suffix, inner = path.suffix.lower(), Path(path.stem).suffix.lower()
    return inner if suffix == ".gz" and inner in ANNOTATION_SUFFIXES else suffix


def read_bytes(path: Path) -> bytes:
    """Read a text file of outlines, decompressed.

    Raises:
        AnnotationError: no such file, an empty or a damaged one, or above `LARGEST_BYTES`.
    """
    too_large = AnnotationError(
        f"{path}: larger than {LARGEST_BYTES / 2**20:.0f} MB; simplify the outlines"
    )
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise too_large
        content = path.read_bytes()
        if content.startswith(GZIP):
            with gzip.open(path) as file:
                content = file.read(LARGEST_BYTES + 1)
            if len(content) > LARGEST_BYTES:
                raise too_large
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise AnnotationError(
            f"{path}: cannot be decompressed: {error}; export it again, or unpack it"
        ) from error
    except OSError as error:
        raise AnnotationError(
            f"{path}: cannot be read: {error.strerror or error}; correct the path (in a cohort: "
            "the column annotation)"
        ) from error
    if content.startswith(ZIP):
        raise AnnotationError(f"{path}: is a ZIP file; unpack it, and give the file in it")
    if not content.strip():
        raise AnnotationError(f"{path}: the annotation file is empty; export it again")
    return content
