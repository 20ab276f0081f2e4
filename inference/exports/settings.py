"""Settings of exports."""

from typing import Annotated, Literal

from pydantic import Field

from ...storage import Settings

__all__ = ["ExportFormat", "ExportSettings"]

ExportFormat = Literal["geojson", "asap", "ome-tiff", "ome-zarr", "png", "csv", "qupath"]
Level = Annotated[float, Field(ge=0, lt=1)]


class ExportSettings(Settings):
    """Settings of the files made from heatmaps and detections."""

    to: tuple[ExportFormat, ...] = ()
    """Format. Repeatable. png needs the slides, see --slides."""
    level: tuple[Level, ...] = Field(default=(0.5,), min_length=1)
    """Probability above which cells lie inside a contour. Repeatable."""
    simplify_um: float = Field(default=0.0, ge=0)
    """Maximum distance between a contour and the edges of its cells (µm); 0 follows them
    exactly."""
    origin: Literal["slide", "bounds"] = "slide"
    """Corner that px of GeoJSON and ASAP are counted from: the slide's, or that of its scanned part
    (bounds), as programs do that crop the slide. bounds needs --slides."""
    cell_px: int | None = Field(default=None, ge=1, le=256)
    """Side of a heatmap cell in OME-TIFF and PNG (px). Default: as many as give the longer side of
    the slide about 1000 px, at least 1 and at most 32."""
    colours: Literal["viridis", "magma", "turbo"] = "viridis"
    """Colour map of pictures, from probability 0 to 1."""
    picture_px: int = Field(default=2000, ge=100, le=20_000)
    """Minimum length of the longer side of the overlay, if the slide has as many px."""
