"""Layers of regions, as ImageScope and HALO have them: negative regions are cut out of their own
layer."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely
from shapely.geometry import Polygon

from .elements import Element
from .outline import Outline
from .repair import polygons_in, repaired

__all__ = ["Layer", "group_of_layer", "layer_colour"]


@dataclass(frozen=True, kw_only=True)
class Layer:
    """What is drawn in one layer, and what is drawn to be cut out of it."""

    positive: list[Outline]
    negative: list[Outline]

    def outlines(self, path: Path) -> list[Outline]:
        """The positive regions less the negative ones, which become their holes."""
        drawn, cut = repaired(self.positive, path), repaired(self.negative, path)
        if not cut:
            return drawn
        holes = np.array([outline.polygon for outline in cut], object)
        tree = shapely.STRtree(holes)
        left = []
        for outline in drawn:
            near = tree.query(outline.polygon, predicate="intersects")
            rest = _less(outline.polygon, holes[near]) if len(near) else [outline.polygon]
            left += [Outline(name=outline.name, group=outline.group, polygon=part) for part in rest]
        return left


def _less(polygon: Polygon, holes: np.ndarray) -> list[Polygon]:
    # Holes that lie inside are taken as they are, so that no vertex moves and none changes its
    # place.
    rings = [ring for part in (polygon, *holes) for ring in part.interiors] + [
        hole.exterior for hole in holes
    ]
    whole = Polygon(polygon.exterior, rings)
    if whole.is_valid and whole.area > 0:
        return [whole]
    return list(polygons_in(shapely.difference(polygon, shapely.union_all(holes))).geoms)


def group_of_layer(layer: Element) -> str:
    """The layer's name; where it has none, its colour as #rrggbb, so that a table of groups can
    still name it."""
    name = layer.attributes.get("Name", "").strip()
    return name or layer_colour(layer.attributes.get("LineColor", ""))


def layer_colour(number: str) -> str:
    """LineColor, which is R + 256 G + 65 536 B, as #rrggbb; empty where it is no number."""
    try:
        colour = int(number)
    except ValueError:
        return ""
    red, green, blue = colour & 255, colour >> 8 & 255, colour >> 16 & 255
    return f"#{red:02x}{green:02x}{blue:02x}"
