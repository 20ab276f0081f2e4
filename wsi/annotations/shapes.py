"""Rings from what programs store of shapes: corners, points of a spline, boxes around ellipses.

Curves become polygons that leave them by at most `TOLERANCE_PX`.
"""

import logging
from pathlib import Path
from typing import Literal

import numpy as np
from shapely.geometry import Polygon

from ...storage import AnnotationError

__all__ = [
    "FARTHEST_PX",
    "TOLERANCE_PX",
    "Kind",
    "check_coordinates",
    "ellipse",
    "polygon_of",
    "spline",
]

logger = logging.getLogger(__name__)

Kind = Literal["polygon", "rectangle", "ellipse", "spline"]
TOLERANCE_PX = 0.05
# slides reach 3e5; farther out are other units or damage, and arithmetic that loses the decimals
FARTHEST_PX = 1e8
_MOST_PIECES = 256  # of one span of a spline


def polygon_of(kind: Kind, points: np.ndarray, *, path: Path, name: str) -> Polygon:
    """The polygon of a shape, not yet valid; points (N, 2) are its corners, level-0 px.

    Two to four points of an ellipse, or two of a rectangle, span the box around it. An empty one,
    and a warning, where there are too few points to enclose anything.
    """
    check_coordinates(points, path=path, name=name)
    if kind in ("rectangle", "ellipse") and len(points) == 2:
        (x0, y0), (x1, y1) = points
        points = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
    if len(points) < 3:
        logger.warning("%s: outline %r has %d points and is left out", path, name, len(points))
        return Polygon()
    if kind == "ellipse" and len(points) <= 4:
        points = ellipse((points.min(axis=0) + points.max(axis=0)) / 2, np.ptp(points, axis=0) / 2)
    if kind == "spline":
        points = spline(points)
    return Polygon(points)


def check_coordinates(points: np.ndarray, *, path: Path, name: str) -> None:
    """Refuse what lies on no slide.

    Raises:
        AnnotationError: a coordinate that is not finite, or farther out than `FARTHEST_PX`.
    """
    if not np.isfinite(points).all():
        raise AnnotationError(f"{path}: a coordinate of {name!r} is not finite; draw it again")
    farthest = np.abs(points).max(initial=0)
    if farthest > FARTHEST_PX:
        raise AnnotationError(
            f"{path}: a coordinate of {name!r} is {farthest:g}, which lies on no slide; "
            "coordinates are level-0 px, not nm or µm"
        )


def ellipse(centre: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Points (N, 2) on an ellipse whose axes are x and y; centre and radii are (x, y)."""
    largest = float(np.max(radii))
    step = np.arccos(1 - min(1.0, TOLERANCE_PX / largest)) if largest else 1.0
    count = max(8, 4 * int(np.ceil(np.pi / (4 * step))))
    angles = np.arange(count) * (2 * np.pi / count)
    return centre + radii * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def spline(points: np.ndarray) -> np.ndarray:
    """The closed centripetal Catmull-Rom curve through points (N, 2), which is what ASAP draws."""
    points = points[
        (points != np.roll(points, 1, axis=0)).any(axis=1)
    ]  # it knows no span of no length
    if len(points) < 3:
        return points
    p1, p2 = points, np.roll(points, -1, axis=0)
    # The square root of a span's length is how long the curve takes over it.
    span = np.sqrt(np.linalg.norm(p2 - p1, axis=1))[:, None]
    before, after = np.roll(span, 1, axis=0), np.roll(span, -1, axis=0)
    p0, p3 = np.roll(points, 1, axis=0), np.roll(points, -2, axis=0)
    control1 = (
        before**2 * p2 - span**2 * p0 + (2 * before**2 + 3 * before * span + span**2) * p1
    ) / (3 * before * (before + span))
    control2 = (after**2 * p1 - span**2 * p3 + (2 * after**2 + 3 * after * span + span**2) * p2) / (
        3 * after * (after + span)
    )
    bend = np.maximum(
        np.linalg.norm(p1 - 2 * control1 + control2, axis=1),
        np.linalg.norm(control1 - 2 * control2 + p2, axis=1),
    )
    # n chords leave a cubic by less than its largest second derivative, 6 × bend, over 8 n².
    pieces = np.clip(np.ceil(np.sqrt(6 * bend / (8 * TOLERANCE_PX))), 1, _MOST_PIECES).astype(
        np.int64
    )
    which = np.repeat(np.arange(len(points)), pieces)
    t = (np.arange(len(which)) - np.repeat(np.cumsum(pieces) - pieces, pieces)) / pieces[which]
    t = t[:, None]
    return (
        (1 - t) ** 3 * p1[which]
        + 3 * (1 - t) ** 2 * t * control1[which]
        + 3 * (1 - t) * t**2 * control2[which]
        + t**3 * p2[which]
    )
