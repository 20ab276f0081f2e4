"""Hamamatsu NDPA: nm from the centre of the glass, which only the slide can convert to px."""

import logging
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np
from shapely.geometry import Polygon

from ...storage import AnnotationError
from ..readers.units import parse_number
from ..slide_frame import SlideFrame
from .elements import read_vertices
from .shapes import Outline, check_coordinates, to_polygon, trace_ellipse

__all__ = ["ROOT", "read"]

logger = logging.getLogger(__name__)

ROOT = "annotations"


def read(root: Element, path: Path, frame: SlideFrame | None) -> list[Outline]:
    """Read the closed shapes; the group is the title or, without one, the colour.

    Raises:
        AnnotationError: no frame, or one without a position on the glass.
    """
    if frame is None:
        raise AnnotationError(
            f"{path}: an NDPA file needs its slide; pass slide=, the path of the NDPI file"
        )
    scale, middle = map(np.array, frame.px_of_nm(path))
    outlines = []
    for view in root.iter("ndpviewstate"):
        unit = _text(view, "coordformat")
        if unit not in ("nanometers", ""):
            raise AnnotationError(
                f"{path}: coordinates in {unit!r}, expected nanometers; export the file from "
                "NDP.view again"
            )
        for drawn in view.iterfind("annotation"):
            name = _text(view, "title")
            polygon = _polygon(drawn, scale, middle, path=path, name=name)
            if polygon is not None:
                group = name or drawn.get("color", "")
                outlines.append(Outline(name=name, group=group, polygon=polygon))
    return outlines


def _polygon(
    drawn: Element, scale: np.ndarray, middle: np.ndarray, *, path: Path, name: str
) -> Polygon | None:
    kind = drawn.get("type", "").lower()
    if kind == "circle":
        try:
            x, y, radius = (parse_number(_text(drawn, tag)) for tag in ("x", "y", "radius"))
        except ValueError as error:
            raise AnnotationError(
                f"{path}: the circle {name!r} has no centre or radius; export the file again"
            ) from error
        centre, radii = np.array([x, y]) * scale + middle, abs(radius) * scale
        check_coordinates(np.array([centre, radii]), path=path, name=name)
        return Polygon(trace_ellipse(centre, radii))
    if kind != "freehand" or _text(drawn, "closed") == "0":
        logger.info("%s: %s %r encloses no area and is skipped", path, kind or "shape", name)
        return None
    vertices = (
        {axis.tag.upper(): axis.text or "" for axis in point}
        for point in drawn.iterfind("pointlist/point")
    )
    points = read_vertices(vertices, path) * scale + middle
    return to_polygon("polygon", points, path=path, name=name)


def _text(element: Element, tag: str) -> str:
    return element.findtext(tag, "").strip()
