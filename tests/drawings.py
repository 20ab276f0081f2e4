"""Shapes that the tests of annotations share, and ways to measure them that are not shapely's."""

from io import BytesIO
from itertools import pairwise

import numpy as np
import tifffile
from gigaslide.wsi import Outline
from shapely.geometry import Polygon

SQUARE = [(100.0, 40.0), (300.0, 40.0), (300.0, 90.0), (100.0, 90.0)]
INNER = [(150.0, 50.0), (180.0, 50.0), (180.0, 80.0), (150.0, 80.0)]
RING = {"type": "Polygon", "coordinates": [[*SQUARE, SQUARE[0]], [*INNER, INNER[0]]]}
NEW = {
    "objectType": "annotation",
    "classification": {"name": "Tumor", "color": [200, 0, 0]},
    "isLocked": False,
}


def shoelace(ring) -> float:
    """Area of a ring by its corners."""
    return abs(sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in pairwise([*ring, ring[0]]))) / 2


def outline(shell, *holes, group: str = "_0", name: str = "a") -> Outline:
    return Outline(name=name, group=group, polygon=Polygon(shell, holes))


def corners(polygon) -> np.ndarray:
    return np.concatenate(
        [np.asarray(ring.coords) for ring in (polygon.exterior, *polygon.interiors)]
    )


def feature(geometry: dict | None, **properties) -> dict:
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def mask_bytes() -> bytes:
    """A mask of two tiles as it lies on disk."""
    labels = np.zeros((80, 100), np.uint8)
    labels[7:40, 11:70] = 1
    labels[20:30, 30:60] = 2
    file = BytesIO()
    tifffile.imwrite(file, labels, tile=(80, 64), compression="deflate")
    return file.getvalue()
