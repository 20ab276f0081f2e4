"""ASAP XML of contours, as polygons of one group a level, and of detections, as dots."""

from pathlib import Path

import shapely
from shapely.affinity import translate

from ...wsi import Outline, find_contours, write_asap
from .geojson import class_of_level
from .source import ExportSource

__all__ = ["write_annotations"]


def write_annotations(source: ExportSource, path: Path) -> None:
    """Write contours and detections; holes are polygons of group _2, as in CAMELYON16."""
    settings, (x, y) = source.settings, source.origin_level0
    outlines = []
    for level in sorted(set(settings.level)):
        group = class_of_level(level, settings.level)
        found = find_contours(source.heatmap, level=level, simplify_um=settings.simplify_um)
        for number, contour in enumerate(found, 1):
            name = f"above {level:g}, {number}, maximum {contour.highest:.3f}"
            outlines += [
                Outline(name=name, group=group, polygon=translate(part, -x, -y))
                for part in shapely.get_parts(contour.shape)
            ]
    found = source.detections
    dots = [
        (f"detection {i + 1}, {found.probability[i]:.3f}", found.x[i] - x, found.y[i] - y)
        for i in range(len(found))
    ]
    path.write_bytes(write_asap(outlines, dots))
