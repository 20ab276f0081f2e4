"""Predictions to export, made without a network, and where the corners of cells must lie.

As a file:  python exporting.py PREDICTIONS OUT PAUSE_S  exports and ends as the command does.
"""

import json
import os
import sys
import time
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from gigaslide.batch import BatchSettings, BatchSummary, Listener, SlideOutcome, Stopped
from gigaslide.cohort import Cohort
from gigaslide.inference import ExportSettings, PredictSettings, export_predictions, find_detections
from gigaslide.inference.exports.export_slide import PredictedSlide, export_slide
from gigaslide.wsi import CellStatus, Heatmap

ALONE = BatchSettings(workers=0)


@dataclass(frozen=True)
class Geometry:
    """Grid of cells over a slide."""

    slide_size: tuple[int, int]
    stride: float
    origin: tuple[float, float] = (0.0, 0.0)
    mpp: float = 0.25

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns) that cover the slide from the origin on."""
        rows, columns = (
            int(-(-(length - start) // self.stride))
            for length, start in zip(self.slide_size[::-1], self.origin[::-1], strict=True)
        )
        return rows, columns

    @property
    def corner_cells(self) -> list[tuple[int, int]]:
        """(row, column) top left, top right, bottom left, bottom right."""
        down, across = self.shape[0] - 1, self.shape[1] - 1
        return [(0, 0), (0, across), (down, 0), (down, across)]

    def box(self, row: int, column: int) -> list[float]:
        """Level-0 (left, top, right, bottom) of a cell on the slide, by adding strides up."""
        left, top = self.origin
        for _ in range(column):
            left += self.stride
        for _ in range(row):
            top += self.stride
        width, height = self.slide_size
        return [
            max(left, 0.0),
            max(top, 0.0),
            min(left + self.stride, width),
            min(top + self.stride, height),
        ]


GEOMETRIES = {
    "sides that are multiples of nothing": Geometry((2911, 1383), 128.0),
    "stride not whole": Geometry((9973, 14_407), 130.6, mpp=0.2431),
    "downsample 57.375": Geometry((20_011, 7919), 3 * 57.375),
    "bounds of MIRAX": Geometry((31_003, 26_009), 257.9, origin=(11_733.5, 15_604.25)),
    "cells that begin before the slide": Geometry((3001, 4999), 211.3, origin=(-77.7, -150.1)),
    "one cell": Geometry((101, 67), 128.0),
}


def heatmap_of(
    geometry: Geometry, cells: dict[tuple[int, int], float], *, slide: str = "s"
) -> Heatmap:
    """A heatmap with these probabilities; every other cell is background."""
    probability = np.full(geometry.shape, np.nan, np.float32)
    status = np.full(geometry.shape, CellStatus.BACKGROUND, np.uint8)
    for cell, value in cells.items():
        probability[cell], status[cell] = value, CellStatus.SCORED
    return Heatmap(
        slide=slide,
        probability=probability,
        status=status,
        origin_level0=geometry.origin,
        stride_level0=geometry.stride,
        centre_level0=geometry.stride,
        centre_px=128,
        slide_size=geometry.slide_size,
        slide_mpp=geometry.mpp,
        model_hash="abc",
    )


def save_prediction(
    predictions: Path, heatmap: Heatmap, settings: PredictSettings | None = None
) -> None:
    """Save a heatmap and its detections as predict does."""
    folder = predictions / heatmap.slide
    heatmap.save(folder / "heatmap.zarr")
    find_detections(heatmap, settings or PredictSettings()).save(folder / "detections.csv")


def export(
    predictions: Path, *to: str, out: Path | None = None, slides: Cohort | None = None, **settings
) -> BatchSummary:
    chosen = ExportSettings.model_validate({"to": to, **settings})
    return export_predictions(predictions, out or predictions, chosen, ALONE, slides=slides)


RUN_FILES = ("run.jsonl", "export-run.html", "export-summary.csv", "export-failures.txt")


def content(out: Path) -> dict[str, str]:
    """SHA-256 of every export, by its path; recipes too."""
    files = (path for path in out.rglob("*") if path.is_file() and path.name not in RUN_FILES)
    return {
        path.relative_to(out).as_posix(): sha256(path.read_bytes()).hexdigest()
        for path in sorted(files)
    }


def digest(out: Path) -> str:
    """Digest of `content`. The script for QuPath names its own folder, so it counts by name."""
    kept = {name: "" if name.endswith(".groovy") else sha for name, sha in content(out).items()}
    return sha256(json.dumps(kept).encode()).hexdigest()


def fall(predicted: PredictedSlide, *, out: Path, **options: Any) -> SlideOutcome:
    """`export_slide`, in a worker that dies at slide "always", and the first time at "once"."""
    mark = out / f"{predicted.id}.fell"
    if predicted.id == "always" or (predicted.id == "once" and not mark.exists()):
        mark.touch()
        os._exit(9)
    return export_slide(predicted, out=out, **options)


if __name__ == "__main__":
    predictions, out, pause_s = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
    chosen = ExportSettings(to=("geojson", "ome-tiff"))
    try:
        summary = export_predictions(
            predictions,
            out,
            chosen,
            ALONE,
            listener=Listener(on_outcome=lambda _: time.sleep(pause_s)),
        )
        sys.exit(summary.exit_status)
    except Stopped as stopped:
        sys.exit(stopped.exit_status)
