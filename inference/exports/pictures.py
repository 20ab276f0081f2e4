"""Pictures of a heatmap: alone with a transparent background, and over the slide. World files place
them in level-0 px."""

from pathlib import Path

import cv2
import numpy as np

from ...storage import StoreError
from ...wsi import overlay_heatmap, shrink
from .raster import FAILED, HeatmapRaster, colour
from .source import ExportSource

__all__ = ["write_beside_slide", "write_overlay", "write_transparent"]

BESIDE_PX = 1200
WORLD_FILE = ".pgw"


def write_transparent(source: ExportSource, path: Path) -> None:
    """Write a PNG with colours, transparent where no cell was scored, and its world file."""
    raster = HeatmapRaster(heatmap=source.heatmap, cell_px=source.settings.cell_px)
    alpha = np.where(np.isnan(raster.probability), 0, 255).astype(np.uint8)
    image = np.dstack([colour(raster.probability, source.settings.colours), alpha])
    image[raster.is_lost] = (*FAILED, 255)
    image[image[..., 3] == 0] = 0
    _write_png(image, path)
    _write_world_file(raster.px_level0, path)


def write_overlay(source: ExportSource, path: Path) -> None:
    """Write a PNG of the heatmap over the slide in pale grey, and its world file."""
    with source.open_slide() as slide:
        longest_um = max(slide.size) * slide.info.mpp
        overview = slide.overview(longest_um / source.settings.picture_px)
    _write_png(overlay_heatmap(overview, source.heatmap, colours=source.settings.colours), path)
    _write_world_file(overview.scale_level0, path)


def write_beside_slide(source: ExportSource, path: Path) -> None:
    """Write a PNG: left the slide, right its heatmap in viridis (dark 0, yellow 1), hatched where
    cells have no probability."""
    with source.open_slide() as slide:
        longest_um = max(slide.size) * slide.info.mpp
        overview = shrink(slide.overview(longest_um / BESIDE_PX), BESIDE_PX)
    gap = np.full((overview.image.shape[0], 12, 3), 255, np.uint8)
    both = [overview.image, gap, overlay_heatmap(overview, source.heatmap)]
    _write_png(np.concatenate(both, axis=1), path)


def _write_png(image: np.ndarray, path: Path) -> None:
    """Write RGB or RGBA, uint8."""
    order = [2, 1, 0, 3][: image.shape[2]]
    is_encoded, png = cv2.imencode(".png", np.ascontiguousarray(image[..., order]))
    if not is_encoded:
        raise StoreError(f"{path}: a picture of shape {image.shape} cannot be written as PNG")
    path.write_bytes(png.tobytes())


def _write_world_file(px_level0: float, path: Path) -> None:
    """Write six lines: side of a px, two rotations, side of a px, and the centre of the first px,
    in level-0 px. y points down as in the slide, so the fourth is positive."""
    centre = px_level0 / 2
    values = (px_level0, 0.0, 0.0, px_level0, centre, centre)
    text = "".join(f"{value!r}\n" for value in map(float, values))
    path.with_name(path.name.removesuffix(".png") + WORLD_FILE).write_text(text)
