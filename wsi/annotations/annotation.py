"""Polygons drawn on a slide, what their groups mean, and the tumour they add up to. Level-0 px throughout."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import shapely
from shapely.geometry import MultiPolygon, Polygon

from ..errors import AnnotationError
from ..outputs import whole_file
from . import asap, geojson
from .outline import Outline

__all__ = ["DEFAULT_GROUPS", "Annotation", "GroupMeaning", "Outline"]

logger = logging.getLogger(__name__)

GroupMeaning = Literal["tumor", "exclusion", "other"]

# CAMELYON16: _0 and _1 tumour, _2 cut out of it. CAMELYON17: metastases, normal. QuPath's own class names.
_MEANINGS: dict[GroupMeaning, tuple[str, ...]] = {
    "tumor": ("_0", "_1", "tumor", "tumour", "metastases", "metastasis", "carcinoma", "cancer", "lesion"),
    "exclusion": ("_2", "exclusion", "exclude", "hole", "ignore*"),
    "other": ("normal", "none", "other", "stroma", "tissue", "region*", "necrosis", "immune cells", ""),
}
DEFAULT_GROUPS: Mapping[str, GroupMeaning] = MappingProxyType(
    {name: meaning for meaning, names in _MEANINGS.items() for name in names}
)
_FORMATS = {".xml": asap, ".geojson": geojson, ".json": geojson}


@dataclass(frozen=True, kw_only=True)
class Annotation:
    """Everything drawn on one slide; groups says what each group's name means (matched without regard to case)."""

    outlines: tuple[Outline, ...]
    groups: Mapping[str, GroupMeaning] = field(default_factory=lambda: dict(DEFAULT_GROUPS))

    @cached_property
    def tumor(self) -> MultiPolygon:
        """Tumour groups less exclusions, level-0 px; empty where none is drawn."""
        drawn = shapely.union_all([o.polygon for o in self.outlines if self._meaning(o) == "tumor"])
        cut = shapely.union_all([o.polygon for o in self.outlines if self._meaning(o) == "exclusion"])
        return _polygons(drawn.difference(cut))

    def _meaning(self, outline: Outline) -> GroupMeaning:
        return self.groups[outline.group.casefold()]

    @classmethod
    def load(cls, path: Path, *, groups: Mapping[str, GroupMeaning] = DEFAULT_GROUPS) -> "Annotation":
        """Read ASAP XML (.xml) or QuPath GeoJSON (.geojson, .json).

        Polygons that cross themselves are repaired, and the change in area is logged.

        Raises:
            AnnotationError: not such a file, or a group that `groups` does not know; the message lists the groups.
        """
        if path.suffix.lower() not in _FORMATS:
            raise AnnotationError(
                f"{path}: an annotation is .xml (ASAP), .geojson or .json (QuPath), not {path.suffix!r}"
            )
        try:
            content = path.read_bytes()
        except OSError as error:
            raise AnnotationError(f"{path}: cannot be read: {error}; check the cohort's annotation column") from error
        if not content.strip():
            raise AnnotationError(f"{path}: the annotation file is empty; export it again")
        outlines = tuple(
            o for found in _FORMATS[path.suffix.lower()].read(content, path) for o in _repaired(found, path)
        )
        known: dict[str, GroupMeaning] = {name.casefold(): meaning for name, meaning in groups.items()}
        unknown = sorted({o.group for o in outlines if o.group.casefold() not in known})
        if unknown:
            found = sorted({o.group for o in outlines})
            raise AnnotationError(
                f"{path}: unknown group {', '.join(map(repr, unknown))} (groups found: {', '.join(map(repr, found))}); "
                "say what it means with --groups, for example --groups.NAME tumor"
            )
        return cls(outlines=outlines, groups=known)

    def save(self, path: Path) -> None:
        """Write ASAP XML or QuPath GeoJSON, by the suffix; holes become what the format has for them."""
        writer = _FORMATS.get(path.suffix.lower())
        if writer is None:
            raise AnnotationError(f"{path}: write annotations as .xml (ASAP) or .geojson (QuPath)")
        content = writer.write(self.outlines)
        with whole_file(path) as partial:
            partial.write_bytes(content)


def _repaired(outline: Outline, path: Path) -> list[Outline]:
    polygon = outline.polygon
    if polygon.is_valid:
        return [outline] if polygon.area > 0 else _dropped(outline, path)
    parts = _polygons(shapely.make_valid(polygon)).geoms
    area = sum(part.area for part in parts)
    # Hand-drawn outlines touch themselves all the time; only a change that matters deserves a warning.
    level = logging.WARNING if abs(area - polygon.area) > 0.01 * max(area, polygon.area) else logging.INFO
    logger.log(level, "%s: outline %r crossed itself: area %.0f → %.0f px²", path, outline.name, polygon.area, area)
    if not area:
        return _dropped(outline, path)
    return [Outline(name=outline.name, group=outline.group, polygon=part) for part in parts]


def _dropped(outline: Outline, path: Path) -> list[Outline]:
    logger.warning("%s: outline %r has no area and is left out", path, outline.name)
    return []


def _polygons(geometry) -> MultiPolygon:
    parts = shapely.get_parts(geometry) if geometry is not None else []
    flat = [p for part in parts for p in shapely.get_parts(part)]
    return MultiPolygon([p for p in flat if isinstance(p, Polygon) and p.area > 0])
