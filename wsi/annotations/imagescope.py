"""Aperio ImageScope XML: level-0 px, rings not closed, layers with negative regions."""

from collections.abc import Sequence
from pathlib import Path

import shapely
from shapely.geometry import Polygon

from .elements import Element, quote
from .holes import separate_holes
from .layers import read_layers
from .outline import Outline
from .shapes import Kind

__all__ = ["ROOT", "read", "write"]

ROOT = "Annotations"
_KINDS: dict[str, Kind] = {"0": "polygon", "1": "rectangle", "2": "ellipse"}
_COLOURS = (0x0000FF, 0x00FF00, 0xFF0000, 0x00FFFF, 0xFF00FF)  # B, G, R: the first is red


def read(root: Element, path: Path) -> list[Outline]:
    """Read the closed regions of all layers; arrows, rulers and counters are skipped."""
    return read_layers(root, path, kind_of=_kind, name_of=_name)


def _kind(region: Element, vertices: int) -> Kind | None:
    # The stated type is unreliable: a region with more corners than a box is a polygon.
    return "polygon" if vertices > 4 else _KINDS.get(region.attributes.get("Type", "0"))


def _name(region: Element, group: str, _number: int) -> str:
    text = region.attributes.get("Text", "")
    return text or f"{group} {region.attributes.get('Id', '')}".strip()


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
