"""Annotation of a slide: its outlines, the meaning of their groups, and the tumour area. All in
level-0 px."""

import logging
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import shapely
from shapely.affinity import translate
from shapely.geometry import MultiPolygon
from shapely.geometry.base import BaseGeometry

from ...storage import AnnotationError, Location, SlideError, atomic_file, format_count
from ..slide import Slide
from ..slide_frame import SlideFrame
from . import asap, geojson, imagescope, mask, ndpa
from .annotation_file import ANNOTATION_SUFFIXES, JSON, MASKS, annotation_suffix, read_bytes
from .elements import parse
from .origin import AnnotationOrigin, find_offset
from .repair import polygons_in, repair
from .shapes import Outline

__all__ = ["DEFAULT_GROUPS", "Annotation", "GroupMeaning", "is_region"]

logger = logging.getLogger(__name__)

GroupMeaning = Literal["tumor", "exclusion", "other"]

# CAMELYON16: _0 and _1 are tumour, _2 is cut out of it. CAMELYON17: metastases, normal. Then
# QuPath's class names. Masks: CAMELYON16's values, and 255 of masks with two values; see mask.
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


def is_region(group: str) -> bool:
    """Tell whether a class is that of regions in which a person looked at everything: Region*, as
    in QuPath, or one that begins with region."""
    return group.casefold().startswith("region")


@dataclass(frozen=True, kw_only=True)
class Annotation:
    """All outlines of one slide; `groups` maps each group's name to its meaning, ignoring case."""

    outlines: tuple[Outline, ...]
    groups: Mapping[str, GroupMeaning] = field(default_factory=lambda: dict(DEFAULT_GROUPS))
    without_area: tuple[Outline, ...] = ()
    """Shapes of the file that enclose no area, such as lines; they are not among `outlines`."""

    @cached_property
    def tumor(self) -> MultiPolygon:
        """Union of the tumour groups minus the exclusions, level-0 px; empty if none is drawn."""
        tumor, exclusion = self._union("tumor"), self._union("exclusion")
        # A difference from nothing takes seconds on a speckled mask.
        return polygons_in(tumor if exclusion.is_empty else tumor.difference(exclusion))

    @cached_property
    def regions(self) -> MultiPolygon:
        """Union of the outlines of the class Region*, level-0 px: where a person looked at
        everything, if that is not the whole slide."""
        return polygons_in(
            shapely.union_all([o.polygon for o in self.outlines if is_region(o.group)])
        )

    def is_tumor(self, outline: Outline) -> bool:
        """Tell whether the outline's group means tumour; an unknown group does not."""
        return self._meanings.get(outline.group.casefold()) == "tumor"

    def explain_no_tumor(self) -> tuple[str, str]:
        """Return what is drawn instead of tumour, and how to say that it is tumour."""
        classless = self._classless
        if classless:
            named = [o.name for o in classless if self._meanings.get(o.name.casefold()) == "tumor"]
            name = f" (the name {named[0]!r} is not a class)" if named else ""
            return _format_classless(classless) + name, _option_of_classless(classless)
        if not self.outlines:
            dropped = format_count(len(self.without_area), "outline")
            found = f"only {dropped} without area" if self.without_area else "no closed outline"
            return found, "correct the label or the annotation"
        groups = {o.group: self._meanings[o.group.casefold()] for o in self.outlines}
        return (
            ", ".join(f"group {name!r} means {groups[name]}" for name in sorted(groups)),
            "correct the label or the annotation, or give another meaning with --groups",
        )

    @cached_property
    def _classless(self) -> tuple[Outline, ...]:
        """Outlines to which nobody gave a class; ASAP writes None."""
        return tuple(
            o
            for o in self.outlines
            if o.group.casefold() in ("", "none") and self._meanings[o.group.casefold()] == "other"
        )

    def _union(self, meaning: GroupMeaning) -> BaseGeometry:
        # Of 5 711 pieces of a mask, a quarter of the time of `union_all`, and the same area.
        return shapely.disjoint_subset_union_all(
            [o.polygon for o in self.outlines if self._meanings[o.group.casefold()] == meaning]
        )

    @cached_property
    def _meanings(self) -> dict[str, GroupMeaning]:
        return {name.casefold(): meaning for name, meaning in self.groups.items()}

    @classmethod
    def load(
        cls,
        path: Path,
        *,
        groups: Mapping[str, GroupMeaning] = DEFAULT_GROUPS,
        slide: Slide | SlideFrame | Location | None = None,
        origin: AnnotationOrigin = "",
    ) -> "Annotation":
        """Read ASAP, ImageScope or HALO XML, NDPA, QuPath GeoJSON or a label mask (TIFF).

        Polygons that cross themselves are repaired, and the change in area is logged. slide is the
        slide that was drawn on, open or not: an NDPA requires it, a mask is scaled to it. origin
        is the corner that px are counted from, the slide's or that of its scanned part (bounds);
        if empty, the one by which the tumour lies on tissue.

        Raises:
            AnnotationError: no annotation file, a group that `groups` does not map (the message
                lists the groups), or only negative y.
            SlideError: the slide is required and cannot be opened.
        """
        drawn = repair(_read(path, slide, origin), path)
        outlines = tuple(outline for outline in drawn if not outline.polygon.is_empty)
        known: dict[str, GroupMeaning] = {
            name.casefold(): meaning for name, meaning in groups.items()
        }
        unknown = sorted({o.group for o in outlines if o.group.casefold() not in known})
        if unknown:
            found = sorted({o.group for o in outlines})
            raise AnnotationError(
                f"{path}: unknown meaning of group {', '.join(map(repr, unknown))} (groups found: "
                f"{', '.join(map(repr, found))}); give it with --groups, for example "
                f"{_example_option(unknown[0])}"
            )
        nothing = tuple(outline for outline in drawn if outline.polygon.is_empty)
        outlines = _place(outlines, path, known, slide, origin)
        _refuse_upward_y(outlines, path)
        loaded = cls(outlines=outlines, groups=known, without_area=nothing)
        classless = loaded._classless
        if classless and any(map(loaded.is_tumor, outlines)):
            logger.warning(
                "%s: %s, which counts as no tumour; %s",
                path,
                _format_classless(classless),
                _option_of_classless(classless),
            )
        return loaded

    def save(self, path: Path, *, xml: Literal["asap", "imagescope"] = "asap") -> None:
        """Write QuPath GeoJSON or XML, chosen by the suffix."""
        suffix = path.suffix.lower()
        if suffix == ".xml":
            content = {"asap": asap, "imagescope": imagescope}[xml].write(self.outlines)
        elif suffix in JSON:
            content = geojson.write(self.outlines)
        else:
            raise AnnotationError(
                f"{path}: write annotations as .xml (ASAP, ImageScope) or .geojson (QuPath)"
            )
        with atomic_file(path) as partial:
            partial.write_bytes(content)


