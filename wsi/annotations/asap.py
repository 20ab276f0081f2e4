"""ASAP XML: level-0 px, rings not closed. It has no holes; a cut-out is a polygon of another group,
painted later."""

import logging
from collections.abc import Sequence
from pathlib import Path
from xml.etree.ElementTree import Element

import shapely
from shapely.geometry import Polygon

from .elements import quote, read_vertices
from .holes import separate_holes
from .shapes import Kind, Outline, to_polygon, warn_of_open_shapes

__all__ = ["HOLE_GROUP", "ROOT", "read", "write"]

logger = logging.getLogger(__name__)

ROOT = "ASAP_Annotations"
HOLE_GROUP = "_2"
_KINDS: dict[str, Kind] = {"polygon": "polygon", "rectangle": "rectangle", "spline": "spline"}
_COLOURS = {"_0": "#F4FA58", "_1": "#F4FA58", "_2": "#64FE2E"}


def read(root: Element, path: Path) -> list[Outline]:
    """Read the closed shapes; dots, point sets and measurements enclose no area and are left out,
    with a warning where they have a group."""
    outlines, left_out = [], []
    for element in root.iter("Annotation"):
        name, kind = element.get("Name", ""), element.get("Type", "").lower()
        group = element.get("PartOfGroup", "")
        if kind not in _KINDS:
            logger.info("%s: %s %r encloses no area and is skipped", path, kind or "shape", name)
            left_out += [kind or "shape"] * (group.casefold() not in ("", "none"))
            continue
        points = read_vertices((vertex.attrib for vertex in element.iter("Coordinate")), path)
        polygon = to_polygon(_KINDS[kind], points, path=path, name=name)
        outlines.append(Outline(name=name, group=group, polygon=polygon))
    warn_of_open_shapes(left_out, path)
    return outlines


def write(outlines: Sequence[Outline], dots: Sequence[tuple[str, float, float]] = ()) -> bytes:
    """Write an ASAP file with holes as polygons of group _2, which CAMELYON16 and `read` cut out of
    the tumour. dots: (name, x, y), level-0 px, of no group.

    See `separate_holes` for outlines inside holes.
    """
    drawn, groups = [], {}
    for outline, holes in separate_holes(outlines):
        drawn += _ring(outline.name, outline.group, outline.polygon)
        groups[outline.group] = None
        for number, hole in enumerate(holes):
            drawn += _ring(f"{outline.name} hole {number}", HOLE_GROUP, hole)
            groups[HOLE_GROUP] = None
    for name, x, y in dots:
        drawn += _shape(name, "Dot", "None", [(x, y)])
    # ASAP rejects a file that uses a group without listing it.
    listed = [
        f'    <Group Name={quote(group)} PartOfGroup="None" Color="{_colour(group)}"><Attributes '
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
    return _shape(name, "Polygon", group, corners)


def _shape(name: str, kind: str, group: str, corners: Sequence[tuple[float, float]]) -> list[str]:
    return [
        f'    <Annotation Name={quote(name)} Type="{kind}" PartOfGroup={quote(group)} '
        f'Color="{_colour(group)}">',
        "      <Coordinates>",
        *(
            f'        <Coordinate Order="{i}" X="{x:.4f}" Y="{y:.4f}" />'
            for i, (x, y) in enumerate(corners)
        ),
        "      </Coordinates>",
        "    </Annotation>",
    ]


def _colour(group: str) -> str:
    return _COLOURS.get(group, "#F4FA58")
