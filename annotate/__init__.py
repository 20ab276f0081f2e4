"""Outlines that people draw and correct: versions, proposals, what to look at next, minutes."""

from .cohort_versions import use_versions
from .corrections import Corrections, find_corrections
from .deal import AnnotationMode, Deal
from .drafts import Drafts
from .edit import (
    EditOperation,
    brush_area,
    edit_outline,
    polygon_area,
    simplify_outline,
    union_outlines,
)
from .exchange import AnnotationFormat, export_versions, read_cohort_outlines, read_outlines
from .folder import AnnotationFolder
from .identity import SlideIdentity, file_fingerprint
from .journal import EventKind, Journal, JournalEvent, active_seconds
from .minutes import (
    MINUTES_FIGURES,
    MODES,
    AnnotationTask,
    Minutes,
    dice,
    measure_minutes,
)
from .minutes_page import save_minutes
from .order import LookedAt, NextRegion, describe_outlines, next_regions, order_regions
from .outlines import COLOURS, DrawnOutline, OutlineOrigin, feature_lines, new_id
from .propose import Proposal, propose_slide, slides_with_heatmap
from .settings import Order, OrderSettings, ProposeSettings
from .valid_shapes import parse_features
from .version_info import SaveFacts, Version, VersionInfo
from .versions import SlideChangedError, SlideVersions, VersionConflictError, is_slide_id

__all__ = [
    "COLOURS",
    "MINUTES_FIGURES",
    "MODES",
    "AnnotationFolder",
    "AnnotationFormat",
    "AnnotationMode",
    "AnnotationTask",
    "Corrections",
    "Deal",
    "Drafts",
    "DrawnOutline",
    "EditOperation",
    "EventKind",
    "Journal",
    "JournalEvent",
    "LookedAt",
    "Minutes",
    "NextRegion",
    "Order",
    "OrderSettings",
    "OutlineOrigin",
    "Proposal",
    "ProposeSettings",
    "SaveFacts",
    "SlideChangedError",
    "SlideIdentity",
    "SlideVersions",
    "Version",
    "VersionConflictError",
    "VersionInfo",
    "active_seconds",
    "brush_area",
    "describe_outlines",
    "dice",
    "edit_outline",
    "export_versions",
    "feature_lines",
    "file_fingerprint",
    "find_corrections",
    "is_slide_id",
    "measure_minutes",
    "new_id",
    "next_regions",
    "order_regions",
    "parse_features",
    "polygon_area",
    "propose_slide",
    "read_cohort_outlines",
    "read_outlines",
    "save_minutes",
    "simplify_outline",
    "slides_with_heatmap",
    "union_outlines",
    "use_versions",
]