def _format_classless(outlines: Sequence[Outline]) -> str:
    verb = "has" if len(outlines) == 1 else "have"
    return f"{format_count(len(outlines), 'outline')} {verb} no class"


def _option_of_classless(outlines: Sequence[Outline]) -> str:
    group = outlines[0].group
    in_file = "{" + (group or '""') + ": tumor}"
    return f"if this is tumour, give --groups.{group} tumor (in a settings file: groups: {in_file})"


def _example_option(group: str) -> str:
    if group == "binary-1":
        return "--groups.binary-1 tumor for the value 1 of a mask with values 0 and 1 only"
    return f"{shlex.quote(f'--groups.{group}')} tumor"


def _read(
    path: Path, slide: Slide | SlideFrame | Location | None, origin: AnnotationOrigin
) -> list[Outline]:
    suffix = annotation_suffix(path)
    if suffix in MASKS:
        return mask.read(path, _frame(slide), origin)
    if suffix not in ANNOTATION_SUFFIXES:
        raise AnnotationError(
            f"{path}: no annotation format has the suffix {path.suffix!r}; give .xml (ASAP, "
            "ImageScope), .geojson or .json (QuPath), .annotations (HALO), .ndpa (Hamamatsu) or "
            ".tif (mask; convert other images)"
        )
    content = read_bytes(path)
    if suffix in JSON:
        return geojson.read(content, path)
    root = parse(content, path)
    if root.tag == asap.ROOT:
        return asap.read(root, path)
    if root.tag == imagescope.ROOT:
        return imagescope.read(root, path)
    if root.tag == ndpa.ROOT:
        return ndpa.read(root, path, _frame(slide))
    roots = f"<{asap.ROOT}> (ASAP), <{imagescope.ROOT}> (ImageScope, HALO) or <{ndpa.ROOT}> (NDPA)"
    raise AnnotationError(
        f"{path}: the root element is <{root.tag}>, expected {roots}; export the file again"
    )


def _place(
    outlines: tuple[Outline, ...],
    path: Path,
    groups: Mapping[str, GroupMeaning],
    slide: Slide | SlideFrame | Location | None,
    origin: AnnotationOrigin,
) -> tuple[Outline, ...]:
    """Move outlines that are counted from the corner of the slide's scanned part."""
    suffix = annotation_suffix(path)
    if not outlines or suffix == ".ndpa" or suffix in MASKS:
        return outlines
    try:
        frame = _frame(slide)
    except SlideError:
        frame = None  # whoever reads the slide tells why it cannot be read
    if frame is None or slide is None or isinstance(slide, SlideFrame):
        if origin == "bounds":
            raise AnnotationError(
                f"{path}: px are counted from the corner of the slide's scanned part, which only "
                "the slide states, and it cannot be read; put it where the cohort says"
            )
        return outlines
    tumor = Annotation(outlines=outlines, groups=groups).tumor
    if tumor.is_empty:
        return outlines
    x, y = find_offset(tumor, path, slide=slide, bounds=frame.bounds, origin=origin)
    if (x, y) == (0, 0):
        return outlines
    return tuple(replace(o, polygon=translate(o.polygon, x, y)) for o in outlines)


def _refuse_upward_y(outlines: Sequence[Outline], path: Path) -> None:
    if outlines and shapely.total_bounds([o.polygon for o in outlines])[3] <= 0:
        raise AnnotationError(
            f"{path}: no outline has a positive y, as where y is counted upwards; export level-0 "
            "px counted downwards from the slide's top left corner"
        )


def _frame(slide: Slide | SlideFrame | Location | None) -> SlideFrame | None:
    if isinstance(slide, Slide):
        return slide.frame
    return SlideFrame.of_file(slide) if isinstance(slide, Path | str) else slide
