"""Polygons drawn on a slide, what their groups mean, and the tumour they add up to. Level-0 px
throughout."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import shapely
from shapely.geometry import MultiPolygon

from ...storage import AnnotationError, Location, atomic_file
from . import asap, geojson, halo, imagescope, mask, ndpa
from .elements import parse
from .frame import SlideFrame
from .outline import Outline
from .repair import polygons_in, repaired

__all__ = ["ANNOTATION_SUFFIXES", "DEFAULT_GROUPS", "Annotation", "GroupMeaning"]

GroupMeaning = Literal["tumor", "exclusion", "other"]

# CAMELYON16: _0 and _1 tumour, _2 cut out of it. CAMELYON17: metastases, normal. QuPath's own class
# names. Masks: CAMELYON16's, and the 255 of those that know only two values; see mask.
_MEANINGS: dict[GroupMeaning, tuple[str, ...]] = {
    "tumor": (
        "_0",
        "_1",
        "tumor",
        "tumour",
        "metastases",
        "metastasis",
        "carcinoma",
        "cancer",
        "lesion",
        "mask-2",
        "mask-255",
    ),
    "exclusion": ("_2", "exclusion", "exclude", "hole", "ignore*"),
    "other": (
        "normal",
        "none",
        "other",
        "stroma",
        "tissue",
        "region*",
        "necrosis",
        "immune cells",
        "",
        "mask-1",
    ),
}
DEFAULT_GROUPS: Mapping[str, GroupMeaning] = MappingProxyType(
    {name: meaning for meaning, names in _MEANINGS.items() for name in names}
)
_JSON = (".geojson", ".json")
_XML = (".xml", ".annotations", ".ndpa")
_MASK = (".tif", ".tiff")
LARGEST_BYTES = 2**29  # some ten million vertices
ANNOTATION_SUFFIXES = (".xml", *_JSON, ".annotations", ".ndpa")
"""Of files that can be nothing else; a TIFF may be a mask or a slide."""


@dataclass(frozen=True, kw_only=True)
class Annotation:
    """Everything drawn on one slide; groups says what each group's name means (matched without
    regard to case)."""

    outlines: tuple[Outline, ...]
    groups: Mapping[str, GroupMeaning] = field(default_factory=lambda: dict(DEFAULT_GROUPS))
    without_area: tuple[Outline, ...] = ()
    """What the file calls an outline and encloses nothing, as a line does: left out, by name."""

    @cached_property
    def tumor(self) -> MultiPolygon:
        """Tumour groups less exclusions, level-0 px; empty where none is drawn."""
        drawn = shapely.union_all([o.polygon for o in self.outlines if self._meaning(o) == "tumor"])
        cut = shapely.union_all(
            [o.polygon for o in self.outlines if self._meaning(o) == "exclusion"]
        )
        return polygons_in(drawn.difference(cut))

    def is_tumor(self, outline: Outline) -> bool:
        """Whether its group means tumour; a group of which nothing is known does not."""
        return self._meanings.get(outline.group.casefold()) == "tumor"

    def _meaning(self, outline: Outline) -> GroupMeaning:
        return self._meanings[outline.group.casefold()]

    @cached_property
    def _meanings(self) -> dict[str, GroupMeaning]:
        return {name.casefold(): meaning for name, meaning in self.groups.items()}

    @classmethod
    def load(
        cls,
        path: Path,
        *,
        groups: Mapping[str, GroupMeaning] = DEFAULT_GROUPS,
        slide: SlideFrame | Location | None = None,
    ) -> "Annotation":
        """Read ASAP, ImageScope or HALO XML, NDPA, QuPath GeoJSON or a label mask (TIFF).

        Polygons that cross themselves are repaired, and the change in area is logged. slide is what
        it was drawn on: an NDPA cannot do without, a mask of another size than the slide is fitted
        to it, others do not ask.

        Raises:
            AnnotationError: not such a file, or a group that `groups` does not know; the message
            lists the groups.
            SlideError: the slide is needed and cannot be opened.
        """
        drawn = repaired(_read(path, slide), path)
        outlines = tuple(outline for outline in drawn if not outline.polygon.is_empty)
        known: dict[str, GroupMeaning] = {
            name.casefold(): meaning for name, meaning in groups.items()
        }
        unknown = sorted({o.group for o in outlines if o.group.casefold() not in known})
        if unknown:
            found = sorted({o.group for o in outlines})
            raise AnnotationError(
                f"{path}: unknown group {', '.join(map(repr, unknown))} (groups found: "
                f"{', '.join(map(repr, found))}); say what it means with --groups, for example "
                f"{_example(unknown[0])}"
            )
        nothing = tuple(outline for outline in drawn if outline.polygon.is_empty)
        return cls(outlines=outlines, groups=known, without_area=nothing)

    def save(self, path: Path, *, xml: Literal["asap", "imagescope"] = "asap") -> None:
        """Write QuPath GeoJSON or XML, by the suffix; holes become what the format has for them."""
        suffix = path.suffix.lower()
        if suffix == ".xml":
            content = {"asap": asap, "imagescope": imagescope}[xml].write(self.outlines)
        elif suffix in _JSON:
            content = geojson.write(self.outlines)
        else:
            raise AnnotationError(
                f"{path}: write annotations as .xml (ASAP, ImageScope) or .geojson (QuPath)"
            )
        with atomic_file(path) as partial:
            partial.write_bytes(content)


def _example(group: str) -> str:
    if group == "binary-1":
        return "--groups.binary-1 tumor, which is the value 1 of a mask that holds 0 and 1 alone"
    return (
        f"--groups.{group} tumor"
        if group.replace("-", "").replace("_", "").isalnum()
        else "--groups.NAME tumor"
    )


def _read(path: Path, slide: SlideFrame | Location | None) -> list[Outline]:
    suffix = path.suffix.lower()
    if suffix in _MASK:
        return mask.read(path, _frame(slide))
    if suffix not in (*_JSON, *_XML):
        raise AnnotationError(
            f"{path}: an annotation is .xml (ASAP, ImageScope), .geojson or .json (QuPath), "
            f".annotations (HALO), .ndpa (Hamamatsu) or .tif (a mask), not {path.suffix!r}"
        )
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise AnnotationError(
                f"{path}: over {LARGEST_BYTES / 2**20:.0f} MB of annotations; split or simplify "
                "them"
            )
        content = path.read_bytes()
    except OSError as error:
        raise AnnotationError(
            f"{path}: cannot be read: {error}; check the cohort's annotation column"
        ) from error
    if not content.strip():
        raise AnnotationError(f"{path}: the annotation file is empty; export it again")
    if suffix in _JSON:
        return geojson.read(content, path)
    root = parse(content, path)
    if root.tag == asap.ROOT:
        return asap.read(root, path)
    if root.tag == imagescope.ROOT:
        return (halo if halo.is_halo(root) else imagescope).read(root, path)
    if root.tag == ndpa.ROOT:
        return ndpa.read(root, path, _frame(slide))
    roots = f"<{asap.ROOT}> (ASAP), <{imagescope.ROOT}> (ImageScope, HALO) or <{ndpa.ROOT}> (NDPA)"
    raise AnnotationError(f"{path}: the root element is <{root.tag}>, expected {roots}")


def _frame(slide: SlideFrame | Location | None) -> SlideFrame | None:
    return SlideFrame.of_file(slide) if isinstance(slide, Path | str) else slide
