"""The files that can be made of a slide's prediction, and what each depends on. A new one is added
here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ...storage import GROUP, Output, Recipe
from . import asap, geojson, ome_tiff, ome_zarr, pictures, tables
from .settings import ExportFormat
from .source import ExportSource

__all__ = ["EXPORTERS", "FORMATS", "Exporter", "remove_exports"]


@dataclass(frozen=True, kw_only=True)
class Exporter:
    """One output in a slide's folder: files named after the slide, or a Zarr group."""

    write: Callable[[ExportSource, Path], Any]
    """Writes the file with the first suffix at a path, and the others beside it. For a Zarr group
    it fills a folder and returns the group's attributes."""
    suffixes: tuple[str, ...]
    """Endings of the names after the slide's id."""
    settings: tuple[str, ...] = ()
    """Export settings that change the files."""
    reads_detections: bool = False
    reads_pixels: bool = False
    is_group: bool = False

    def output(self, folder: Path, slide: str, recipe: Recipe) -> Output:
        """Return the output in the folder of a slide."""
        first = self.suffixes[0]
        if self.is_group:
            return Output(location=folder / f"{slide}{first}", recipe=recipe, recipe_file=GROUP)
        return Output(
            location=folder,
            recipe=recipe,
            recipe_file=f".export{first}.json",
            files=tuple(f"{slide}{suffix}" for suffix in self.suffixes),
            shares_folder=True,
        )

    def save(self, source: ExportSource, output: Output) -> None:
        """Write the output, whole or not at all."""
        attributes: dict[str, Any] = {}
        with output.write(attributes) as partial:
            folder = Path(partial)
            if self.is_group:
                attributes.update(self.write(source, folder))
            else:
                self.write(source, folder / f"{source.id}{self.suffixes[0]}")


CONTOURS = ("level", "simplify_um", "origin")
EXPORTERS: Mapping[str, Exporter] = MappingProxyType(
    {
        "contours": Exporter(
            write=geojson.write_contours, suffixes=(".geojson",), settings=CONTOURS
        ),
        "points": Exporter(
            write=geojson.write_points,
            suffixes=(".detections.geojson",),
            settings=("origin",),
            reads_detections=True,
        ),
        "asap": Exporter(
            write=asap.write_annotations,
            suffixes=(".xml",),
            settings=CONTOURS,
            reads_detections=True,
        ),
        "probability": Exporter(
            write=ome_tiff.write_probability,
            suffixes=(".probability.ome.tif",),
            settings=("cell_px",),
        ),
        "colours": Exporter(
            write=ome_tiff.write_colours,
            suffixes=(".colours.ome.tif",),
            settings=("cell_px", "colours"),
        ),
        "ome-zarr": Exporter(write=ome_zarr.write_levels, suffixes=(".ome.zarr",), is_group=True),
        "transparent": Exporter(
            write=pictures.write_transparent,
            suffixes=(".heatmap.png", ".heatmap.pgw"),
            settings=("cell_px", "colours"),
        ),
        "overlay": Exporter(
            write=pictures.write_overlay,
            suffixes=(".overlay.png", ".overlay.pgw"),
            settings=("colours", "picture_px"),
            reads_pixels=True,
        ),
        "summary": Exporter(
            write=tables.write_summary, suffixes=(tables.SUMMARY,), reads_detections=True
        ),
    }
)
FORMATS: Mapping[ExportFormat, tuple[str, ...]] = MappingProxyType(
    {
        "geojson": ("contours", "points"),
        "asap": ("asap",),
        "ome-tiff": ("probability", "colours"),
        "ome-zarr": ("ome-zarr",),
        "png": ("transparent", "overlay"),
        "csv": ("summary",),
        "qupath": ("contours", "points", "transparent"),
    }
)
"""Exporters of each format."""


def remove_exports(folder: Path, slide: str) -> None:
    """Remove the exports of a slide from its folder; other files stay."""
    nothing = Recipe(stage="export", settings={}, inputs={})
    for exporter in EXPORTERS.values():
        output = exporter.output(folder, slide, nothing)
        if not exporter.is_group or Path(output.location).exists():
            output.remove()
