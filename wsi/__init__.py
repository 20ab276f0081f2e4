"""One slide: its pixels, its tissue, its annotation, and the results of a model on it."""

from .annotations import (
    ANNOTATION_SUFFIXES,
    DEFAULT_GROUPS,
    Annotation,
    AnnotationOrigin,
    GroupMeaning,
    Outline,
    annotation_suffix,
    invert_white_is_zero,
)
from .detections import Detections
from .geometry import CellGrid, Region, Scale, WindowSpec, ceil_div, floor_div, row_column
from .heatmap import CellStatus, Heatmap
from .heatmap_overlay import heatmap_colours, overlay_heatmap, shrink
from .input_spec import CLASSES, InputSpec, StainMethod
from .labels import tumor_fractions
from .orientation import ORIENTATIONS, orient
from .overview import Overview
from .raster import PolygonRaster
from .readers.tiff_directories import page_mpp_xy
from .settings import TissueSettings
from .slide import Slide, SlideInfo, open_slide
from .slide_frame import SlideFrame
from .spacing import describe_unlikely_mpp, warn_of_unlikely_mpp
from .stain_fit import STAIN_PATCHES, StainFit, fit_stain, fit_stain_to_patches
from .tiles import TileCache, UnreadableTile
from .tissue import TissueMask, tissue_in_image, tissue_mask

__all__ = [
    "ANNOTATION_SUFFIXES",
    "CLASSES",
    "DEFAULT_GROUPS",
    "ORIENTATIONS",
    "STAIN_PATCHES",
    "Annotation",
    "AnnotationOrigin",
    "CellGrid",
    "CellStatus",
    "Detections",
    "GroupMeaning",
    "Heatmap",
    "InputSpec",
    "Outline",
    "Overview",
    "PolygonRaster",
    "Region",
    "Scale",
    "Slide",
    "SlideFrame",
    "SlideInfo",
    "StainFit",
    "StainMethod",
    "TileCache",
    "TissueMask",
    "TissueSettings",
    "UnreadableTile",
    "WindowSpec",
    "annotation_suffix",
    "ceil_div",
    "describe_unlikely_mpp",
    "fit_stain",
    "fit_stain_to_patches",
    "floor_div",
    "heatmap_colours",
    "invert_white_is_zero",
    "open_slide",
    "orient",
    "overlay_heatmap",
    "page_mpp_xy",
    "row_column",
    "shrink",
    "tissue_in_image",
    "tissue_mask",
    "tumor_fractions",
    "warn_of_unlikely_mpp",
]
