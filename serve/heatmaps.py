"""Heatmaps as pictures of one px per cell, and detections; read again where they changed.

A px is 0 where a cell has no score, 1 where it was lost (unreadable or failed), and else
2 + 253 × probability, rounded.
"""

import hashlib
import io
import threading
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from cachetools import LRUCache
from PIL import Image

from ..wsi import CellStatus, Detections, Heatmap
from .catalogue import heatmap_path, heatmap_stamp

__all__ = ["HeatmapPicture", "Heatmaps"]

MOST_KEPT = 16
LOST_RGB, LOST_ALPHA = (90, 90, 90), 200
FIRST, LAST = 2, 255  # values of probability 0 and 1
LOST = (CellStatus.UNREADABLE, CellStatus.FAILED)


@dataclass(frozen=True)
class HeatmapPicture:
    """A heatmap and its pictures."""

    heatmap: Heatmap

    @cached_property
    def version(self) -> str:
        """Short hash of the content and of its place, for URLs."""
        heatmap = self.heatmap
        place = f"{heatmap.content_sha256} {heatmap.origin_level0} {heatmap.stride_level0}"
        return hashlib.sha256(place.encode()).hexdigest()[:16]

    @cached_property
    def values(self) -> np.ndarray:
        """(rows, columns) uint8."""
        values = np.zeros(self.heatmap.status.shape, np.uint8)
        values[np.isin(self.heatmap.status, LOST)] = 1
        scored = self.heatmap.scored
        probability = self.heatmap.probability[scored].astype(np.float64)
        values[scored] = np.rint(FIRST + (LAST - FIRST) * probability).astype(np.uint8)
        return values

    @cached_property
    def grey_png(self) -> bytes:
        return _png(Image.fromarray(self.values))

    @cached_property
    def colour_png(self) -> bytes:
        """The same values in colours, transparent where there is no score."""
        import matplotlib  # slow

        steps = matplotlib.colormaps["viridis"](np.linspace(0, 1, LAST - FIRST + 1))[:, :3]
        colours = np.rint(255 * steps).astype(np.uint8).ravel().tolist()
        rows, columns = self.values.shape
        palette = Image.frombytes("P", (columns, rows), self.values.tobytes())
        palette.putpalette([0, 0, 0, *LOST_RGB, *colours])
        alpha = bytes([0, LOST_ALPHA]) + b"\xff" * (LAST - FIRST + 1)
        return _png(palette, transparency=alpha)


def _png(image: Image.Image, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    return file.getvalue()


class Heatmaps:
    """Heatmaps of a folder of predictions; safe to use from several threads."""

    def __init__(self, predictions: Path | None) -> None:
        self._predictions = predictions
        self._lock = threading.Lock()
        self._kept: LRUCache[tuple[str, int], HeatmapPicture] = LRUCache(MOST_KEPT)

    def has(self, name: str) -> bool:
        """Tell whether a slide has a heatmap."""
        return heatmap_stamp(self._predictions, name) != 0

    def load(self, name: str) -> HeatmapPicture | None:
        """Return the heatmap of a slide; None if there is none.

        Raises:
            StoreError: a damaged one.
        """
        stamp = heatmap_stamp(self._predictions, name)
        if self._predictions is None or not stamp:
            return None
        with self._lock:
            found = self._kept.get((name, stamp))
        if found is None:
            found = HeatmapPicture(Heatmap.load(heatmap_path(self._predictions, name)))
            with self._lock:
                self._kept[name, stamp] = found
        return found

    def detections(self, name: str) -> Detections | None:
        """Return the detections of a slide; None if there are none.

        Raises:
            ScoreError: a damaged table.
        """
        if self._predictions is None or "/" in name:
            return None
        path = self._predictions / name / "detections.csv"
        return Detections.load(path).on(name) if path.is_file() else None
