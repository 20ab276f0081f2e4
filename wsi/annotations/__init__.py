"""Annotations of a slide: named polygons with holes, one module per file format."""

from .annotation import DEFAULT_GROUPS, Annotation, GroupMeaning, is_region
from .annotation_file import ANNOTATION_SUFFIXES, annotation_suffix
from .annotation_file import read_bytes as read_annotation_bytes
from .asap import write as write_asap
from .geojson import kind_without_region
from .mask import invert_white_is_zero
from .origin import AnnotationOrigin, find_offset
from .repair import polygons_in
from .repair import repair as repair_outlines
from .shapes import Outline
from .trace import trace_mask

__all__ = [
    "ANNOTATION_SUFFIXES",
    "DEFAULT_GROUPS",
    "Annotation",
    "AnnotationOrigin",
    "GroupMeaning",
    "Outline",
    "annotation_suffix",
    "find_offset",
    "invert_white_is_zero",
    "is_region",
    "kind_without_region",
    "polygons_in",
    "read_annotation_bytes",
    "repair_outlines",
    "trace_mask",
    "write_asap",
]
