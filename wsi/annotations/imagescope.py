"""Layers of regions, as Aperio ImageScope (XML) and HALO (.annotations) write them.

Coordinates are level-0 px, rings are not closed. A negative region is cut out of its own layer.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np
import shapely
from shapely.geometry import Polygon

from ...storage import format_count
from .elements import quote, read_vertices
from .holes import separate_holes
from .repair import polygons_in, repair
from .shapes import Kind, Outline, to_polygon

__all__ = ["ROOT", "read", "write"]

logger = logging.getLogger(__name__)

ROOT = "Annotations"
# ImageScope numbers the types of regions, HALO names them.
_KINDS: dict[str, Kind] = {
    "0": "polygon",
    "1": "rectangle",
    "2": "ellipse",
    "polygon": "polygon",
    "rectangle": "rectangle",
    "ellipse": "ellipse",
}
_COLOURS = (0x0000FF, 0x00FF00, 0xFF0000, 0x00FFFF, 0xFF00FF)  # B, G, R: the first is red


def read(root: Element, path: Path) -> list[Outline]:
    """Read the closed regions of all layers, nested ones too.

    Arrows, rulers, pins and counters are skipped. The group is the layer's name or, without one,
    its colour as #rrggbb, so that --groups can name it.
    """
    outlines = []
    for layer in root.iter("Annotation"):
        group = layer.get("Name", "").strip() or _colour(layer.get("LineColor", ""))
        positive, negative = [], []
        for number, region in enumerate(layer.iterfind("Regions/Region")):
            name = region.get("Text") or f"{group} {region.get('Id', number)}"
            points = read_vertices(
                (vertex.attrib for vertex in region.iterfind("Vertices/*")), path
            )
            kind = _kind(region.get("Type", "0").lower(), len(points))
            if kind is None:
                logger.info("%s: region %r encloses no area and is skipped", path, name)
                continue
            outline = Outline(
                name=name, group=group, polygon=to_polygon(kind, points, path=path, name=name)
            )
            (negative if region.get("NegativeROA") == "1" else positive).append(outline)
        outlines += _cut(repair(positive, path), repair(negative, path), path)
    return outlines


def _kind(stated: str, vertices: int) -> Kind | None:
    # ImageScope's number is unreliable: a region with more corners than a box is a polygon.
    return "polygon" if vertices > 4 and not stated.isalpha() else _KINDS.get(stated)


def _colour(number: str) -> str:
    """Convert LineColor, which is R + 256 G + 65 536 B, to #rrggbb; empty if it is no number."""
    try:
        red, green, blue, _ = (int(number) & 0xFFFFFFFF).to_bytes(4, "little")
    except ValueError:
        return ""
    return f"#{red:02x}{green:02x}{blue:02x}"


def _cut(positive: list[Outline], negative: list[Outline], path: Path) -> list[Outline]:
    """The positive outlines with the negative ones as their holes; a warning tells those that are
    no hole."""
    used: set[int] = set()
    holes = np.array([outline.polygon for outline in negative], object)
    tree = shapely.STRtree(holes)
    cut = []
    for outline in positive:
        near = tree.query(outline.polygon, predicate="intersects")
        used.update(near.tolist())
        parts = _subtract(outline.polygon, holes[near]) if len(near) else [outline.polygon]
        cut += [Outline(name=outline.name, group=outline.group, polygon=part) for part in parts]
    lone = [one for i, one in enumerate(negative) if i not in used and not one.polygon.is_empty]
    if lone:
        logger.warning(
            "%s: left out %s of layer %r, because no positive region of this layer is there; to "
            "use them, draw them as positive ones, or cut them out in the layer of the tumour",
            path,
            format_count(len(lone), "negative region"),
            lone[0].group,
        )
    return cut


def _subtract(polygon: Polygon, holes: np.ndarray) -> list[Polygon]:
    # Holes that lie inside become rings as they are, so that no vertex moves or changes its place.
    rings = [ring for part in (polygon, *holes) for ring in part.interiors]
    whole = Polygon(polygon.exterior, rings + [hole.exterior for hole in holes])
    if whole.is_valid and whole.area > 0:
        return [whole]
    return list(polygons_in(shapely.difference(polygon, shapely.union_all(holes))).geoms)


def write(outlines: Sequence[Outline]) -> bytes:
    """Write a layer per group, with holes as negative regions; see `separate_holes`."""
    lines = ['<?xml version="1.0" encoding="utf-8"?>', f"<{ROOT}>"]
    for number, group in enumerate(dict.fromkeys(outline.group for outline in outlines)):
        colour = _COLOURS[number % len(_COLOURS)]
        lines.append(
            f'  <Annotation Id="{number + 1}" Name={quote(group)} Type="4" Visible="1" '
            f'LineColor="{colour}">'
        )
        lines.append("    <Regions>")
        count = 0
        for outline, holes in separate_holes(
            [outline for outline in outlines if outline.group == group]
        ):
            for polygon in (outline.polygon, *holes):
                count += 1
                lines += _region(
                    polygon, name=outline.name, number=count, is_hole=polygon is not outline.polygon
                )
        lines += ["    </Regions>", "  </Annotation>"]
    return "\n".join([*lines, f"</{ROOT}>", ""]).encode()


def _region(polygon: Polygon, *, name: str, number: int, is_hole: bool) -> list[str]:
    corners = shapely.get_coordinates(polygon.exterior)[:-1].tolist()
    return [
        f'      <Region Id="{number}" Type="0" NegativeROA="{is_hole:d}" Text={quote(name)}>',
        "        <Vertices>",
        *(f'          <Vertex X="{x:.4f}" Y="{y:.4f}" Z="0" />' for x, y in corners),
        "        </Vertices>",
        "      </Region>",
    ]
