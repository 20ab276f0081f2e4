"""QuPath GeoJSON: full-resolution px; the first ring of a polygon is its shell, the others are
holes."""

import ast
import json
import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from shapely.geometry import Polygon, mapping, shape
from shapely.geometry.base import BaseGeometry, BaseMultipartGeometry

from ...storage import AnnotationError, format_count
from .shapes import Outline, check_coordinates, warn_of_open_shapes

__all__ = ["kind_without_region", "read", "write"]

logger = logging.getLogger(__name__)

SHORTEST_RING = 3
LONGEST_CLASS = 1000  # letters of a class that was written as text
# QuPath's objects that are no annotations, and what to call them.
_NO_REGIONS = {
    "cell": "cell",
    "detection": "detection",
    "tile": "tile",
    "tma_core": "TMA core",
    "tmacore": "TMA core",
}
# Keys by which JSON of other programs is recognised; each program's own ones.
_OTHER_PROGRAMS = {
    "shapes": "LabelMe",
    "categories": "COCO",
    "nuc": "HoVer-Net or TIAToolbox (nuclei)",
    "nuclei": "CellViT (nuclei)",
    "elements": "Digital Slide Archive",
    "annotation": "Digital Slide Archive",
    "_via_img_metadata": "VGG Image Annotator",
    "@context": "Annotorious",
    "collection": "Cytomine",
}
_GEOMETRIES = {
    "point",
    "multipoint",
    "linestring",
    "multilinestring",
    "linearring",
    "polygon",
    "multipolygon",
    "geometrycollection",
}
_COLOURS = {"tumor": [200, 0, 0], "_0": [200, 0, 0], "_1": [200, 0, 0]}


def read(content: bytes, path: Path) -> list[Outline]:
    """Read the polygons of a FeatureCollection, a list of Features, one Feature, or a bare
    geometry.

    The group is the class, or TIAToolbox's type. QuPath's cells, detections, tiles and TMA cores
    outline no region; they are left out with a warning.

    Raises:
        AnnotationError: not GeoJSON, or a damaged geometry.
    """
    try:
        plain = json.loads(content.removeprefix(b"\xef\xbb\xbf"))
    except UnicodeDecodeError as error:
        raise AnnotationError(
            f"{path}: byte {error.start} is not text in {error.encoding}; save it in UTF-8, or "
            "export it again"
        ) from error
    except (ValueError, RecursionError) as error:
        raise AnnotationError(
            f"{path}: not GeoJSON: {error}; export the file from QuPath again"
        ) from error
    outlines, left_out, open_shapes = [], Counter(), []
    for number, feature in enumerate(_features(plain, path)):
        properties = feature.get("properties") or {}
        kind = kind_without_region(feature)
        if kind:
            left_out[kind] += 1
            continue
        group = _class_name(properties, path)
        name = str(properties.get("name") or f"{group or 'annotation'} {number}")
        geometry = feature.get("geometry")
        polygons = _polygons(geometry, path, name)
        outlines += [Outline(name=name, group=group, polygon=polygon) for polygon in polygons]
        if geometry and group and not polygons:
            open_shapes.append(str(geometry["type"]).lower())
    warn_of_open_shapes(open_shapes, path)
    if left_out:
        logger.warning(
            "%s: left out %s, because only annotations outline a region; to use them, change them "
            "to annotations in QuPath",
            path,
            ", ".join(format_count(count, kind) for kind, count in left_out.items()),
        )
    return outlines


def _features(plain: Any, path: Path) -> list[dict]:
    if isinstance(plain, dict) and plain.get("type") == "FeatureCollection":
        plain = plain.get("features")
    if isinstance(plain, dict):
        plain = [plain]
    if not isinstance(plain, list) or not all(isinstance(item, dict) for item in plain):
        raise AnnotationError(
            f"{path}: expected a GeoJSON FeatureCollection, Feature, list of Features or geometry"
        )
    features = [item if item.get("type") == "Feature" else {"geometry": item} for item in plain]
    for key in ("geometry", "properties"):
        if any(not isinstance(feature.get(key) or {}, dict) for feature in features):
            raise AnnotationError(
                f"{path}: the {key} of a feature is not a JSON object; export the file from QuPath "
                "again"
            )
    for feature in features:
        geometry = feature.get("geometry")
        if geometry and str(geometry.get("type")).casefold() not in _GEOMETRIES:
            raise AnnotationError(f"{path}: {_describe_other(geometry)}")
    return features


def _describe_other(geometry: dict) -> str:
    """Describe what stands where GeoJSON has a geometry."""
    program = next((_OTHER_PROGRAMS[key] for key in geometry if key in _OTHER_PROGRAMS), "")
    expected = "expected GeoJSON as QuPath exports it; convert the file"
    if program:
        return f"JSON of {program}, {expected}"
    if "type" in geometry:
        return f"{str(geometry['type'])[:40]!r} is no geometry of GeoJSON; draw it as a polygon"
    keys = ", ".join(repr(key[:40]) for key in list(geometry)[:5])
    return f"JSON with the keys {keys}, {expected}"


