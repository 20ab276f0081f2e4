"""Size of a slide and its position on the glass, which some annotation formats need."""

from dataclasses import dataclass
from pathlib import Path

from ..storage import AnnotationError, Location
from .geometry import Region
from .readers import Pyramid, open_reader

__all__ = ["SlideFrame"]


@dataclass(frozen=True, kw_only=True)
class SlideFrame:
    """Geometry of one slide: level-0 px, and nm if the scanner states them."""

    width: int
    height: int
    bounds: Region | None = None
    """The scanned part; None if the slide does not state it."""
    nm_per_px: tuple[float, float] | None = None
    """(x, y) by the scanner's own calibration; a cohort's µm/px does not change it."""
    centre_nm: tuple[float, float] | None = None
    """(x, y) of the image's centre, relative to the centre of the glass."""

    @classmethod
    def of_file(cls, path: Location) -> "SlideFrame":
        """Read the frame from a slide.

        Raises:
            SlideError: no such file, or not a slide.
        """
        reader, _ = open_reader(path)
        reader.close()
        return cls.of_pyramid(reader.pyramid)

    @classmethod
    def of_pyramid(cls, pyramid: Pyramid) -> "SlideFrame":
        """Take the frame from what a reader found in the file."""
        return cls(
            width=pyramid.levels[0].width,
            height=pyramid.levels[0].height,
            bounds=pyramid.bounds,
            nm_per_px=pyramid.mpp_xy and (pyramid.mpp_xy[0] * 1000, pyramid.mpp_xy[1] * 1000),
            centre_nm=pyramid.offset_nm_xy,
        )

    def px_of_nm(self, path: Path) -> tuple[tuple[float, float], tuple[float, float]]:
        """Return ((x, y) px per nm, (x, y) level-0 px of the glass's centre) for the annotation at
        path.

        Raises:
            AnnotationError: the slide does not state its position on the glass.
        """
        if self.nm_per_px is None or self.centre_nm is None or not min(self.nm_per_px) > 0:
            raise AnnotationError(
                f"{path}: coordinates are nm on the glass, and the slide has no "
                "XOffsetFromSlideCentre; give the NDPI file that the annotation was drawn on"
            )
        (nm_x, nm_y), (centre_x, centre_y) = self.nm_per_px, self.centre_nm
        middle = (self.width / 2 - centre_x / nm_x, self.height / 2 - centre_y / nm_y)
        return (1 / nm_x, 1 / nm_y), middle
