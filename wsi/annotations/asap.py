"""ASAP XML: level-0 px, rings not closed, no holes: what is cut out is a polygon of another group,
painted later."""

import logging
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np
import shapely
from shapely.geometry import Polygon

from .elements import Element, printable
from .holes import without_holes
from .outline import Outline
from .shapes import Kind, polygon_of

__all__ = ["HOLE_GROUP", "ROOT", "read", "write"]

logger = logging.getLogger(__name__)

ROOT = "ASAP_Annotations"
HOLE_GROUP = "_2"
_KINDS: dict[str, Kind] = {"polygon": "polygon", "rectangle": "rectangle", "spline": "spline"}
_COLOURS = {"_0": "#F4FA58", "_1": "#F4FA58", "_2": "#64FE2E"}


def read(root: Element, path: Path) -> list[Outline]:
    """The closed shapes; dots, point sets and measurements enclose nothing and are passed over."""
    outlines = []
    for element in root.iter("Annotation"):
        name, kind = element.attributes.get("Name", ""), element.attributes.get("Type", "").lower()
        if kind not in _KINDS:
            logger.info(
                "%s: %s %r encloses nothing and is passed over", path, kind or "shape", name
            )
            continue
        lists = [child.vertices for child in element.iter("Coordinates")]
        points = np.concatenate([element.vertices, *lists])
        polygon = polygon_of(_KINDS[kind], points, path=path, name=name)
        outlines.append(
            Outline(name=name, group=element.attributes.get("PartOfGroup", ""), polygon=polygon)
        )
    return outlines


def write(outlines: Sequence[Outline]) -> bytes:
    """An ASAP file; holes are polygons of group _2, which CAMELYON16 and `read` cut out of the
    tumour.

    Where that would cut away what is drawn inside a hole, the polygon is written in pieces.
    """
    drawn, groups = [], {}
    for outline, holes in without_holes(outlines):
        drawn += _ring(outline.name, outline.group, outline.polygon)
        groups[outline.group] = None
        for number, hole in enumerate(holes):
            drawn += _ring(f"{outline.name} hole {number}", HOLE_GROUP, hole)
            groups[HOLE_GROUP] = None
    # ASAP rejects a file that uses a group it does not list.
    listed = [
        f'    <Group Name={_quoted(group)} PartOfGroup="None" Color="{_colour(group)}"><Attributes '
        "/></Group>"
        for group in groups
    ]
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>',
        f"<{ROOT}>",
        "  <Annotations>",
        *drawn,
        "  </Annotations>",
    ]
    lines += ["  <AnnotationGroups>", *listed, "  </AnnotationGroups>", f"</{ROOT}>", ""]
    return "\n".join(lines).encode()


def _ring(name: str, group: str, polygon: Polygon) -> list[str]:
    corners = shapely.get_coordinates(polygon.exterior)[:-1].tolist()
    return [
        f'    <Annotation Name={_quoted(name)} Type="Polygon" PartOfGroup={_quoted(group)} '
        f'Color="{_colour(group)}">',
        "      <Coordinates>",
        *(
            f'        <Coordinate Order="{i}" X="{x:.4f}" Y="{y:.4f}" />'
            for i, (x, y) in enumerate(corners)
        ),
        "      </Coordinates>",
        "    </Annotation>",
    ]


def _quoted(word: str) -> str:
    return quoteattr(printable(word))


def _colour(group: str) -> str:
    return _COLOURS.get(group, "#F4FA58")
