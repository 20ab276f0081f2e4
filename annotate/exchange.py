"""Outlines in and out of a folder of annotations: files of other programs, and files for them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import shapely
from shapely.affinity import translate

from ..cohort import CohortSlide
from ..storage import AnnotationError, Location, SettingsError
from ..wsi import (
    Annotation,
    Outline,
    Slide,
    TissueSettings,
    annotation_suffix,
    find_offset,
    polygons_in,
    read_annotation_bytes,
    tissue_mask,
)
from .corrections import area_of_meaning
from .folder import AnnotationFolder
from .outlines import DrawnOutline, new_id
from .valid_shapes import parse_features, repair_shapes
from .version_info import Version

__all__ = ["AnnotationFormat", "export_versions", "read_cohort_outlines", "read_outlines"]

JSON = (".geojson", ".json")
AnnotationFormat = Literal["geojson", "asap", "imagescope"]
SUFFIXES: dict[AnnotationFormat, str] = {
    "geojson": ".geojson",
    "asap": ".xml",
    "imagescope": ".xml",
}


def read_outlines(
    path: Path, slide: CohortSlide, offset: tuple[int, int] = (0, 0)
) -> tuple[list[DrawnOutline], list[str]]:
    """Read the outlines of a file of any program; return them, and what was changed.

    Outlines of GeoJSON keep their ids, so those of an earlier version are recognised. offset is
    the (x, y) of the corner that px of GeoJSON are counted from, level-0 px.

    Raises:
        AnnotationError: the file cannot be read.
    """
    if annotation_suffix(path) not in JSON:
        return _read_foreign(path, slide, slide.path)
    outlines, notes = parse_features(_load_json(path), path.name)
    return _move(outlines, offset), notes


def read_cohort_outlines(slide: CohortSlide, opened: Slide) -> list[DrawnOutline]:
    """Read the outlines of the annotation that a cohort gives a slide, on the origin that it
    states; without a stated one, on that by which they lie on tissue.

    Raises:
        AnnotationError: the file cannot be read, or they lie on tissue by both origins or neither.
        SlideError: the slide, which tells the origin, cannot be read.
    """
    path = slide.annotation
    if path is None:
        return []
    if annotation_suffix(path) not in JSON:
        return _read_foreign(path, slide, opened)[0]
    outlines, _ = parse_features(_load_json(path), path.name)
    if not outlines:
        return []
    drawn = area_of_meaning(outlines, "tumor").difference(area_of_meaning(outlines, "exclusion"))
    if drawn.is_empty:
        drawn = shapely.union_all([one.shape for one in outlines])
    bounds, origin = opened.frame.bounds, slide.annotation_origin
    if bounds and not origin:
        tissue_mask(opened, TissueSettings())  # find_offset takes an unreadable slide for unmoved
    offset = find_offset(polygons_in(drawn), path, slide=opened, bounds=bounds, origin=origin)
    return _move(outlines, offset)


def _read_foreign(
    path: Path, row: CohortSlide, slide: Slide | Location
) -> tuple[list[DrawnOutline], list[str]]:
    known = Annotation.load(path, slide=slide, origin=row.annotation_origin)
    outlines = [
        DrawnOutline(id=new_id(), shape=one.polygon, group=one.group, name=one.name)
        for one in known.outlines
    ]
    return repair_shapes(outlines, path.name)


def _move(outlines: list[DrawnOutline], offset: tuple[int, int]) -> list[DrawnOutline]:
    if offset == (0, 0):
        return outlines
    return [replace(one, shape=translate(one.shape, *offset)) for one in outlines]


def _load_json(path: Path) -> Any:
    try:
        return json.loads(read_annotation_bytes(path).removeprefix(b"\xef\xbb\xbf"))
    except (ValueError, RecursionError) as error:
        raise AnnotationError(f"{path}: no GeoJSON that can be read: {error}") from error


def export_versions(
    folder: AnnotationFolder, out: Path, form: AnnotationFormat, *, accepted: bool = True
) -> list[Path]:
    """Write the newest version of each slide, or the newest accepted one, for other programs.

    Raises:
        SettingsError: out lies in the folder itself, or no slide has such a version.
    """
    if out.resolve().is_relative_to(folder.path.resolve()):
        raise SettingsError(
            f"{out}: lies in the folder of the versions themselves; give another folder"
        )
    written = []
    for slide in folder.slides():
        versions = folder.versions(slide)
        info = versions.newest(accepted=accepted)
        if info is None:
            continue
        path = out / f"{slide}{SUFFIXES[form]}"
        annotation = Annotation(outlines=tuple(_plain(versions.load(info.number))))
        annotation.save(path, xml="imagescope" if form == "imagescope" else "asap")
        written.append(path)
    if not written:
        raise SettingsError(
            f"{folder.path}: no slide has {'an accepted' if accepted else 'a'} version; accept "
            "some, or add --newest for those that nobody accepted"
        )
    return written


def _plain(version: Version) -> list[Outline]:
    return [
        Outline(name=one.name or f"{one.group} {number}", group=one.group, polygon=part)
        for number, one in enumerate(version.outlines, 1)
        for part in shapely.get_parts(one.shape).tolist()
    ]
