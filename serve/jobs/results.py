"""Results of a finished job, made from the folder of its slide."""

import io
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from ...wsi import Heatmap
from ..heatmaps import HeatmapPicture

__all__ = ["RESULTS", "JobResult"]

HEATMAP = "heatmap.zarr"
SOME_DAY = (1980, 1, 1, 0, 0, 0)  # the same heatmap gives the same archive


@dataclass(frozen=True)
class JobResult:
    """A kind of result."""

    media_type: str
    read: Callable[[Path], bytes]
    """Makes its content from the folder of the slide."""


def _zip_heatmap(folder: Path) -> bytes:
    """Put the Zarr group into a ZIP file, uncompressed: its arrays are compressed already."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for path in sorted((folder / HEATMAP).rglob("*")):
            if path.is_file():
                name = path.relative_to(folder).as_posix()
                archive.writestr(zipfile.ZipInfo(name, SOME_DAY), path.read_bytes())
    return file.getvalue()


def _draw_heatmap(folder: Path) -> bytes:
    return HeatmapPicture(Heatmap.load(folder / HEATMAP)).colour_png


RESULTS: Mapping[str, JobResult] = MappingProxyType(
    {
        "heatmap.zip": JobResult("application/zip", _zip_heatmap),
        "heatmap.png": JobResult("image/png", _draw_heatmap),
        "detections.csv": JobResult("text/csv", lambda one: (one / "detections.csv").read_bytes()),
        "outlines.geojson": JobResult(
            "application/geo+json", lambda one: (one / f"{one.name}.geojson").read_bytes()
        ),
        "detections.geojson": JobResult(
            "application/geo+json",
            lambda one: (one / f"{one.name}.detections.geojson").read_bytes(),
        ),
    }
)
