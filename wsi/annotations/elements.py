"""XML as a small tree in which vertices are numbers: a million of them fit in memory and are read
in seconds."""

import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree.ElementTree import ParseError

import defusedxml
import numpy as np
from defusedxml.ElementTree import DefusedXMLParser

from ...storage import AnnotationError

__all__ = ["Element", "number", "parse", "printable"]

_VERTICES = frozenset(
    {"Coordinate", "Vertex", "V"}
)  # ASAP, ImageScope, HALO: x and y are attributes
_POINT = "point"  # NDPA: x and y are elements in it
_DEEPEST = 100
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(slots=True, eq=False)
class Element:
    """One element; its vertices are in `coordinates` and not among its children."""

    tag: str
    attributes: dict[str, str]
    children: list["Element"] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    coordinates: array = field(default_factory=lambda: array("d"))
    """x, y, x, y, …"""
    orders: array = field(default_factory=lambda: array("d"))
    """Of ASAP's vertices: where in the ring each belongs."""

    @property
    def text(self) -> str:
        return "".join(self.words).strip()

    def iter(self, tag: str) -> Iterator["Element"]:
        """This element and all below it that have the tag, in the file's order."""
        waiting: list[Element] = [self]
        while waiting:
            element = waiting.pop()
            if element.tag == tag:
                yield element
            waiting += reversed(element.children)

    def children_of(self, *tags: str) -> list["Element"]:
        """The elements at the end of a path of tags, from here down."""
        found: list[Element] = [self]
        for tag in tags:
            found = [child for element in found for child in element.children if child.tag == tag]
        return found

    def text_of(self, tag: str) -> str:
        return next((child.text for child in self.children_of(tag)), "")

    @property
    def vertices(self) -> np.ndarray:
        """(N, 2) float64 (x, y), in the order that the file gives them."""
        points = np.array(self.coordinates, np.float64).reshape(-1, 2)
        return points[np.argsort(self.orders, kind="stable")] if self.orders else points


def parse(content: bytes, path: Path) -> Element:
    """The root of an XML file.

    Raises:
        AnnotationError: not XML, entities in it, or a vertex that is no number.
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
            f"{path}: not an annotation in XML: {error}; export it again"
        ) from error
    return builder.root


def number(word: str) -> float:
    """A number whose decimal sign may be a comma, as some programs write it; ValueError where it is
    none."""
    try:
        return float(word)
    except ValueError:
        return float(word.replace(",", "."))


def printable(word: str) -> str:
    """A word without the characters that XML cannot hold."""
    return _UNPRINTABLE.sub("\ufffd", word)


class _Builder:
    """What the parser tells, as elements."""

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
                f"{self._path}: elements nested more than {_DEEPEST} deep; export it again"
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

    def data(self, words: str) -> None:
        if self._open and not words.isspace():
            self._open[-1].words.append(words)

    def _vertex(self, owner: Element, attributes: dict[str, str]) -> None:
        try:
            x, y = number(attributes["X"]), number(attributes["Y"])
            owner.orders.append(float(attributes.get("Order", len(owner.orders))))
        except (KeyError, ValueError) as error:
            raise AnnotationError(
                f"{self._path}: a coordinate is not a number: {attributes}"
            ) from error
        owner.coordinates.extend((x, y))
