"""TIFF files opened with tifffile, whose own log is kept off the terminal."""

import logging
from typing import Any

import tifffile

__all__ = ["open_tiff"]

logger = logging.getLogger(__name__)


class _AsDetail(logging.Filter):
    """Log what tifffile reports as a detail of ours.

    It names offsets, not slides, calls a directory that was cut off an error, and says so at every
    opening. The readers say which slide lacks what.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        logger.info("tifffile: %s", record.getMessage())
        return False


AS_DETAIL = _AsDetail()


def open_tiff(file: Any, *, name: str | None = None) -> tifffile.TiffFile:
    """Open a TIFF at a path, or an open file of that name."""
    logging.getLogger("tifffile").addFilter(AS_DETAIL)  # adding it again changes nothing
    return tifffile.TiffFile(file, name=name)
