"""A slide, small: the truth drawn on it, and beside it the heatmap. Picture px are `scale` level-0 px wide."""

from dataclasses import dataclass

import cv2
import matplotlib
import numpy as np
import shapely
from shapely.geometry import MultiPolygon

from ..wsi import CellStatus, Detections, Heatmap, Overview
from .lesions import Lesions
from .truth import Truth
from .verdicts import SlideVerdicts, Verdict

__all__ = ["COLOURS", "Pictures", "colours_of_bar", "slide_pictures"]

# RGB. Safe for colour-blind eyes: they differ in lightness, and no two that must be told apart differ in hue only.
COLOURS = {"lesion": (0, 60, 170), "itc": (200, 90, 0), "halo": (255, 255, 255), "mark": (20, 20, 20)}
HATCH_PX = 6
OPACITY = 0.7  # of the heatmap over the slide
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


def _colour_map(probability: np.ndarray) -> np.ndarray:
    """RGB uint8 of probabilities in [0, 1]."""
    return (matplotlib.colormaps["viridis"](probability)[..., :3] * 255).astype(np.uint8)


def colours_of_bar() -> list[list[int]]:
    """RGB from probability 0 to 1 as they look over pale tissue."""
    pale = 225
    return np.rint((1 - OPACITY) * pale + OPACITY * _colour_map(np.linspace(0, 1, 11))).astype(int).tolist()


def slide_pictures(
    overview: Overview,
    *,
    heatmap: Heatmap,
    truth: Truth,
    detections: Detections,
    verdicts: SlideVerdicts | None,
    picture_px: int,
) -> Pictures:
    """The overview with the outlines of tumour, and the overview in grey under the heatmap and its detections."""
    image, scale = _sized(overview, picture_px)
    outlined = image.copy()
    if truth.lesions is not None:
        _draw_outlines(outlined, truth.tumor, truth.lesions, scale=scale)
    _draw_scale_bar(outlined, pixel_um=scale * heatmap.slide_mpp)
    heated = _heated(image, heatmap, scale=scale)
    _draw_detections(heated, detections, verdicts, scale=scale)
    height, width = image.shape[:2]
    return Pictures(truth=_jpeg(outlined), heatmap=_jpeg(heated), width=width, height=height)


def _sized(overview: Overview, picture_px: int) -> tuple[np.ndarray, float]:
    height, width = overview.image.shape[:2]
    factor = min(1.0, picture_px / max(height, width))
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    image = cv2.resize(overview.image, size, interpolation=cv2.INTER_AREA)
    return image, overview.scale_level0 * width / size[0]


def _draw_outlines(image: np.ndarray, tumor: MultiPolygon, lesions: Lesions, *, scale: float) -> None:
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


def _heated(image: np.ndarray, heatmap: Heatmap, *, scale: float) -> np.ndarray:
    """The image in pale grey; colour where a cell was scored, hatched where one should have been, bare elsewhere."""
    height, width = image.shape[:2]
    rows, columns = heatmap.status.shape
    origin_x, origin_y = heatmap.origin_level0
    row = np.floor(((np.arange(height) + 0.5) * scale - origin_y) / heatmap.stride_level0).astype(np.int64)
    column = np.floor(((np.arange(width) + 0.5) * scale - origin_x) / heatmap.stride_level0).astype(np.int64)
    inside = ((row >= 0) & (row < rows))[:, None] & ((column >= 0) & (column < columns))
    cell = np.ix_(np.clip(row, 0, rows - 1), np.clip(column, 0, columns - 1))
    status = np.where(inside, heatmap.status[cell], CellStatus.BACKGROUND)
    grey = np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2).astype(np.float32)
    pale = 255 - (255 - grey) * 0.8
    scored = (status == CellStatus.SCORED)[..., None]
    colour = _colour_map(np.nan_to_num(heatmap.probability)[cell])
    result = np.where(scored, (1 - OPACITY) * pale + OPACITY * colour, pale)
    lost = np.isin(status, (CellStatus.UNREADABLE, CellStatus.FAILED, CellStatus.NOT_YET))
    stripes = (np.add.outer(np.arange(height), np.arange(width)) % HATCH_PX) < 2
    result[lost] = np.where(stripes[lost, None], 40.0, 245.0)
    return np.ascontiguousarray(np.rint(result).astype(np.uint8))


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
