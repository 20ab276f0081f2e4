"""A slide, small: the truth drawn on it, and beside it the heatmap. Picture px are `scale` level-0 px wide."""

from dataclasses import dataclass

import cv2
import numpy as np
import shapely
from shapely.geometry import MultiPolygon

from ..wsi import Detections, Overview, heatmap_over, shrunk
from .lesions import AnyLesions
from .prediction import Prediction
from .truth import Truth
from .verdicts import SlideVerdicts, Verdict

__all__ = ["COLOURS", "Pictures", "slide_pictures"]

# RGB. Safe for colour-blind eyes: they differ in lightness, and no two that must be told apart differ in hue only.
COLOURS = {"lesion": (0, 60, 170), "itc": (200, 90, 0), "halo": (255, 255, 255), "mark": (20, 20, 20)}
SCALE_BARS_UM = (20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)
SHIFT = 4  # cv2 draws in 1/16 px
JPEG_QUALITY = 82


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Two JPEG files of one size."""

    truth: bytes
    heatmap: bytes
    width: int
    height: int


def slide_pictures(
    overview: Overview,
    *,
    prediction: Prediction,
    truth: Truth,
    verdicts: SlideVerdicts | None,
    picture_px: int,
) -> Pictures:
    """The overview with the outlines of tumour, and in grey under the heatmap, if there is one, and detections."""
    small = shrunk(overview, picture_px)
    image, scale = small.image, small.scale_level0
    outlined = image.copy()
    if truth.lesions is not None:
        _draw_outlines(outlined, truth.tumor, truth.lesions, scale=scale)
    _draw_scale_bar(outlined, pixel_um=scale * prediction.slide_mpp)
    heatmap = prediction.heatmap
    heated = _grey(image) if heatmap is None else heatmap_over(small, heatmap)
    _draw_detections(heated, prediction.detections, verdicts, scale=scale)
    height, width = image.shape[:2]
    return Pictures(truth=_jpeg(outlined), heatmap=_jpeg(heated), width=width, height=height)


def _grey(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)


def _draw_outlines(image: np.ndarray, tumor: MultiPolygon, lesions: AnyLesions, *, scale: float) -> None:
    parts = np.asarray(tumor.geoms)
    labels = lesions.at(shapely.get_coordinates(shapely.point_on_surface(parts)))
    is_itc = np.append(False, lesions.measures.is_itc)[labels]
    rings = [
        [_fixed_point(np.asarray(ring.coords), scale=scale) for ring in (part.exterior, *part.interiors)]
        for part in parts
    ]
    for colour, thickness in ((None, 4), ("own", 2)):  # every halo first, so that none covers a neighbour's line
        for part, small in zip(rings, is_itc, strict=True):
            rgb = COLOURS["halo"] if colour is None else COLOURS["itc" if small else "lesion"]
            cv2.polylines(image, part, True, rgb, thickness, cv2.LINE_AA, SHIFT)


def _fixed_point(xy_level0: np.ndarray, *, scale: float) -> np.ndarray:
    return np.rint((xy_level0 / scale - 0.5) * 2**SHIFT).astype(np.int32)


def _draw_detections(
    image: np.ndarray, detections: Detections, verdicts: SlideVerdicts | None, *, scale: float
) -> None:
    """A ring for a hit, a cross for a false positive, a square for an ignored one or one that nobody can judge."""
    points = np.rint(np.stack([detections.x, detections.y], axis=1) / scale - 0.5).astype(int).tolist()
    for rgb, thickness in ((COLOURS["halo"], 5), (COLOURS["mark"], 2)):
        for index, (x, y) in enumerate(points):
            verdict = verdicts.verdict[index] if verdicts is not None else Verdict.IGNORED
            if verdict == Verdict.HIT:
                cv2.circle(image, (x, y), 8, rgb, thickness, cv2.LINE_AA)
            elif verdict == Verdict.FALSE_POSITIVE:
                cv2.line(image, (x - 6, y - 6), (x + 6, y + 6), rgb, thickness, cv2.LINE_AA)
                cv2.line(image, (x - 6, y + 6), (x + 6, y - 6), rgb, thickness, cv2.LINE_AA)
            else:
                cv2.rectangle(image, (x - 6, y - 6), (x + 6, y + 6), rgb, thickness, cv2.LINE_AA)


def _draw_scale_bar(image: np.ndarray, *, pixel_um: float) -> None:
    """The longest round length below a quarter of the width, at the bottom left."""
    height, width = image.shape[:2]
    fitting = [um for um in SCALE_BARS_UM if um / pixel_um <= width / 4]
    if not fitting:
        return
    um = fitting[-1]
    end = (12 + round(um / pixel_um), height - 12)
    words = f"{um / 1000:g} mm"  # the font knows no µ
    for rgb, thickness in ((COLOURS["halo"], 6), (COLOURS["mark"], 3)):
        cv2.line(image, (12, height - 12), end, rgb, thickness)
    for rgb, thickness in ((COLOURS["halo"], 4), (COLOURS["mark"], 1)):
        cv2.putText(image, words, (12, height - 20), cv2.FONT_HERSHEY_SIMPLEX, 0.45, rgb, thickness, cv2.LINE_AA)


def _jpeg(image: np.ndarray) -> bytes:
    done, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise ValueError(f"a picture of shape {image.shape} could not be encoded as JPEG")
    return data.tobytes()
