"""Rasters and mask polygons of gigaslide and of rasterio (GDAL): equality and seconds.

    pip install rasterio
    python benchmarks/slides/rasterising.py FOLDER_OF_ANNOTATIONS...

For every annotation it draws the whole tumour at two scales, labels a grid of cells, and reads a
mask of the tumour back as polygons. Where the two rasters differ, shapely decides who is right.
"""

import argparse
import logging
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import shapely
import tifffile
from gigaslide.wsi import ANNOTATION_SUFFIXES, Annotation, PolygonRaster, tumor_fractions
from rasterio.features import rasterize, shapes
from rasterio.transform import Affine
from shapely.geometry import MultiPolygon, shape

WHOLE_PX = (32.0, 8.0)  # level-0 px per raster px: about the scales of tissue and evaluation
CELL_PX = 128
MOST_CELLS = 60  # in x and in y
totals: Counter[str] = Counter()


def measure(name: str, call: Callable[[], Any]) -> Any:
    start = time.perf_counter()
    result = call()
    totals[f"{name}, s"] += time.perf_counter() - start
    return result


def draw(tumor: MultiPolygon, corner, *, px_level0: float, size: tuple[int, int]) -> np.ndarray:
    """Draw a window by rasterio."""
    transform = Affine(px_level0, 0, corner[0], 0, px_level0, corner[1])
    parts = [part for part in getattr(tumor, "geoms", [tumor]) if not part.is_empty]
    if not parts:
        return np.zeros(size, bool)
    return rasterize(parts, out_shape=size, transform=transform, dtype="uint8").astype(bool)


def compare_whole(tumor: MultiPolygon, px_level0: float) -> np.ndarray:
    left, top, right, bottom = tumor.bounds
    corner = left - px_level0, top - px_level0
    size = int((bottom - top) / px_level0) + 3, int((right - left) / px_level0) + 3
    ours = measure(
        f"whole at {px_level0:g}, ours",
        lambda: PolygonRaster(tumor).window(corner, px_level0=px_level0, shape=size),
    )
    theirs = measure(
        f"whole at {px_level0:g}, rasterio",
        lambda: draw(tumor, corner, px_level0=px_level0, size=size),
    )
    row, column = np.nonzero(ours != theirs)
    x, y = corner[0] + (column + 0.5) * px_level0, corner[1] + (row + 0.5) * px_level0
    totals[f"whole at {px_level0:g}, px that differ"] += len(row)
    agree = shapely.contains_xy(tumor, x, y) == ours[row, column]
    totals[f"whole at {px_level0:g}, of these shapely agrees with us"] += int(agree.sum())
    return ours


def compare_cells(tumor: MultiPolygon) -> None:
    left, top, right, bottom = tumor.bounds
    x = np.arange(left - CELL_PX, min(right, left + MOST_CELLS * CELL_PX), CELL_PX)
    y = np.arange(top - CELL_PX, min(bottom, top + MOST_CELLS * CELL_PX), CELL_PX)
    corners = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)

    def by_rasterio() -> np.ndarray:
        found = np.zeros(len(corners), np.float32)
        for index, (x, y) in enumerate(corners):
            near = shapely.clip_by_rect(tumor, x - 2, y - 2, x + CELL_PX + 2, y + CELL_PX + 2)
            found[index] = draw(near, (x, y), px_level0=1.0, size=(CELL_PX, CELL_PX)).mean()
        return found

    ours = measure(
        "cells, ours",
        lambda: tumor_fractions(tumor, corners, side_level0=CELL_PX, side_px=CELL_PX),
    )
    theirs = measure("cells, rasterio", by_rasterio)
    totals["cells"] += len(corners)
    totals["cells that differ"] += int((np.abs(ours - theirs) > 1e-6).sum())


def compare_polygons(mask: np.ndarray, folder: Path) -> None:
    path = folder / "mask.tif"
    tifffile.imwrite(path, mask * np.uint8(255), tile=(256, 256), compression="deflate")

    def by_rasterio() -> list:
        values = tifffile.imread(path)
        return [shape(outline) for outline, _ in shapes(values, mask=values > 0, connectivity=4)]

    ours = measure("mask to polygons, ours", lambda: Annotation.load(path)).outlines
    theirs = measure("mask to polygons, rasterio", by_rasterio)
    totals["polygons"] += len(ours)
    totals["polygons that are equal"] += len(
        {shapely.to_wkb(shapely.normalize(outline.polygon)) for outline in ours}
        & {shapely.to_wkb(shapely.normalize(polygon)) for polygon in theirs}
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folders", type=Path, nargs="+")
    logging.disable()
    files = [path for folder in parser.parse_args().folders for path in sorted(folder.iterdir())]
    with tempfile.TemporaryDirectory() as temporary:
        for path in files:
            if path.suffix not in ANNOTATION_SUFFIXES:
                continue
            tumor = Annotation.load(path).tumor
            if tumor.is_empty:
                continue
            totals["annotations"] += 1
            coarse, _ = (compare_whole(tumor, px_level0) for px_level0 in WHOLE_PX)
            compare_cells(tumor)
            if coarse.any():
                compare_polygons(coarse, Path(temporary))
    for name, total in sorted(totals.items()):
        print(f"{name:<55}{total:>12.2f}" if name.endswith(", s") else f"{name:<55}{total:>9}")


if __name__ == "__main__":
    main()
