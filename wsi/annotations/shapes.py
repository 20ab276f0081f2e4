"""Outlines, and the polygons of the shapes that programs store: corners, splines, ellipses.

A polygon deviates from its curve by at most `TOLERANCE_PX`.
"""

import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from shapely.geometry import Polygon

from ...storage import AnnotationError, format_count

__all__ = [
    "Kind",
    "Outline",
    "check_coordinates",
    "to_polygon",
    "trace_ellipse",
    "warn_of_open_shapes",
]

logger = logging.getLogger(__name__)

Kind = Literal["polygon", "rectangle", "ellipse", "spline"]
TOLERANCE_PX = 0.05
# Slides reach 3e5 px; a larger coordinate is damaged or has another unit.
FARTHEST_PX = 1e8
_MOST_PIECES = 256  # per span of a spline


@dataclass(frozen=True, kw_only=True)
class Outline:
    """A polygon with holes, level-0 px, with its name and its group (in QuPath: class)."""

    name: str
    group: str
    polygon: Polygon


def to_polygon(kind: Kind, points: np.ndarray, *, path: Path, name: str) -> Polygon:
    """Make the polygon of a shape from its corners, (N, 2) level-0 px; it may be invalid.

    Two to four points of an ellipse, or two of a rectangle, span the box around it. Too few points
    to enclose an area give an empty polygon and a warning.
    """
    check_coordinates(points, path=path, name=name)
    if kind in ("rectangle", "ellipse") and len(points) == 2:
        (x0, y0), (x1, y1) = points
        points = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
    if len(points) < 3:
        logger.warning("%s: outline %r has %d points and is dropped", path, name, len(points))
        return Polygon()
    if kind == "ellipse" and len(points) <= 4:
        points = trace_ellipse(
            (points.min(axis=0) + points.max(axis=0)) / 2, np.ptp(points, axis=0) / 2
        )
    if kind == "spline":
        points = _trace_spline(points)
    return Polygon(points)


def check_coordinates(points: np.ndarray, *, path: Path, name: str) -> None:
    """Refuse coordinates that lie on no slide.

    Raises:
        AnnotationError: a coordinate is not finite, or above `FARTHEST_PX`.
    """
    if not np.isfinite(points).all():
        raise AnnotationError(
            f"{path}: a coordinate of {name!r} is not finite; draw the outline again"
        )
    farthest = np.abs(points).max(initial=0)
    if farthest > FARTHEST_PX:
        raise AnnotationError(
            f"{path}: a coordinate of {name!r} is {farthest:g}, outside of any slide; give level-0 "
            "px, not nm or µm"
        )


def warn_of_open_shapes(kinds: Iterable[str], path: Path) -> None:
    """Warn of shapes with a class that enclose no area, with their numbers by kind: a person may
    mean a region."""
    counts = Counter(kinds)
    if counts:
        logger.warning(
            "%s: left out %s with a class, because they enclose no area; draw a region as a closed "
            "polygon",
            path,
            ", ".join(format_count(count, kind) for kind, count in counts.items()),
        )


def trace_ellipse(centre: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Points (N, 2) on an ellipse with axes along x and y; centre and radii are (x, y)."""
    largest = float(np.max(radii))
    step = np.arccos(1 - min(1.0, TOLERANCE_PX / largest)) if largest else 1.0
    count = max(8, 4 * int(np.ceil(np.pi / (4 * step))))
    angles = np.arange(count) * (2 * np.pi / count)
    return centre + radii * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _trace_spline(points: np.ndarray) -> np.ndarray:
    """Points on the closed centripetal Catmull-Rom curve through points (N, 2), as ASAP draws
    it."""
    # The curve is undefined between equal points.
    points = points[(points != np.roll(points, 1, axis=0)).any(axis=1)]
    if len(points) < 3:
        return points
    p1, p2 = points, np.roll(points, -1, axis=0)
    # The parameter of a centripetal curve grows by the square root of a span's length.
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
    # n chords deviate from a cubic by less than its largest second derivative, 6 × bend, over 8 n².
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
