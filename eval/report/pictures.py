"""Pictures for the report: each slide with its truth and its heatmap, each mistake close and from
afar.

Every slide is drawn while it is open for scoring, so that its file is opened and its heatmap loaded
once. The page has a limit of bytes and every picture its share of it: large cohorts get smaller
pictures.
"""

import logging
from bisect import insort
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any, TypeVar

import cv2
import numpy as np
import shapely

from ...storage import GigaslideError
from ...wsi import Heatmap, Overview, Region, Slide, overlay_heatmap, shrink
from ..predictions.prediction import Prediction
from ..predictions.slide_file import SlideFile
from ..scoring.matching import reaches
from ..scoring.slide_result import SlideResult
from ..settings import EvaluateSettings
from ..statistics.operating import FalsePositive, MissedLesion, missed_order
from ..truth.lesions import Lesions
from .drawing import (
    Frame,
    SlidePictures,
    draw_detections,
    draw_outlines,
    draw_scale_bar,
    draw_square,
    encode_jpeg,
    to_grey,
)

__all__ = ["Crops", "Gallery", "draw_slide", "try_to_draw"]

_Drawn = TypeVar("_Drawn")

logger = logging.getLogger(__name__)

REPORT_BYTES = 60_000_000
SLIDES_SHARE, GALLERY_SHARE = 0.5, 0.35  # the rest is for text, plots and tables
BASE64 = 4 / 3
CLOSE_PX, WIDE_PX = 320, 256
WIDE_TIMES = 6  # a wide crop's side, in close ones
FIT = 1.4  # a wide crop's side, in a lesion's
OUTSIDE = "it lies outside the slide (see Cohort and exclusions)"


@dataclass(frozen=True, kw_only=True)
class Crops:
    """Square JPEG files around a mistake: the tissue closely, and from afar with and without
    heatmap."""

    close: bytes
    wide: bytes
    heatmap: bytes | None
    close_um: float
    """Side of the close one."""
    wide_um: float


_Keyed = tuple[Any, Crops | str]
"""Sort key of a mistake, and its crops."""


class Gallery:
    """Pictures of slides, added one by one, and of their first `settings.gallery` mistakes of each
    kind."""

    def __init__(self, settings: EvaluateSettings, *, slides: int) -> None:
        self._settings = settings
        self._slide_bytes = REPORT_BYTES * SLIDES_SHARE / BASE64 / max(1, 2 * slides)
        self._crop_bytes = REPORT_BYTES * GALLERY_SHARE / BASE64 / max(1, 6 * settings.gallery)
        self._missed: list[_Keyed] = []
        self._false: list[_Keyed] = []
        self.slides: dict[str, SlidePictures | str] = {}
        """By slide id; or the reason why there is no picture."""

    @property
    def missed(self) -> list[Crops | str]:
        """Crops of the missed lesions, in the order of the operating point; or a reason."""
        return [crops for _, crops in self._missed]

    @property
    def false_positives(self) -> list[Crops | str]:
        """Crops of the false positives, in the order of the operating point; or a reason."""
        return [crops for _, crops in self._false]

    def add(
        self,
        result: SlideResult,
        prediction: Prediction | None,
        file: SlideFile,
        *,
        missed: Iterable[MissedLesion] = (),
        false_positives: Iterable[FalsePositive] = (),
    ) -> None:
        """Draw a slide and those of its mistakes that may be among the first."""
        name, number = result.slide.id, len(self.slides)
        mpp = None if prediction is None else prediction.slide_mpp
        scan = try_to_draw(name, lambda: file.open(fallback_mpp=mpp))
        self.slides[name] = (
            scan
            if isinstance(scan, str)
            else try_to_draw(name, lambda: self._draw_whole(scan, result, prediction))
        )
        missed_keys = [(missed_order(one), one) for one in missed]
        false_keys = [((-one.probability, number, i), one) for i, one in enumerate(false_positives)]
        most = self._settings.gallery
        for kept, mistakes in ((self._missed, missed_keys), (self._false, false_keys)):
            for key, mistake in sorted(mistakes, key=itemgetter(0))[:most]:
                if len(kept) < most or key < kept[-1][0]:
                    crops = self._crop(scan, result, prediction, mistake)
                    insort(kept, (key, crops), key=itemgetter(0))
                    del kept[most:]

    def _draw_whole(
        self, scan: Slide, result: SlideResult, prediction: Prediction | None
    ) -> SlidePictures:
        overview = scan.overview(scan.info.mpp * max(scan.size) / self._settings.picture_px)
        return draw_slide(
            overview, result, prediction, self._settings, most_bytes=self._slide_bytes
        )

    def _crop(
        self,
        scan: Slide | str,
        result: SlideResult,
        prediction: Prediction | None,
        mistake: MissedLesion | FalsePositive,
    ) -> Crops | str:
        if isinstance(scan, str):
            return scan
        width, height = scan.size
        is_inside = 0 <= mistake.x < width and 0 <= mistake.y < height
        if isinstance(mistake, FalsePositive) and not is_inside:
            return OUTSIDE
        threshold, most_bytes = self._settings.threshold, self._crop_bytes
        return try_to_draw(
            f"{result.slide.id}, ({mistake.x:.0f}, {mistake.y:.0f})",
            lambda: _draw_crops(
                scan, result, prediction, mistake, threshold=threshold, most_bytes=most_bytes
            ),
        )


def try_to_draw(name: str, draw: Callable[[], _Drawn]) -> _Drawn | str:
    """Return what draw makes, or the reason why it cannot. Figures need no pixels: an error costs
    this picture only."""
    try:
        return draw()
    except Exception as error:
        is_bug = not isinstance(error, GigaslideError)
        logger.warning("%s: no picture: %s", name, error, exc_info=is_bug)
        return str(error) or type(error).__name__


