"""One slide: its pixels, its tissue, what is drawn on it, and what a model says of it."""

from .annotations import DEFAULT_GROUPS, Annotation, GroupMeaning, Outline, SlideFrame
from .cohort import Cohort, CohortSlide
from .detections import Detections
from .errors import (
    AnnotationError,
    ClusterError,
    GigaslideError,
    ModelError,
    ScoreError,
    SettingsError,
    SlideError,
    SpacingError,
    StoreError,
    UnreadableRegionError,
)
from .geometry import CellGrid, Region, Scale, WindowSpec, ceil_div, floor_div, row_column
from .heatmap import CellStatus, Heatmap
from .labels import tumor_fractions
from .location import Location, exists
from .orientation import ORIENTATIONS, oriented
from .outputs import refuse_foreign_folder, remove_folder, restore_folder, whole_file, whole_folder
from .overview import Overview
from .picture import heatmap_colours, heatmap_over, shrunk
from .propose import propose_cohort
from .raster import PolygonRaster
from .readers.tiff_directories import page_mpp_xy
from .recipe import Recipe, file_identity, gigaslide_version
from .settings import Number, Settings, TissueSettings
from .slide import Slide, SlideInfo, open_slide
from .tiles import UnreadableTile
from .tissue import TissueMask, tissue_in_image, tissue_mask
from .words import counted, noun_of

__all__ = [
    "DEFAULT_GROUPS",
    "ORIENTATIONS",
    "Annotation",
    "AnnotationError",
    "CellGrid",
    "CellStatus",
    "ClusterError",
    "Cohort",
    "CohortSlide",
    "Detections",
    "GigaslideError",
    "GroupMeaning",
    "Heatmap",
    "Location",
    "ModelError",
    "Number",
    "Outline",
    "Overview",
    "PolygonRaster",
    "Recipe",
    "Region",
    "Scale",
    "ScoreError",
    "Settings",
    "SettingsError",
    "Slide",
    "SlideError",
    "SlideFrame",
    "SlideInfo",
    "SpacingError",
    "StoreError",
    "TissueMask",
    "TissueSettings",
    "UnreadableRegionError",
    "UnreadableTile",
    "WindowSpec",
    "ceil_div",
    "counted",
    "exists",
    "file_identity",
    "floor_div",
    "gigaslide_version",
    "heatmap_colours",
    "heatmap_over",
    "noun_of",
    "open_slide",
    "oriented",
    "page_mpp_xy",
    "propose_cohort",
    "refuse_foreign_folder",
    "remove_folder",
    "restore_folder",
    "row_column",
    "shrunk",
    "tissue_in_image",
    "tissue_mask",
    "tumor_fractions",
    "whole_file",
    "whole_folder",
]
