"""The pixels of planned patches, read from their slide."""

from collections.abc import Iterator

from ..wsi import Slide
from .select import Candidates
from .settings import TileSettings
from .write import Pixels

__all__ = ["read_pixels"]

READ_AT_ONCE = 64  # patches asked of the slide in one call: near ones share reads, and memory stays small


def read_pixels(slide: Slide, rows: Candidates, settings: TileSettings) -> Iterator[tuple[int, Pixels]]:
    """(row, pixels) in rising order; rows that cannot be read are left out. No row depends on the others."""
    for start in range(0, len(rows), READ_AT_ONCE):
        xy = rows.xy[start : start + READ_AT_ONCE]
        windows = dict(
            slide.read_windows(
                xy, size=settings.stored_px, mpp=settings.mpp, allow_upsampling=settings.allow_upsampling
            )
        )
        for index in range(len(xy)):
            window = windows[index]
            if window is not None:
                yield start + index, {"images": window}
