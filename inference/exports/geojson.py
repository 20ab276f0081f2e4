"""QuPath GeoJSON of contours and detections, which QuPath 0.5 and later reads by drag and drop."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from shapely.affinity import translate
from shapely.geometry import MultiPolygon, Point, Polygon, mapping

from ...wsi import find_contours
from .source import ExportSource

__all__ = ["class_of_level", "write_contours", "write_points"]

CLASS = "Tumor"
COLOURS = ((200, 0, 0), (255, 140, 0), (255, 215, 0), (120, 0, 120), (0, 120, 200))
"""RGB of the levels, the lowest first. QuPath refuses a class without a colour."""


def class_of_level(level: float, levels: tuple[float, ...]) -> str:
    """Return the class of a level's contours: Tumor, or Tumor: 0.9 where there are several."""
    return CLASS if len(set(levels)) == 1 else f"{CLASS}: {level:g}"


def write_contours(source: ExportSource, path: Path) -> None:
    """Write a FeatureCollection of the contours of every level: annotations with measurements."""
    _write(source, _contours(source), path)


def write_points(source: ExportSource, path: Path) -> None:
    """Write a FeatureCollection of the detections: annotations that are points."""
    _write(source, _points(source), path)


def _contours(source: ExportSource) -> Iterator[dict[str, Any]]:
    settings = source.settings
    for rank, level in enumerate(sorted(set(settings.level))):
        found = find_contours(source.heatmap, level=level, simplify_um=settings.simplify_um)
        for number, contour in enumerate(found, 1):
            yield _feature(
                source,
                contour.shape,
                name=f"above {level:g}, {number}",
                classification={
                    "name": class_of_level(level, settings.level),
                    "color": COLOURS[rank % len(COLOURS)],
                },
                measurements={
                    "Maximum probability": contour.highest,
                    "Mean probability": contour.mean,
                    "Area µm^2": contour.area_um2,
                    "Longest axis µm": contour.longest_um,
                },
            )


def _points(source: ExportSource) -> Iterator[dict[str, Any]]:
    found, size = source.detections, source.detections.size_class.tolist()
    for index in range(len(found)):
        measurements = {"Probability": found.probability[index]}
        if found.area_um2 is not None and found.longest_um is not None:
            measurements["Area µm^2"] = found.area_um2[index]
            measurements["Longest axis µm"] = found.longest_um[index]
        what = f"{found.probability[index]:.3f}{f', {size[index]}' if size[index] else ''}"
        yield _feature(
            source,
            Point(found.x[index], found.y[index]),
            name=f"{index + 1}: {what}",
            classification={"name": "Detection", "color": (0, 120, 200)},
            measurements=measurements,
        )


def _feature(
    source: ExportSource,
    shape: Polygon | MultiPolygon | Point,
    *,
    name: str,
    classification: dict[str, Any],
    measurements: dict[str, float],
) -> dict[str, Any]:
    x, y = source.origin_level0
    placed = translate(shape, -x, -y) if (x, y) != (0, 0) else shape
    identity = f"{source.id} {source.heatmap_sha256} {classification['name']} {name}"
    return {
        "type": "Feature",
        "id": str(uuid5(NAMESPACE_URL, identity)),  # the same in every export of this heatmap
        "geometry": mapping(placed),
        "properties": {
            "objectType": "annotation",
            "name": name,
            "classification": classification,
            "measurements": {
                key: round(float(value), 6) for key, value in measurements.items() if value == value
            },
            "metadata": {"made by": "gigaslide", "model": source.heatmap.model_hash},
        },
    }


def _write(source: ExportSource, features: Iterable[dict[str, Any]], path: Path) -> None:
    """Write a FeatureCollection, one feature a line."""
    about = {
        "slide": source.id,
        "slide_size": list(source.heatmap.slide_size),
        "origin_level0": list(source.origin_level0),
        "mpp": source.heatmap.slide_mpp,
        "heatmap": source.heatmap_sha256,
    }
    with path.open("w", encoding="utf-8") as file:
        # QuPath ignores the member gigaslide; the script of the format qupath reads it.
        about_text = json.dumps(about, ensure_ascii=False)
        file.write(f'{{"type": "FeatureCollection", "gigaslide": {about_text}, "features": [')
        for number, feature in enumerate(features):
            file.write(",\n" if number else "\n")
            file.write(json.dumps(feature, ensure_ascii=False))
        file.write("\n]}\n")
