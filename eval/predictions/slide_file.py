"""The image file of a cohort's slide, opened once."""

from types import TracebackType

from ...cohort import CohortSlide
from ...storage import SlideError
from ...wsi import Slide, open_slide

__all__ = ["SlideFile"]


class SlideFile:
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

    def __enter__(self) -> "SlideFile":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(self._opened, Slide):
            self._opened.close()
        self._opened = None
