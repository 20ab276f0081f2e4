"""XML of annotation files: parsing without entities, and vertices as arrays."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError
from xml.sax.saxutils import quoteattr

import defusedxml
import numpy as np
from defusedxml import ElementTree

from ...storage import AnnotationError
from ..readers.units import parse_number

__all__ = ["parse", "quote", "read_vertices"]

_UNPRINTABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def parse(content: bytes, path: Path) -> Element:
    """Parse an XML file and return its root.

    Raises:
        AnnotationError: not XML, or XML with entities.
    """
    try:
        return ElementTree.fromstring(content)
    except (ParseError, ValueError, LookupError, defusedxml.DefusedXmlException) as error:
        raise AnnotationError(
            f"{path}: not an annotation in XML: {error}; export the file again"
        ) from error


def read_vertices(vertices: Iterable[Mapping[str, str]], path: Path) -> np.ndarray:
    """Read the corners of a shape: (N, 2) float64 (x, y).

    Each vertex has "X" and "Y", and in ASAP's files its position in the ring, "Order".

    Raises:
        AnnotationError: one of them is not a number.
    """

    def numbers(position: int, vertex: Mapping[str, str]) -> tuple[float, float, float]:
        try:
            order = float(vertex.get("Order", position))
            return parse_number(vertex["X"]), parse_number(vertex["Y"]), order
        except (KeyError, ValueError) as error:
            raise AnnotationError(
                f"{path}: a coordinate is not a number: {vertex}; export the file again"
            ) from error

    rows = (numbers(position, vertex) for position, vertex in enumerate(vertices))
    points = np.fromiter(rows, np.dtype((np.float64, 3)))
    return points[np.argsort(points[:, 2], kind="stable"), :2]


def quote(text: str) -> str:
    """Quote text as an XML attribute, without characters that XML cannot hold."""
    return quoteattr(_UNPRINTABLE.sub("\ufffd", text))
