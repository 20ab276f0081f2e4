"""Text files that people hand over, in the encodings that their programs write."""

import logging
from pathlib import Path

from .errors import GigaslideError

__all__ = ["read_text"]

logger = logging.getLogger(__name__)

BYTE_ORDER_MARKS = {
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
OTHER_FORMATS = {
    b"PK\x03\x04": "a workbook of Excel or LibreOffice, or a ZIP file",
    b"\xd0\xcf\x11\xe0": "a workbook of Excel",
    b"\x1f\x8b": "compressed with gzip",
    b"PAR1": "in the Parquet format",
    b"{\\rtf": "in the Rich Text Format",
    b"%PDF": "a PDF",
    b"II*\0": "a TIFF image",
    b"MM\0*": "a TIFF image",
    b"II+\0": "a TIFF image",
}


def read_text(path: Path, error: type[GigaslideError]) -> str:
    """Read a text file; UTF-8, UTF-16 and UTF-32 are recognised.

    Anything else is read as Windows-1252 with a warning that shows a line to check.

    Raises:
        GigaslideError: of the given class: no such file, or no text.
    """
    try:
        with path.open("rb") as file:
            start = file.read(8)
            for magic, name in OTHER_FORMATS.items():
                if start.startswith(magic):
                    raise error(f"{path}: is {name}, not CSV; save it as CSV in UTF-8")
            data = start + file.read()
    except OSError as problem:
        raise error(f"{path}: cannot be read: {problem.strerror}; give a CSV file") from problem
    encoding = _detect_encoding(data)
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as problem:
        raise error(
            f"{path}: byte {problem.start} is not text in {encoding}; save it as CSV in UTF-8"
        ) from problem
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise error(f"{path}, line {line}: not text, but binary; save it as CSV in UTF-8")
    if encoding == "cp1252":
        number, line = next(
            (number, line) for number, line in enumerate(text.splitlines(), 1) if not line.isascii()
        )
        logger.warning(
            "%s: is not in UTF-8, and read as Windows-1252; check line %d: %s", path, number, line
        )
    return text


def _detect_encoding(data: bytes) -> str:
    for mark, encoding in BYTE_ORDER_MARKS.items():
        if data.startswith(mark):
            return encoding
    # Half the bytes of mostly Latin text in UTF-16 are zero.
    half = max(1, len(data) // 4)
    if data[1::2].count(0) > half:
        return "utf-16-le"
    if data[::2].count(0) > half:
        return "utf-16-be"
    try:
        data.decode()
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"
