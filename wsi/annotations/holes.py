"""Holes for formats that have none: rings to be cut out, or polygons cut into pieces without
holes."""

from collections.abc import Sequence

import numpy as np
import shapely
from shapely.geometry import Polygon

from .outline import Outline
from .repair import polygons_in

__all__ = ["without_holes"]


def without_holes(outlines: Sequence[Outline]) -> list[tuple[Outline, list[Polygon]]]:
    """Each outline without its holes, and the holes, which the reader will cut out of all outlines.

    A hole in which something else is drawn cannot be cut out of all: there the polygon falls into
    several pieces, cut through its holes, and the list of its holes is empty.
    """
    tree = shapely.STRtree([outline.polygon for outline in outlines])
    plain = []
    for index, outline in enumerate(outlines):
        holes = [Polygon(ring) for ring in outline.polygon.interiors]
        shell = Polygon(outline.polygon.exterior)
        met = (
            tree.query(np.array(holes, object), predicate="intersects")[1]
            if holes
            else np.zeros(0, np.int64)
        )
        if (met == index).all():
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
