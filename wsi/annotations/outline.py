"""One drawn shape."""

from dataclasses import dataclass

from shapely.geometry import Polygon

__all__ = ["Outline"]


@dataclass(frozen=True, kw_only=True)
class Outline:
    """A polygon with holes, level-0 px, with its name and its group (in QuPath: class)."""

    name: str
    group: str
    polygon: Polygon
