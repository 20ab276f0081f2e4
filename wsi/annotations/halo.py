"""HALO's .annotations: XML like ImageScope's, with vertices called V, types in words, and boxes for
ellipses."""

import logging
from pathlib import Path

from .elements import Element
from .layers import Layer, group_of_layer
from .outline import Outline
from .shapes import Kind, polygon_of

__all__ = ["is_halo", "read"]

logger = logging.getLogger(__name__)

_KINDS: dict[str, Kind] = {"polygon": "polygon", "rectangle": "rectangle", "ellipse": "ellipse"}


def is_halo(root: Element) -> bool:
    """Whether a file whose root element is also ImageScope's is HALO's: there a region's type is a
    word."""
    types = {region.attributes.get("Type", "") for region in root.iter("Region")}
    return any(word.isalpha() for word in types)


def read(root: Element, path: Path) -> list[Outline]:
    """The closed regions of all layers, also of layers in layers; rulers and pins are passed
    over."""
    return [
        outline
        for layer in root.iter("Annotation")
        for outline in _layer(layer, path).outlines(path)
    ]


def _layer(layer: Element, path: Path) -> Layer:
    positive, negative = [], []
    group = group_of_layer(layer)
    for number, region in enumerate(layer.children_of("Regions", "Region")):
        name = f"{group} {number}"
        kind = _KINDS.get(region.attributes.get("Type", "").lower())
        points = [child.vertices for child in region.children_of("Vertices")]
        if kind is None or not points:
            logger.info(
                "%s: %s %r encloses nothing and is passed over",
                path,
                region.attributes.get("Type"),
                name,
            )
            continue
        polygon = polygon_of(kind, points[0], path=path, name=name)
        cuts = region.attributes.get("NegativeROA") == "1"
        (negative if cuts else positive).append(Outline(name=name, group=group, polygon=polygon))
    return Layer(positive=positive, negative=negative)
