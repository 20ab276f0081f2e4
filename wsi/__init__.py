"""One slide: its pixels, its tissue, its annotation, and the results of a model on it."""

from .annotations import (
    ANNOTATION_SUFFIXES,
    DEFAULT_GROUPS,
    Annotation,
    AnnotationOrigin,
    GroupMeaning,
    Outline,
    annotation_suffix,
    find_offset,
    invert_white_is_zero,
    is_region,
    kind_without_region,
    polygons_in,
    read_annotation_bytes,
    repair_outlines,
    write_asap,
)
from .areas import Areas, areas_of, fill_holes, simplify_areas
from .detections import Detections
from .features.h5_layouts import SlideFacts, read_foreign_features, trident_folder, write_trident
from .features.slide_features import SlideFeatures
from .geometry import CellGrid, Region, Scale, WindowSpec, ceil_div, floor_div, row_column
from .heatmap.contours import Contour, find_contours
from .heatmap.heatmap import CellStatus, Heatmap
from .heatmap.overlay import heatmap_colours, overlay_heatmap, shrink
from .heatmap.regions import HeatmapRegions, find_regions
from .input_spec import CLASSES, InputSpec, StainMethod
from .labels import tumor_fractions
from .lesion_size import LESION_SIZES, MACRO_UM, classify_size
from .orientation import ORIENTATIONS, orient
from .overview import Overview
from .raster import PolygonRaster
from .readers.tiff_directories import page_mpp_xy
from .settings import TissueSettings
from .slide import Slide, open_slide
from .slide_frame import SlideFrame
from .slide_info import SlideInfo
from .spacing import describe_unlikely_mpp, is_same_mpp, warn_of_unlikely_mpp
from .stain_fit import STAIN_PATCHES, StainFit, fit_stain, fit_stain_to_patches
from .tiles import TileCache, UnreadableTile
from .tissue import TissueMask, tissue_in_image, tissue_mask

__all__ = [
    "ANNOTATION_SUFFIXES",
    "CLASSES",
    "DEFAULT_GROUPS",
    "LESION_SIZES",
    "MACRO_UM",
    "ORIENTATIONS",
    "STAIN_PATCHES",
    "Annotation",
    "AnnotationOrigin",
    "Areas",
    "CellGrid",
    "CellStatus",
    "Contour",
    "Detections",
    "GroupMeaning",
    "Heatmap",
    "HeatmapRegions",
    "InputSpec",
    "Outline",
    "Overview",
    "PolygonRaster",
    "Region",
    "Scale",
    "Slide",
    "SlideFacts",
    "SlideFeatures",
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
    "areas_of",
    "ceil_div",
    "classify_size",
    "describe_unlikely_mpp",
    "fill_holes",
    "find_contours",
    "find_offset",
    "find_regions",
    "fit_stain",
    "fit_stain_to_patches",
    "floor_div",
    "heatmap_colours",
    "invert_white_is_zero",
    "is_region",
    "is_same_mpp",
    "kind_without_region",
    "open_slide",
    "orient",
    "overlay_heatmap",
    "page_mpp_xy",
    "polygons_in",
    "read_annotation_bytes",
    "read_foreign_features",
    "repair_outlines",
    "row_column",
    "shrink",
    "simplify_areas",
    "tissue_in_image",
    "tissue_mask",
    "trident_folder",
    "tumor_fractions",
    "warn_of_unlikely_mpp",
    "write_asap",
    "write_trident",
]
