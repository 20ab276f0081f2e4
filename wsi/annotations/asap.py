"""ASAP XML: level-0 px, rings not closed, no holes: what is cut out is a polygon of another group, painted later."""

import logging
import math
from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree

import defusedxml
from defusedxml.ElementTree import fromstring
from shapely.geometry import Polygon

from ..errors import AnnotationError
from .outline import Outline

__all__ = ["read", "write"]

logger = logging.getLogger(__name__)

_CLOSED = {"polygon", "spline", "rectangle"}
_COLOURS = {"_0": "#F4FA58", "_1": "#F4FA58", "_2": "#64FE2E"}
HOLE_GROUP = "_2"


def read(content: bytes, path: Path) -> list[Outline]:
    """The closed shapes of an ASAP file; dots, point sets and measurements enclose nothing and are passed over.

    Raises:
        AnnotationError: not XML, another kind of XML, entities in it, or a coordinate that is no number.
    """
    try:
        root = fromstring(content)
    except (ElementTree.ParseError, ValueError, LookupError, defusedxml.DefusedXmlException) as error:
        raise AnnotationError(f"{path}: not an ASAP annotation: {error!r}; export it from ASAP again") from error
    if root.tag != "ASAP_Annotations":
        raise AnnotationError(f"{path}: the root element is <{root.tag}>, expected <ASAP_Annotations>")
    outlines = []
    for element in root.iter("Annotation"):
        name, kind = element.get("Name", ""), element.get("Type", "").lower()
        if kind not in _CLOSED:
            logger.info("%s: %s %r encloses nothing and is passed over", path, kind or "shape", name)
            continue
        points = _points(element, path)
        if len(points) < 3:
            logger.warning("%s: outline %r has %d points and is left out", path, name, len(points))
            continue
        outlines.append(Outline(name=name, group=element.get("PartOfGroup", ""), polygon=Polygon(points)))
    return outlines


def _points(element: ElementTree.Element, path: Path) -> list[tuple[float, float]]:
    points = []
    for position, c in enumerate(element.iter("Coordinate")):
        try:
            order = float(c.get("Order", position))
            # Some files were written where the decimal sign is a comma.
            x, y = (float(c.attrib[axis].replace(",", ".")) for axis in "XY")
        except (KeyError, ValueError) as error:
            raise AnnotationError(
                f"{path}: a coordinate of {element.get('Name')!r} is not a number: {c.attrib}"
            ) from error
        if not (math.isfinite(x) and math.isfinite(y)):
            raise AnnotationError(f"{path}: a coordinate of {element.get('Name')!r} is not finite: {c.attrib}")
        points.append((order, x, y))
    points.sort(key=lambda point: point[0])
    return [(x, y) for _, x, y in points]


def write(outlines: Iterable[Outline]) -> bytes:
    """An ASAP file; holes are written as polygons of group _2, which CAMELYON16 and `read` cut out of the tumour."""
    root = ElementTree.Element("ASAP_Annotations")
    annotations = ElementTree.SubElement(root, "Annotations")
    groups: dict[str, None] = {}
    rings = []
    for outline in outlines:
        rings.append((outline.name, outline.group, outline.polygon.exterior))
        rings += [(f"{outline.name} hole {i}", HOLE_GROUP, hole) for i, hole in enumerate(outline.polygon.interiors)]
    for name, group, ring in rings:
        groups[group] = None
        _write_ring(annotations, name, group, ring)
    # ASAP rejects a file that uses a group it does not list.
    listed = ElementTree.SubElement(root, "AnnotationGroups")
    for group in groups:
        element = ElementTree.SubElement(listed, "Group", Name=group, PartOfGroup="None", Color=_colour(group))
        ElementTree.SubElement(element, "Attributes")
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)


def _write_ring(parent: ElementTree.Element, name: str, group: str, ring) -> None:
    attributes = {"Name": name, "Type": "Polygon", "PartOfGroup": group, "Color": _colour(group)}
    coordinates = ElementTree.SubElement(ElementTree.SubElement(parent, "Annotation", attributes), "Coordinates")
    for order, (x, y) in enumerate(list(ring.coords)[:-1]):
        ElementTree.SubElement(coordinates, "Coordinate", Order=str(order), X=f"{x:.4f}", Y=f"{y:.4f}")


def _colour(group: str) -> str:
    return _COLOURS.get(group, "#F4FA58")
