"""What is drawn on a slide: named polygons with holes, one module per file format."""

from .annotation import DEFAULT_GROUPS, Annotation, GroupMeaning, Outline

__all__ = ["DEFAULT_GROUPS", "Annotation", "GroupMeaning", "Outline"]
