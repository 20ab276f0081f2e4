"""Aperio ImageScope XML: level-0 px, rings not closed; a negative region is cut out of its
layer."""

import logging
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import quoteattr

import shapely
from shapely.geometry import Polygon

from .elements import Element, printable
from .holes import without_holes
from .layers import Layer, group_of_layer
from .outline import Outline
from .shapes import Kind, polygon_of

__all__ = ["ROOT", "read", "write"]

logger = logging.getLogger(__name__)

ROOT = "Annotations"
_KINDS: dict[str, Kind] = {"0": "polygon", "1": "rectangle", "2": "ellipse"}
_COLOURS = (0x0000FF, 0x00FF00, 0xFF0000, 0x00FFFF, 0xFF00FF)  # B, G, R: the first is red


def read(root: Element, path: Path) -> list[Outline]:
    """The closed regions of all layers; arrows, rulers and counters enclose nothing and are passed
    over."""
    return [
        outline
        for layer in root.iter("Annotation")
        for outline in _layer(layer, path).outlines(path)
    ]


def _layer(layer: Element, path: Path) -> Layer:
    positive, negative = [], []
    group = group_of_layer(layer)
    for region in layer.children_of("Regions", "Region"):
        name = (
            region.attributes.get("Text", "")
            or f"{group} {region.attributes.get('Id', '')}".strip()
        )
        points = [child.vertices for child in region.children_of("Vertices")]
        # The type is unreliable: what has more corners than a box is a polygon.
        many = sum(map(len, points)) > 4
        kind = "polygon" if many else _KINDS.get(region.attributes.get("Type", "0"))
        if kind is None or not points:
            logger.info("%s: region %r encloses nothing and is passed over", path, name)
            continue
        polygon = polygon_of(kind, points[0], path=path, name=name)
        cuts = region.attributes.get("NegativeROA") == "1"
        (negative if cuts else positive).append(Outline(name=name, group=group, polygon=polygon))
    return Layer(positive=positive, negative=negative)


def write(outlines: Sequence[Outline]) -> bytes:
    """A layer for each group; holes are negative regions, or, where something is drawn in them,
    cuts."""
    lines = ['<?xml version="1.0" encoding="utf-8"?>', f"<{ROOT}>"]
    for number, group in enumerate(dict.fromkeys(outline.group for outline in outlines)):
        colour = _COLOURS[number % len(_COLOURS)]
        lines.append(
            f'  <Annotation Id="{number + 1}" Name={_quoted(group)} Type="4" Visible="1" '
            f'LineColor="{colour}">'
        )
        lines.append("    <Regions>")
        count = 0
        for outline, holes in without_holes(
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
        f'      <Region Id="{number}" Type="0" NegativeROA="{is_hole:d}" Text={_quoted(name)}>',
        "        <Vertices>",
        *(f'          <Vertex X="{x:.4f}" Y="{y:.4f}" Z="0" />' for x, y in corners),
        "        </Vertices>",
        "      </Region>",
    ]


def _quoted(word: str) -> str:
    return quoteattr(printable(word))
