"""One slide's prediction, as exporters read it."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property

from ...wsi import Detections, Heatmap, Slide
from .settings import ExportSettings

__all__ = ["ExportSource"]


@dataclass(frozen=True, kw_only=True)
class ExportSource:
    """Heatmap, detections and pixels of one slide; each is read when it is first needed."""

    id: str
    """The slide's id in its cohort."""
    load_heatmap: Callable[[], Heatmap]
    load_detections: Callable[[], Detections]
    open_slide: Callable[[], AbstractContextManager[Slide]]
    """Raises SlideError where the slide's file is not known or cannot be opened."""
    settings: ExportSettings = field(default_factory=ExportSettings)
    patient: str = ""
    threshold: float = 0.5
    """Probability above which cells belong to detections."""
    slide_threshold: float = 0.5
    """Lowest score of a slide that is called tumour."""

    @cached_property
    def heatmap(self) -> Heatmap:
        return self.load_heatmap()

    @cached_property
    def heatmap_sha256(self) -> str:
        return self.heatmap.content_sha256

    @cached_property
    def detections(self) -> Detections:
        return self.load_detections()

    @cached_property
    def origin_level0(self) -> tuple[int, int]:
        """(x, y) of the corner that px of outlines are counted from, level-0 px."""
        if self.settings.origin == "slide":
            return 0, 0
        with self.open_slide() as slide:
            bounds = slide.info.bounds
            return (0, 0) if bounds is None else (bounds.x, bounds.y)