def kind_without_region(feature: Mapping[str, Any]) -> str:
    """Return what a feature of QuPath is that outlines no region, such as "cell" or "TMA core";
    empty for an annotation and for features of other programs."""
    properties = feature.get("properties")
    own = properties if isinstance(properties, dict) else {}
    # QuPath 0.2 wrote the type as the feature's id, such as PathCellObject.
    stated = own.get("objectType") or own.get("object_type") or feature.get("id")
    kind = str(stated).casefold().removeprefix("path").removesuffix("object")
    return _NO_REGIONS.get(kind, "")


def _class_name(properties: dict, path: Path) -> str:
    # TIAToolbox has no classification.
    classification = properties.get("classification", properties.get("type"))
    if isinstance(classification, str) and classification.lstrip().startswith("{"):
        classification = _parse_class(classification, path)
    if not classification:
        return ""
    if isinstance(classification, list):
        classification = {"names": classification}
    if not isinstance(classification, dict):
        return str(classification)
    # QuPath writes a derived class as a list of names.
    names = classification.get("names", classification.get("name"))
    if isinstance(names, list) and names and all(isinstance(name, str) for name in names):
        return ": ".join(names)
    if not isinstance(names, str):
        raise AnnotationError(
            f"{path}: a class has no name: {classification}; export the file from QuPath again"
        )
    return names


def _parse_class(text: str, path: Path) -> Any:
    """Class that GeoPandas, QGIS and others wrote as text of JSON or of Python."""
    for parse in (json.loads, ast.literal_eval):
        try:
            return parse(text[:LONGEST_CLASS])
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    raise AnnotationError(
        f"{path}: a class is the text {text[:80]!r}, which is no JSON; write its name only"
    )


def _polygons(geometry: dict | None, path: Path, name: str) -> list[Polygon]:
    """Polygons of a geometry; one with too few points is empty."""
    if not geometry:
        return []
    short: list[int] = []
    try:
        with np.errstate(invalid="ignore"):
            parsed = shape(_without_short_rings(geometry, short))
    except (
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        AttributeError,
        RecursionError,
        shapely.errors.ShapelyError,
    ) as error:
        raise AnnotationError(
            f"{path}: the geometry of {name!r} is damaged: {error!r}; export the file again"
        ) from error
    for points in short:
        count = format_count(points, "point")
        logger.warning("%s: a ring of %r has %s and is dropped", path, name, count)
    parts = [p for p in _parts(parsed) if isinstance(p, Polygon) and not p.is_empty]
    check_coordinates(shapely.get_coordinates(parts), path=path, name=name)
    if not parts and short:
        return [Polygon()]
    if not parts:
        logger.info("%s: %s %r encloses no area and is skipped", path, parsed.geom_type, name)
    return parts


def _without_short_rings(geometry: dict, short: list[int]) -> dict:
    """Copy a geometry without the rings that enclose nothing: clicks of one or two points.

    Their numbers of points are added to short. A polygon goes with its shell.
    """
    kind = str(geometry.get("type")).casefold()
    if kind == "geometrycollection":
        inner = [_without_short_rings(part, short) for part in geometry["geometries"]]
        return {**geometry, "geometries": inner}
    if kind not in ("polygon", "multipolygon"):
        return geometry
    is_one = kind == "polygon"
    kept = []
    for rings in [geometry["coordinates"]] if is_one else geometry["coordinates"]:
        short += [len(ring) for ring in rings if len(ring) < SHORTEST_RING]
        if rings and len(rings[0]) >= SHORTEST_RING:
            kept.append([ring for ring in rings if len(ring) >= SHORTEST_RING])
    return {**geometry, "coordinates": (kept[0] if kept else []) if is_one else kept}


def _parts(geometry: BaseGeometry) -> np.ndarray:
    parts = np.array([geometry])
    # A collection may hold collections.
    while any(isinstance(part, BaseMultipartGeometry) for part in parts):
        parts = shapely.get_parts(parts)
    return parts


def write(outlines: Iterable[Outline]) -> bytes:
    """Write a FeatureCollection. Every class gets a colour, because QuPath refuses one without."""
    features = [
        {
            "type": "Feature",
            "geometry": mapping(outline.polygon),
            "properties": {
                "objectType": "annotation",
                "name": outline.name,
                "classification": {
                    "name": outline.group,
                    "color": _COLOURS.get(outline.group.lower(), [0, 120, 200]),
                },
            },
        }
        for outline in outlines
    ]
    return json.dumps({"type": "FeatureCollection", "features": features}).encode()
