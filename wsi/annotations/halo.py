"""HALO's .annotations: XML like ImageScope's, with vertices named V and region types as words."""

from pathlib import Path

from .elements import Element
from .layers import read_layers
from .outline import Outline
from .shapes import Kind

__all__ = ["is_halo", "read"]

_KINDS: dict[str, Kind] = {"polygon": "polygon", "rectangle": "rectangle", "ellipse": "ellipse"}


def is_halo(root: Element) -> bool:
    """Tell HALO's files from ImageScope's, whose region types are numbers."""
    types = {region.attributes.get("Type", "") for region in root.iter("Region")}
    return any(word.isalpha() for word in types)


def read(root: Element, path: Path) -> list[Outline]:
    """Read the closed regions of all layers, nested ones too; rulers and pins are skipped."""
    return read_layers(root, path, kind_of=_kind, name_of=_name)


def _kind(region: Element, _vertices: int) -> Kind | None:
    return _KINDS.get(region.attributes.get("Type", "").lower())


def _name(_region: Element, group: str, number: int) -> str:
    return f"{group} {number}"