def draw_slide(
    overview: Overview,
    result: SlideResult,
    prediction: Prediction | None,
    settings: EvaluateSettings,
    *,
    most_bytes: float,
) -> SlidePictures:
    """Draw the overview with tumour outlined, and with the heatmap, if there is one, and the
    detections from the operating point on."""
    small = shrink(overview, settings.picture_px)
    frame, outlined, heated = Frame(scale=small.scale_level0), small.image.copy(), None
    if result.truth is not None and result.truth.lesions is not None:
        draw_outlines(outlined, result.truth.tumor, result.truth.lesions, frame)
    if prediction is not None:
        draw_scale_bar(outlined, pixel_um=frame.scale * prediction.slide_mpp)
        heated = (
            to_grey(small.image)
            if prediction.heatmap is None
            else overlay_heatmap(small, prediction.heatmap)
        )
        _draw_calls(heated, result, frame, threshold=settings.threshold)
    height, width = outlined.shape[:2]
    return SlidePictures(
        truth=encode_jpeg(outlined, most_bytes=most_bytes),
        heatmap=None if heated is None else encode_jpeg(heated, most_bytes=most_bytes),
        width=width,
        height=height,
    )


def _draw_calls(image: np.ndarray, result: SlideResult, frame: Frame, *, threshold: float) -> None:
    detections, matches = result.detections, result.matches
    if detections is None:
        return
    probable_first = np.argsort(-detections.probability, kind="stable")
    called = probable_first[: int(reaches(detections.probability, threshold).sum())]
    xy = np.stack([detections.x, detections.y], axis=1)[called]
    draw_detections(image, xy, None if matches is None else matches.match[called], frame)


def _draw_crops(
    scan: Slide,
    result: SlideResult,
    prediction: Prediction | None,
    mistake: MissedLesion | FalsePositive,
    *,
    threshold: float,
    most_bytes: float,
) -> Crops:
    heatmap = None if prediction is None else prediction.heatmap
    truth, mpp = result.truth, scan.info.mpp
    missed = mistake if isinstance(mistake, MissedLesion) else None
    centre = np.array([missed.peak_x, missed.peak_y] if missed else [mistake.x, mistake.y])
    # Level-0 px of one px that the network saw; unknown of other programs' detections.
    model_px = 1.0 if heatmap is None else heatmap.centre_level0 / heatmap.centre_px
    close_side = CLOSE_PX * max(1.0, model_px)
    wide_side, middle = WIDE_TIMES * close_side, centre
    if missed and truth is not None and isinstance(truth.lesions, Lesions):
        low_x, low_y, high_x, high_y = shapely.bounds(truth.lesions.outlines[missed.lesion - 1])
        middle = np.array([low_x + high_x, low_y + high_y]) / 2
        wide_side = max(wide_side, FIT * max(high_x - low_x, high_y - low_y))
    wide_side, middle = _fit_onto_slide(scan, middle, wide_side)
    close, close_frame = _read(scan, centre, close_side, pixels=CLOSE_PX)
    wide, wide_frame = _read(scan, middle, wide_side, pixels=WIDE_PX)
    heated = None if heatmap is None else _overlay(wide, wide_frame, heatmap)
    for image, frame in ((close, close_frame), (wide, wide_frame), (heated, wide_frame)):
        if image is not None and truth is not None and truth.lesions is not None:
            draw_outlines(image, truth.tumor, truth.lesions, frame)
    if not missed:
        cell = close_side / 6 if heatmap is None else heatmap.centre_level0
        draw_square(close, centre, cell, close_frame)
    draw_scale_bar(close, pixel_um=close_frame.scale * mpp)
    draw_scale_bar(wide, pixel_um=wide_frame.scale * mpp)
    draw_square(wide, centre, close_side, wide_frame)
    if heated is not None:
        _draw_calls(heated, result, wide_frame, threshold=threshold)
        draw_square(heated, centre, close_side, wide_frame)
    return Crops(
        close=encode_jpeg(close, most_bytes=most_bytes),
        wide=encode_jpeg(wide, most_bytes=most_bytes),
        heatmap=None if heated is None else encode_jpeg(heated, most_bytes=most_bytes),
        close_um=close_side * mpp,
        wide_um=wide_side * mpp,
    )


def _fit_onto_slide(
    scan: Slide, centre: np.ndarray, side_level0: float
) -> tuple[float, np.ndarray]:
    """Side and centre of a square no larger than the slide that shows as little as possible beside
    it."""
    size = np.array(scan.size, np.float64)
    side = min(side_level0, size.max())
    half = np.minimum(side, size) / 2
    return side, np.clip(centre, half, size - half)


def _read(
    scan: Slide, centre: np.ndarray, side_level0: float, *, pixels: int
) -> tuple[np.ndarray, Frame]:
    x, y = np.rint(centre - side_level0 / 2).astype(int).tolist()
    side = round(side_level0)
    region = Region(x=x, y=y, width=side, height=side)
    image = scan.read_region(region, mpp=scan.info.mpp * side / pixels)
    image = cv2.resize(image, (pixels, pixels), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(image), Frame(x=x, y=y, scale=side / pixels)


def _overlay(image: np.ndarray, frame: Frame, heatmap: Heatmap) -> np.ndarray:
    origin_x, origin_y = heatmap.origin_level0
    moved = replace(heatmap, origin_level0=(origin_x - frame.x, origin_y - frame.y))
    readable = np.zeros(image.shape[:2], bool)
    overview = Overview(image=image, scale_level0=frame.scale, unreadable=readable)
    return overlay_heatmap(overview, moved)
