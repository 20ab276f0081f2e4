"""Pictures for the report: each slide, small, with its truth and its heatmap; each mistake, close
and from afar.

The page has a limit of bytes and every picture its share of it: large cohorts get smaller pictures,
not a larger page.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import cv2
import numpy as np
import shapely

from ...storage import GigaslideError
from ...wsi import Heatmap, Overview, Region, Slide, open_slide, overlay_heatmap, shrink
from ..predictions.prediction import Prediction, Predictions
from ..scoring.slide_result import Judgement
from ..scoring.threshold import reaches
from ..settings import EvaluateSettings
from ..statistics.mistakes import Mistakes
from ..truth.lesions import Lesions
from .drawing import (
    Frame,
    Pictures,
    draw_detections,
    draw_outlines,
    draw_scale_bar,
    draw_square,
    encoded,
    grey,
)

__all__ = ["Crops", "drawn_or_why", "slide_pictures", "with_pictures"]

_Drawn = TypeVar("_Drawn")
_Mistake = tuple[str, int, Mapping[str, Any]]
"""Its kind, its row in the table of that kind, and the row."""

logger = logging.getLogger(__name__)

REPORT_BYTES = 60_000_000
SLIDES_SHARE, GALLERY_SHARE = 0.5, 0.35  # the rest is for words, plots and tables
BASE64 = 4 / 3
CLOSE_PX, WIDE_PX = 320, 256
WIDE_TIMES = 6  # a wide crop's side, in close ones
FIT = 1.4  # a wide crop's side, in a lesion's
OUTSIDE = "it lies outside the slide (see Cohort and exclusions)"


@dataclass(frozen=True, kw_only=True)
class Crops:
    """JPEG files about a mistake, squares: the tissue closely, and from afar with and without
    heatmap."""

    close: bytes
    wide: bytes
    heatmap: bytes | None
    close_um: float
    """Side of the close one."""
    wide_um: float


@dataclass(frozen=True, kw_only=True)
class _Budget:
    slide: float
    crop: float

    @classmethod
    def of(cls, *, slides: int, mistakes: int) -> "_Budget":
        """Most bytes of each of a slide's two pictures, and of each of a mistake's three."""
        return cls(
            slide=REPORT_BYTES * SLIDES_SHARE / BASE64 / max(1, 2 * slides),
            crop=REPORT_BYTES * GALLERY_SHARE / BASE64 / max(1, 3 * mistakes),
        )


def with_pictures(
    judgements: Sequence[Judgement],
    predictions: Predictions,
    mistakes: Mistakes,
    settings: EvaluateSettings,
    *,
    on_slide: Callable[[str], object] | None = None,
) -> tuple[list[Judgement], dict[tuple[str, int], Crops | str]]:
    """The judgements with pictures, or with a note why there is none; and crops of the first
    `settings.gallery` of each kind of mistake, or words why there are none, by ("missed" or
    "false_positives", row of its table).
    """
    chosen = {
        kind: table.head(settings.gallery).to_dict("records")
        for kind, table in (
            ("missed", mistakes.missed),
            ("false_positives", mistakes.false_positives),
        )
    }
    by_slide: dict[str, list[_Mistake]] = {}
    for kind, rows in chosen.items():
        for index, row in enumerate(rows):
            by_slide.setdefault(row["slide"], []).append((kind, index, row))
    budget = _Budget.of(slides=len(judgements), mistakes=sum(map(len, chosen.values())))
    pictured, crops = [], {}
    for judgement in judgements:
        found, more = _of_slide(
            judgement, predictions, by_slide.get(judgement.slide.id, []), budget, settings
        )
        pictured.append(found)
        crops |= more
        if on_slide is not None:
            on_slide(judgement.slide.id)
    return pictured, crops


def _of_slide(
    judgement: Judgement,
    predictions: Predictions,
    rows: Sequence[_Mistake],
    budget: _Budget,
    settings: EvaluateSettings,
) -> tuple[Judgement, Mapping[tuple[str, int], Crops | str]]:
    found = drawn_or_why(
        judgement.slide.id, lambda: _drawn(judgement, predictions, rows, budget, settings)
    )
    pictures, crops = (
        (found, {(kind, index): found for kind, index, _ in rows})
        if isinstance(found, str)
        else found
    )
    if not isinstance(pictures, str):
        return replace(judgement, pictures=pictures), crops
    # What is left out has a reason already.
    notes = (
        (*judgement.notes, f"no picture: {pictures}") if judgement.in_figures else judgement.notes
    )
    return replace(judgement, notes=notes), crops


def drawn_or_why(what: str, draw: Callable[[], _Drawn]) -> _Drawn | str:
    """What draw makes, or words why it cannot. Figures need no pixels: a fault of ours costs this
    picture only."""
    try:
        return draw()
    except Exception as error:
        logger.warning(
            "%s: no picture: %s", what, error, exc_info=not isinstance(error, GigaslideError)
        )
        return str(error) or type(error).__name__


def _drawn(
    judgement: Judgement,
    predictions: Predictions,
    rows: Sequence[_Mistake],
    budget: _Budget,
    settings: EvaluateSettings,
) -> tuple[Pictures | str, dict[tuple[str, int], Crops | str]]:
    slide = judgement.slide
    prediction = predictions.of(slide) if judgement.in_figures else None
    fallback_mpp = None if prediction is None else prediction.slide_mpp
    with open_slide(slide.path, mpp=slide.mpp, fallback_mpp=fallback_mpp) as scan:

        def whole() -> Pictures:
            overview = scan.overview(scan.info.mpp * max(scan.size) / settings.picture_px)
            return slide_pictures(
                overview, judgement, prediction, settings, most_bytes=budget.slide
            )

        def crops_of(row: Mapping[str, Any]) -> Crops | str:
            if "lesion" not in row and not _is_on(scan, row):
                return OUTSIDE
            if prediction is None:  # only what is in a figure is a mistake
                return "the slide is in no figure"
            return _crops(
                scan, judgement, prediction, row, budget, threshold=settings.slide_threshold
            )

        crops = {
            (kind, index): drawn_or_why(
                f"{slide.id}, {kind} {index + 1}", lambda row=row: crops_of(row)
            )
            for kind, index, row in rows
        }
        return drawn_or_why(slide.id, whole), crops


def _is_on(scan: Slide, row: Mapping[str, Any]) -> bool:
    width, height = scan.size
    return 0 <= row["x"] < width and 0 <= row["y"] < height


def slide_pictures(
    overview: Overview,
    judgement: Judgement,
    prediction: Prediction | None,
    settings: EvaluateSettings,
    *,
    most_bytes: float,
) -> Pictures:
    """The overview with tumour outlined, and under the heatmap, if there is one, and the detections
    that count."""
    small = shrink(overview, settings.picture_px)
    frame, outlined, heated = Frame(scale=small.scale_level0), small.image.copy(), None
    if judgement.truth is not None and judgement.truth.lesions is not None:
        draw_outlines(outlined, judgement.truth.tumor, judgement.truth.lesions, frame)
    if prediction is not None:
        draw_scale_bar(outlined, pixel_um=frame.scale * prediction.slide_mpp)
        heated = (
            grey(small.image)
            if prediction.heatmap is None
            else overlay_heatmap(small, prediction.heatmap)
        )
        _draw_calls(heated, judgement, frame, threshold=settings.slide_threshold)
    height, width = outlined.shape[:2]
    return Pictures(
        truth=encoded(outlined, most_bytes=most_bytes),
        heatmap=None if heated is None else encoded(heated, most_bytes=most_bytes),
        width=width,
        height=height,
    )


def _draw_calls(image: np.ndarray, judgement: Judgement, frame: Frame, *, threshold: float) -> None:
    detections, verdicts = judgement.detections, judgement.verdicts
    if detections is None:
        return
    probable_first = np.argsort(-detections.probability, kind="stable")
    called = probable_first[: int(reaches(detections.probability, threshold).sum())]
    xy = np.stack([detections.x, detections.y], axis=1)[called]
    draw_detections(image, xy, None if verdicts is None else verdicts.verdict[called], frame)


def _crops(
    scan: Slide,
    judgement: Judgement,
    prediction: Prediction,
    row: Mapping[str, Any],
    budget: _Budget,
    *,
    threshold: float,
) -> Crops:
    heatmap, truth, mpp = prediction.heatmap, judgement.truth, scan.info.mpp
    is_lesion = "lesion" in row
    centre = np.array([row["peak_x"], row["peak_y"]] if is_lesion else [row["x"], row["y"]])
    close_side = CLOSE_PX * max(1.0, _model_px(heatmap))
    wide_side, middle = WIDE_TIMES * close_side, centre
    if is_lesion and truth is not None and isinstance(truth.lesions, Lesions):
        low_x, low_y, high_x, high_y = shapely.bounds(truth.lesions.outlines[row["lesion"] - 1])
        middle = np.array([low_x + high_x, low_y + high_y]) / 2
        wide_side = max(wide_side, FIT * max(high_x - low_x, high_y - low_y))
    wide_side, middle = _onto_slide(scan, middle, wide_side)
    close, close_frame = _read(scan, centre, close_side, pixels=CLOSE_PX)
    wide, wide_frame = _read(scan, middle, wide_side, pixels=WIDE_PX)
    heated = None if heatmap is None else _heated(wide, wide_frame, heatmap)
    for image, frame in ((close, close_frame), (wide, wide_frame), (heated, wide_frame)):
        if image is not None and truth is not None and truth.lesions is not None:
            draw_outlines(image, truth.tumor, truth.lesions, frame)
    if not is_lesion:
        draw_square(
            close, centre, close_side / 6 if heatmap is None else heatmap.centre_level0, close_frame
        )
    draw_scale_bar(close, pixel_um=close_frame.scale * mpp)
    draw_scale_bar(wide, pixel_um=wide_frame.scale * mpp)
    draw_square(wide, centre, close_side, wide_frame)
    if heated is not None:
        _draw_calls(heated, judgement, wide_frame, threshold=threshold)
        draw_square(heated, centre, close_side, wide_frame)
    return Crops(
        close=encoded(close, most_bytes=budget.crop),
        wide=encoded(wide, most_bytes=budget.crop),
        heatmap=None if heated is None else encoded(heated, most_bytes=budget.crop),
        close_um=close_side * mpp,
        wide_um=wide_side * mpp,
    )


def _model_px(heatmap: Heatmap | None) -> float:
    """Level-0 px of one px that the network saw; of other people's detections nobody knows it."""
    return 1.0 if heatmap is None else heatmap.centre_level0 / heatmap.centre_px


