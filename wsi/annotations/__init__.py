"""Annotations of a slide: named polygons with holes, one module per file format."""

from .annotation import DEFAULT_GROUPS, Annotation, GroupMeaning
from .annotation_file import ANNOTATION_SUFFIXES, annotation_suffix
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
    "annotation_suffix",
    "invert_white_is_zero",
]
