"""The picture beside a heatmap: the slide, and the slide under its probabilities."""

from pathlib import Path

import cv2
import numpy as np

from ..storage import StoreError
from ..wsi import Heatmap, Slide, overlay_heatmap, shrink

__all__ = ["draw_heatmap"]

PICTURE_PX = 1200


def draw_heatmap(slide: Slide, heatmap: Heatmap, path: Path) -> None:
    """Write a PNG: left the slide, right its heatmap in viridis (dark 0, yellow 1), hatched where
    nothing is known."""
    longest_um = max(slide.size) * slide.info.mpp
    overview = shrink(slide.overview(longest_um / PICTURE_PX), PICTURE_PX)
    gap = np.full((overview.image.shape[0], 12, 3), 255, np.uint8)
    both = np.concatenate([overview.image, gap, overlay_heatmap(overview, heatmap)], axis=1)
    done, png = cv2.imencode(".png", both[..., ::-1])
    if not done:
        raise StoreError(f"{path}: a picture of shape {both.shape} could not be written as PNG")
    path.write_bytes(png.tobytes())
