"""What an annotation may need to know of its slide: its size, and where on the glass its pixels
lie."""

from dataclasses import dataclass
from pathlib import Path

from ...storage import AnnotationError, Location
from ..readers import open_reader

__all__ = ["SlideFrame"]


@dataclass(frozen=True, kw_only=True)
class SlideFrame:
    """Level-0 px of one slide; nm only where the scanner says them."""

    width: int
    height: int
    nm_per_px: tuple[float, float] | None = None
    """(x, y) by the scanner's own calibration, which a cohort's µm/px does not change."""
    centre_nm: tuple[float, float] | None = None
    """(x, y) of the image's centre, measured from the centre of the glass."""

    @classmethod
    def of_file(cls, path: Location) -> "SlideFrame":
        """Read it from a slide.

        Raises:
            SlideError: no such file, or not a slide.
        """
        reader, _ = open_reader(path)
        reader.close()
        pyramid = reader.pyramid
        return cls(
            width=pyramid.levels[0].width,
            height=pyramid.levels[0].height,
            nm_per_px=None
            if pyramid.mpp_xy is None
            else (pyramid.mpp_xy[0] * 1000, pyramid.mpp_xy[1] * 1000),
            centre_nm=pyramid.offset_nm_xy,
        )

    def px_of_nm(self, path: Path) -> tuple[tuple[float, float], tuple[float, float]]:
        """((x, y) px per nm, (x, y) level-0 px of the glass's centre), for the annotation at path.

        Raises:
            AnnotationError: the slide does not say where it lies on the glass.
        """
        if self.nm_per_px is None or self.centre_nm is None or not min(self.nm_per_px) > 0:
            raise AnnotationError(
                f"{path}: its coordinates are nm on the glass, and the slide does not say where it "
                "lies there (XOffsetFromSlideCentre); give the NDPI file that it was drawn on"
            )
        (nm_x, nm_y), (centre_x, centre_y) = self.nm_per_px, self.centre_nm
        middle = (self.width / 2 - centre_x / nm_x, self.height / 2 - centre_y / nm_y)
        return (1 / nm_x, 1 / nm_y), middle