def _onto_slide(scan: Slide, centre: np.ndarray, side_level0: float) -> tuple[float, np.ndarray]:
    """A square no larger than the slide, moved until it shows as little as possible of what lies
    outside."""
    size = np.array(scan.size, np.float64)
    side = min(side_level0, size.max())
    inside = np.clip(centre, np.minimum(side, size) / 2, size - np.minimum(side, size) / 2)
    return side, inside


def _read(
    scan: Slide, centre: np.ndarray, side_level0: float, *, pixels: int
) -> tuple[np.ndarray, Frame]:
    x, y = np.rint(centre - side_level0 / 2).astype(int).tolist()
    side = round(side_level0)
    image = scan.read_region(
        Region(x=x, y=y, width=side, height=side), mpp=scan.info.mpp * side / pixels
    )
    image = cv2.resize(image, (pixels, pixels), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(image), Frame(x=x, y=y, scale=side / pixels)


def _heated(image: np.ndarray, frame: Frame, heatmap: Heatmap) -> np.ndarray:
    origin_x, origin_y = heatmap.origin_level0
    moved = replace(heatmap, origin_level0=(origin_x - frame.x, origin_y - frame.y))
    readable = np.zeros(image.shape[:2], bool)
    return overlay_heatmap(
        Overview(image=image, scale_level0=frame.scale, unreadable=readable), moved
    )
