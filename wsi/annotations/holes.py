"""Outlines for formats without holes: holes as polygons of their own, or polygons cut into
pieces."""

from collections.abc import Sequence

import numpy as np
import shapely
from shapely.geometry import Polygon

from .repair import polygons_in
from .shapes import Outline

__all__ = ["separate_holes"]


def separate_holes(outlines: Sequence[Outline]) -> list[tuple[Outline, list[Polygon]]]:
    """Return each outline without its holes, and its holes, which a reader cuts out of all
    outlines.

    If another outline lies in a hole, cutting would remove it. Then the polygon is cut through its
    holes into several pieces, and its list of holes is empty.
    """
    tree = shapely.STRtree([outline.polygon for outline in outlines])
    plain = []
    for index, outline in enumerate(outlines):
        holes = [Polygon(ring) for ring in outline.polygon.interiors]
        shell = Polygon(outline.polygon.exterior)
        met = tree.query(np.array(holes, object), predicate="intersects")[1] if holes else []
        if all(other == index for other in met):
            plain.append((Outline(name=outline.name, group=outline.group, polygon=shell), holes))
        else:
            plain += [
                (Outline(name=outline.name, group=outline.group, polygon=piece), [])
                for piece in _pieces(outline.polygon)
            ]
    return plain


def _pieces(polygon: Polygon) -> list[Polygon]:
    waiting, done = [polygon], []
    while waiting:
        piece = waiting.pop()
        if not piece.interiors:
            done.append(piece)
            continue
        hole = piece.interiors[len(piece.interiors) // 2]
        x = (hole.bounds[0] + hole.bounds[2]) / 2
        left, top, right, bottom = piece.bounds
        for half in (shapely.box(left, top, x, bottom), shapely.box(x, top, right, bottom)):
            waiting += polygons_in(shapely.intersection(piece, half)).geoms
    return done
