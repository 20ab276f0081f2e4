"""XML as a small tree that keeps vertices as numbers, so that a million of them load in seconds."""

import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree.ElementTree import ParseError
from xml.sax.saxutils import quoteattr

import defusedxml
import numpy as np
from defusedxml.ElementTree import DefusedXMLParser

from ...storage import AnnotationError

__all__ = ["Element", "parse", "parse_number", "quote"]

_VERTICES = frozenset({"Coordinate", "Vertex", "V"})  # ASAP, ImageScope, HALO: x, y as attributes
_POINT = "point"  # NDPA: x, y as child elements
_DEEPEST = 100
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(slots=True, eq=False)
class Element:
    """One element. Its vertices are in `coordinates`, not among its children."""

    tag: str
    attributes: dict[str, str]
    children: list["Element"] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    coordinates: array = field(default_factory=lambda: array("d"))
    """x, y, x, y, …"""
    orders: array = field(default_factory=lambda: array("d"))
    """Position of each vertex in its ring, as ASAP states it."""

    @property
    def text(self) -> str:
        return "".join(self.texts).strip()

    def iter(self, tag: str) -> Iterator["Element"]:
        """Yield this element and all below it with the tag, in the file's order."""
        waiting: list[Element] = [self]
        while waiting:
            element = waiting.pop()
            if element.tag == tag:
                yield element
            waiting += reversed(element.children)

    def children_of(self, *tags: str) -> list["Element"]:
        """Find the elements at the end of a path of tags, from here down."""
        found: list[Element] = [self]
        for tag in tags:
            found = [child for element in found for child in element.children if child.tag == tag]
        return found

    def text_of(self, tag: str) -> str:
        return next((child.text for child in self.children_of(tag)), "")

    @property
    def vertices(self) -> np.ndarray:
        """(N, 2) float64 (x, y), in the file's order."""
        points = np.array(self.coordinates, np.float64).reshape(-1, 2)
        return points[np.argsort(self.orders, kind="stable")] if self.orders else points


def parse(content: bytes, path: Path) -> Element:
    """Parse an XML file and return its root.

    Raises:
        AnnotationError: not XML, XML with entities, or a vertex that is no number.
    """
    builder = _Builder(path)
    parser = DefusedXMLParser(target=builder)
    try:
        parser.feed(content)
        parser.close()
    except AnnotationError:
        raise
    except (ParseError, ValueError, LookupError, defusedxml.DefusedXmlException) as error:
        raise AnnotationError(
            f"{path}: not an annotation in XML: {error}; export the file again"
        ) from error
    return builder.root


def parse_number(text: str) -> float:
    """Parse a number, also with a decimal comma, as some programs write it. Raises ValueError."""
    try:
        return float(text)
    except ValueError:
        return float(text.replace(",", "."))


def quote(text: str) -> str:
    """Quote text as an XML attribute, without characters that XML cannot hold."""
    return quoteattr(_UNPRINTABLE.sub("\ufffd", text))


class _Builder:
    """Parser target that builds the tree of elements."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open: list[Element] = []
        self.root = Element("", {})

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag in _VERTICES and self._open:
            self._vertex(self._open[-1], attributes)
            return
        element = Element(tag, attributes)
        if self._open:
            self._open[-1].children.append(element)
        else:
            self.root = element
        self._open.append(element)
        if len(self._open) > _DEEPEST:
            raise AnnotationError(
                f"{self._path}: elements are nested over {_DEEPEST} deep; export the file again"
            )

    def end(self, tag: str) -> None:
        if tag in _VERTICES:
            return
        element = self._open.pop()
        if tag == _POINT and self._open:
            self._open[-1].children.pop()
            self._vertex(
                self._open[-1], {child.tag.upper(): child.text for child in element.children}
            )

    def data(self, text: str) -> None:
        if self._open and not text.isspace():
            self._open[-1].texts.append(text)

    def _vertex(self, owner: Element, attributes: dict[str, str]) -> None:
        try:
            x, y = parse_number(attributes["X"]), parse_number(attributes["Y"])
            owner.orders.append(float(attributes.get("Order", len(owner.orders))))
        except (KeyError, ValueError) as error:
            raise AnnotationError(
                f"{self._path}: a coordinate is not a number: {attributes}; export the file again"
            ) from error
        owner.coordinates.extend((x, y))
