"""The file of a slide, opened when it is first needed."""

from contextlib import AbstractContextManager

from ...cohort import CohortSlide
from ...storage import SlideError
from ...wsi import Slide, open_slide

__all__ = ["SlideFile"]


class SlideFile(AbstractContextManager["SlideFile"]):
    """A slide that is opened when it is first needed, at most once, and closed at the end of a
    `with` block."""

    def __init__(self, slide: CohortSlide) -> None:
        self._slide = slide
        self._opened: Slide | SlideError | None = None

    def open(self, *, fallback_mpp: float | None = None) -> Slide:
        """Return the open slide; fallback_mpp is used where neither cohort nor file has µm/px.

        Raises:
            SlideError: it cannot be opened; every call raises the error of the first.
        """
        if self._opened is None:
            slide = self._slide
            try:
                self._opened = open_slide(slide.path, mpp=slide.mpp, fallback_mpp=fallback_mpp)
            except SlideError as error:
                self._opened = error
        if isinstance(self._opened, SlideError):
            raise self._opened
        return self._opened

    def open_if_readable(self) -> Slide | None:
        """Return the open slide, or None where it cannot be opened."""
        try:
            return self.open()
        except SlideError:
            return None

    def find_size(self) -> tuple[tuple[int, int], float]:
        """Return (width, height) in level-0 px and µm/px: of the slide, or of its cohort row where
        it cannot be opened.

        Raises:
            SlideError: it cannot be opened, and the row lacks width, height or mpp; or it has
                another size than its row.
        """
        row = self._slide
        try:
            scan = self.open()
        except SlideError as error:
            if row.size is None or row.mpp is None:
                raise SlideError(
                    f"{error}; or give width, height and mpp in the cohort, which are enough to "
                    "score detections"
                ) from error
            return row.size, row.mpp
        if row.size not in (None, scan.size):
            raise SlideError(
                f"{row.id}: the cohort's width and height are {row.size}, but the slide has "
                f"{scan.size} px; correct them, or leave them empty"
            )
        return scan.size, scan.info.mpp

    def __exit__(self, *_: object) -> None:
        if isinstance(self._opened, Slide):
            self._opened.close()
        self._opened = None
