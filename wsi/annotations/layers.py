"""Layers of regions, as ImageScope and HALO write them.

A negative region is cut out of its own layer.
"""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import shapely
from shapely.geometry import Polygon

from .elements import Element
from .outline import Outline
from .repair import polygons_in, repair
from .shapes import Kind, to_polygon

__all__ = ["group_of_layer", "layer_colour", "read_layers"]

logger = logging.getLogger(__name__)


def read_layers(
    root: Element,
    path: Path,
    *,
    kind_of: Callable[[Element, int], Kind | None],
    name_of: Callable[[Element, str, int], str],
) -> list[Outline]:
    """Read the closed regions of all layers, nested ones too.

    kind_of takes a region and its number of vertices and gives None for a shape that encloses no
    area; name_of takes a region, its group and its number in the layer.
    """
    outlines = []
    for layer in root.iter("Annotation"):
        group = group_of_layer(layer)
        positive, negative = [], []
        for number, region in enumerate(layer.children_of("Regions", "Region")):
            name = name_of(region, group, number)
            points = [child.vertices for child in region.children_of("Vertices")]
            kind = kind_of(region, sum(map(len, points)))
            if kind is None or not points:
                logger.info("%s: region %r encloses no area and is skipped", path, name)
                continue
            polygon = to_polygon(kind, points[0], path=path, name=name)
            is_negative = region.attributes.get("NegativeROA") == "1"
            (negative if is_negative else positive).append(
                Outline(name=name, group=group, polygon=polygon)
            )
        outlines += _cut(repair(positive, path), repair(negative, path))
    return outlines


def _cut(positive: list[Outline], negative: list[Outline]) -> list[Outline]:
    """The positive outlines with the negative ones as their holes."""
    if not negative:
        return positive
    holes = np.array([outline.polygon for outline in negative], object)
    tree = shapely.STRtree(holes)
    cut = []
    for outline in positive:
        near = tree.query(outline.polygon, predicate="intersects")
        parts = _subtract(outline.polygon, holes[near]) if len(near) else [outline.polygon]
        cut += [Outline(name=outline.name, group=outline.group, polygon=part) for part in parts]
    return cut


def _subtract(polygon: Polygon, holes: np.ndarray) -> list[Polygon]:
    # Holes that lie inside become rings as they are, so that no vertex moves or changes its place.
    rings = [ring for part in (polygon, *holes) for ring in part.interiors]
    whole = Polygon(polygon.exterior, rings + [hole.exterior for hole in holes])
    if whole.is_valid and whole.area > 0:
        return [whole]
    return list(polygons_in(shapely.difference(polygon, shapely.union_all(holes))).geoms)


def group_of_layer(layer: Element) -> str:
    """The layer's name or, without one, its colour as #rrggbb, so that --groups can name it."""
    name = layer.attributes.get("Name", "").strip()
    return name or layer_colour(layer.attributes.get("LineColor", ""))


def layer_colour(number: str) -> str:
    """Convert LineColor, which is R + 256 G + 65 536 B, to #rrggbb; empty if it is no number."""
    try:
        colour = int(number)
    except ValueError:
        return ""
    red, green, blue = colour & 255, colour >> 8 & 255, colour >> 16 & 255
    return f"#{red:02x}{green:02x}{blue:02x}"
