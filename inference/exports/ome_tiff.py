"""OME-TIFF of a heatmap: a tiled pyramid that covers the slide, with µm/px, as probabilities and as
colours."""

from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import numpy as np
import tifffile

from .raster import FAILED, HeatmapRaster, coarser_levels, colour
from .source import ExportSource

__all__ = ["write_colours", "write_probability"]

TILE_PX = 256
WHITE = (255, 255, 255)
LOST = np.float32(-1)  # below every probability, above nothing


def write_probability(source: ExportSource, path: Path) -> None:
    """Write float32 probabilities; NaN where a cell has none."""
    raster = _raster(source)
    levels = [raster.probability, *coarser_levels(raster.probability, until_px=TILE_PX)]
    _write(source, raster, levels, path, photometric="minisblack", kind="probability")


def write_colours(source: ExportSource, path: Path) -> None:
    """Write RGB colours: white where no cell was scored, grey where a cell failed."""
    raster = _raster(source)
    known = np.where(raster.is_lost, LOST, raster.probability)
    levels = []
    for level in (known, *coarser_levels(known, until_px=TILE_PX)):
        image = colour(level.clip(0), source.settings.colours)
        image[np.isnan(level)] = WHITE
        image[level == LOST] = FAILED
        levels.append(image)
    _write(source, raster, levels, path, photometric="rgb", kind=source.settings.colours)


def _raster(source: ExportSource) -> HeatmapRaster:
    return HeatmapRaster(heatmap=source.heatmap, cell_px=source.settings.cell_px)


def _write(
    source: ExportSource,
    raster: HeatmapRaster,
    levels: list[np.ndarray],
    path: Path,
    *,
    photometric: str,
    kind: str,
) -> None:
    is_rgb = photometric == "rgb"
    options: dict[str, Any] = {
        "photometric": photometric,
        "tile": (TILE_PX, TILE_PX),
        "compression": "zlib",
        "resolutionunit": "CENTIMETER",
    }
    metadata = {
        "axes": "YXS" if is_rgb else "YX",
        "Name": f"{source.id} {kind}",
        "Description": f"Tumour probability of {source.id}, gigaslide, model "
        f"{source.heatmap.model_hash}",
        "PhysicalSizeX": raster.px_um,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": raster.px_um,
        "PhysicalSizeYUnit": "µm",
        "Channel": {"Name": "tumour probability"},
        # Else random: equal heatmaps give equal files.
        "UUID": str(uuid5(NAMESPACE_URL, f"{source.heatmap.content_sha256} {kind}")),
    }
    with tifffile.TiffWriter(path, ome=True) as tiff:
        for number, level in enumerate(levels):
            per_cm = 1e4 / (raster.px_um * 2**number)
            tiff.write(
                level,
                resolution=(per_cm, per_cm),
                **options,
                **(
                    {"subfiletype": 1, "metadata": None}
                    if number
                    else {"subifds": len(levels) - 1, "metadata": metadata}
                ),
            )
