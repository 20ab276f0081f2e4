"""Annotations of a slide: named polygons with holes, one module per file format."""

from .annotation import ANNOTATION_SUFFIXES, DEFAULT_GROUPS, Annotation, GroupMeaning
from .mask import invert_white_is_zero
from .origin import AnnotationOrigin
from .shapes import Outline

__all__ = [
    "ANNOTATION_SUFFIXES",
    "DEFAULT_GROUPS",
    "Annotation",
    "AnnotationOrigin",
    "GroupMeaning",
    "Outline",
    "invert_white_is_zero",
]
