"""OME-Zarr 0.5 image of a heatmap: one element per cell, and coarser levels.

A scale and a translation (µm) place each level: element (row, column) lies at scale × (row, column)
+ translation, which is the centre of its cell.
"""

from pathlib import Path
from typing import Any

import zarr

from .raster import coarser_levels
from .source import ExportSource

__all__ = ["describe_image", "write_levels"]

CHUNK_PX = 512
LAST_LEVEL_PX = 256


def write_levels(source: ExportSource, folder: Path) -> dict[str, Any]:
    """Write the arrays 0, 1, … into a folder; return the attributes of the group."""
    probability = source.heatmap.probability
    levels = [probability, *coarser_levels(probability, until_px=LAST_LEVEL_PX)]
    for number, level in enumerate(levels):
        zarr.create_array(
            folder / str(number),
            data=level,
            chunks=(CHUNK_PX, CHUNK_PX),
            fill_value=float("nan"),
            dimension_names=("y", "x"),
            zarr_format=3,
        )
    return {"ome": describe_image(source, levels=len(levels))}


def describe_image(source: ExportSource, *, levels: int) -> dict[str, Any]:
    """Return the metadata of OME-Zarr 0.5 for a heatmap with that many levels."""
    heatmap = source.heatmap
    mpp, (x, y) = heatmap.slide_mpp, heatmap.origin_level0
    datasets = []
    for number in range(levels):
        side = heatmap.stride_level0 * 2**number
        transforms = [
            {"type": "scale", "scale": [side * mpp, side * mpp]},
            {
                "type": "translation",
                "translation": [(y + side / 2) * mpp, (x + side / 2) * mpp],
            },
        ]
        datasets.append({"path": str(number), "coordinateTransformations": transforms})
    axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in ("y", "x")]
    window = {"min": 0.0, "max": 1.0, "start": 0.0, "end": 1.0}
    channel = {
        "label": "tumour probability",
        "color": "FF0000",
        "active": True,
        "window": window,
    }
    return {
        "version": "0.5",
        "multiscales": [{"name": source.id, "axes": axes, "datasets": datasets, "type": "maximum"}],
        "omero": {"channels": [channel]},
    }
