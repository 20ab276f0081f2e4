"""Outlines, marks and a scale bar on a picture of a slide or of a part of it."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import shapely
from PIL import Image, ImageDraw, ImageFont
from shapely.geometry import MultiPolygon

from ..scoring.matching import Match
from ..truth.lesions import AnyLesions, Lesions

__all__ = [
    "COLOURS",
    "MOST_MARKS",
    "Frame",
    "SlidePictures",
    "draw_detections",
    "draw_outlines",
    "draw_scale_bar",
    "draw_square",
    "encode_jpeg",
    "to_grey",
]

# RGB, for colour-blind eyes too: all differ in lightness.
COLOURS = {
    "lesion": (0, 60, 170),
    "itc": (200, 90, 0),
    "halo": (255, 255, 255),
    "mark": (20, 20, 20),
}
SCALE_BARS_UM = (20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)
SHIFT = 4  # cv2 draws in 1/16 px
QUALITIES = (82, 72, 60, 45, 30)  # of JPEG, tried in this order
SHRINK, SMALLEST_PX = 0.7, 48
MOST_MARKS = 300  # more hide the picture


@dataclass(frozen=True, kw_only=True)
class SlidePictures:
    """JPEG files of a slide, of one shape; no heatmap where the slide is excluded."""

    truth: bytes
    heatmap: bytes | None
    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class Frame:
    """Place of a picture on its slide: its top left (x, y) in level-0 px."""

    x: float = 0.0
    y: float = 0.0
    scale: float
    """Level-0 px per picture px."""

    def pixels(self, xy_level0: np.ndarray) -> np.ndarray:
        """Picture px (N, 2) float64, whole at the centre of a px, of points (N, 2) level-0
        (x, y)."""
        return (np.asarray(xy_level0, np.float64) - (self.x, self.y)) / self.scale - 0.5

    def fixed_point(self, xy_level0: np.ndarray) -> np.ndarray:
        return np.rint(self.pixels(xy_level0) * 2**SHIFT).astype(np.int32)

    def covers(self, geometries: np.ndarray, image: np.ndarray) -> np.ndarray:
        """Test which geometries may be visible in the image: (N,) bool."""
        height, width = image.shape[:2]
        low_x, low_y, high_x, high_y = shapely.bounds(geometries).reshape(-1, 4).T
        right, bottom = self.x + width * self.scale, self.y + height * self.scale
        return (high_x >= self.x) & (low_x <= right) & (high_y >= self.y) & (low_y <= bottom)


def to_grey(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)


def draw_outlines(
    image: np.ndarray, tumor: MultiPolygon, lesions: AnyLesions, frame: Frame
) -> None:
    """Draw tumour as annotated in a thick line, isolated cells in another colour, and the grown
    lesion in a thin line."""
    if isinstance(lesions, Lesions):
        grown = lesions.outlines
        for index in np.flatnonzero(frame.covers(grown, image)):
            colour = COLOURS["itc" if lesions.measures.is_itc[index] else "lesion"]
            for part in shapely.get_parts(grown[index]):
                ring = frame.fixed_point(shapely.get_coordinates(part.exterior))
                _line(image, [ring], colour, thickness=1)
    parts = np.asarray(tumor.geoms)
    if not len(parts):
        return
    parts = parts[frame.covers(parts, image)]
    labels = lesions.at(shapely.get_coordinates(shapely.point_on_surface(parts)))
    is_itc = np.append(False, lesions.measures.is_itc)[labels]
    rings = [
        [frame.fixed_point(np.asarray(ring.coords)) for ring in (part.exterior, *part.interiors)]
        for part in parts
    ]
    for part in rings:  # first, so that no halo covers a neighbour's line
        _line(image, part, COLOURS["halo"], thickness=4)
    for part, small in zip(rings, is_itc, strict=True):
        _line(image, part, COLOURS["itc" if small else "lesion"], thickness=2)


def _line(
    image: np.ndarray, rings: list[np.ndarray], colour: tuple[int, int, int], *, thickness: int
) -> None:
    cv2.polylines(image, rings, True, colour, thickness, cv2.LINE_AA, SHIFT)


def draw_detections(
    image: np.ndarray, xy: np.ndarray, matches: np.ndarray | None, frame: Frame
) -> None:
    """Draw a ring for a hit, a cross for a false positive, a square for an ignored detection or one
    that cannot be judged.

    xy is (N, 2) level-0 px, the most important first; matches (N,), a `Match` each, or None. The
    first `MOST_MARKS` in view are drawn.
    """
    points = np.rint(frame.pixels(xy).reshape(-1, 2))
    in_view = ((points >= -10) & (points < np.array(image.shape[1::-1]) + 10)).all(axis=1)
    seen = np.flatnonzero(in_view)[:MOST_MARKS].tolist()
    for rgb, thickness in ((COLOURS["halo"], 5), (COLOURS["mark"], 2)):
        for index in seen:
            x, y = points[index].astype(int).tolist()
            match = Match.IGNORED if matches is None else matches[index]
            if match == Match.HIT:
                cv2.circle(image, (x, y), 8, rgb, thickness, cv2.LINE_AA)
            elif match == Match.FALSE_POSITIVE:
                cv2.line(image, (x - 6, y - 6), (x + 6, y + 6), rgb, thickness, cv2.LINE_AA)
                cv2.line(image, (x - 6, y + 6), (x + 6, y - 6), rgb, thickness, cv2.LINE_AA)
            else:
                cv2.rectangle(image, (x - 6, y - 6), (x + 6, y + 6), rgb, thickness, cv2.LINE_AA)


def draw_square(image: np.ndarray, centre: np.ndarray, side_level0: float, frame: Frame) -> None:
    """Draw a square of that side around a point, level-0 px, in a thin line."""
    corners = centre + np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * side_level0 / 2
    for rgb, thickness in ((COLOURS["halo"], 3), (COLOURS["mark"], 1)):
        _line(image, [frame.fixed_point(corners)], rgb, thickness=thickness)


def draw_scale_bar(image: np.ndarray, *, pixel_um: float) -> None:
    """Draw the longest round length below a quarter of the width, at the bottom left."""
    height, width = image.shape[:2]
    fitting = [um for um in SCALE_BARS_UM if um / pixel_um <= width / 4]
    if not fitting:
        return
    um = fitting[-1]
    length, words = round(um / pixel_um), f"{um / 1000:g} mm" if um >= 1000 else f"{um} µm"
    _, above, wide, _ = _font().getbbox(words, anchor="ls")
    top, right = round(height - 19 + above), round(max(length, wide)) + 16
    cv2.rectangle(image, (4, top), (right, height - 5), COLOURS["halo"], cv2.FILLED)
    cv2.line(image, (10, height - 9), (10 + length, height - 9), COLOURS["mark"], 3)
    written = Image.fromarray(image)
    ImageDraw.Draw(written).text(
        (10, height - 16), words, fill=COLOURS["mark"], font=_font(), anchor="ls"
    )
    image[:] = np.asarray(written)


@cache
def _font() -> ImageFont.FreeTypeFont:
    """Matplotlib's font: cv2's and Pillow's have no µ."""
    import matplotlib

    return ImageFont.truetype(
        Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), 12
    )


def encode_jpeg(image: np.ndarray, *, most_bytes: float) -> bytes:
    """Encode RGB uint8 as JPEG of at most that many bytes, by less quality first, then by size."""
    while True:
        tries = [_jpeg(image, QUALITIES[0])]
        for quality in QUALITIES[1:]:
            if len(tries[-1]) > most_bytes:
                tries.append(_jpeg(image, quality))
        if len(tries[-1]) <= most_bytes or max(image.shape) * SHRINK < SMALLEST_PX:
            return tries[-1]
        image = cv2.resize(image, None, fx=SHRINK, fy=SHRINK, interpolation=cv2.INTER_AREA)


def _jpeg(image: np.ndarray, quality: int) -> bytes:
    done, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ValueError(f"a picture of shape {image.shape} cannot be encoded as JPEG")
    return data.tobytes()
