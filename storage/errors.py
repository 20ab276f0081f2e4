"""The error tree of gigaslide: one base, and in each class the builtin that a stranger would catch.

A message names the slide or file, what was expected, what came, and what to do next.
"""

__all__ = [
    "AnnotationError",
    "ClusterError",
    "GigaslideError",
    "ModelError",
    "ScoreError",
    "SettingsError",
    "SlideError",
    "SpacingError",
    "StoreError",
    "UnreadableRegionError",
]


class GigaslideError(Exception):
    """Base of everything gigaslide raises on purpose."""


class SettingsError(GigaslideError, ValueError):
    """A setting, an option or a cohort table that cannot be used."""


class SlideError(GigaslideError, OSError):
    """A file that is not a slide, or a slide that cannot be opened."""


class SpacingError(SlideError, ValueError):
    """µm/px that is missing, absurd, or finer than the slide holds."""


class UnreadableRegionError(SlideError):
    """A part of an open slide whose pixels cannot be decoded."""


class AnnotationError(GigaslideError, ValueError):
    """An annotation file that cannot be read, or that says nothing certain."""


class StoreError(GigaslideError, OSError):
    """A patch store or heatmap that is missing, damaged or made by another recipe."""


class ModelError(GigaslideError, ValueError):
    """A model folder that is missing, damaged, or does not fit the job."""


class ScoreError(GigaslideError, ValueError):
    """Predictions and truth from which no figure can be computed."""


class ClusterError(GigaslideError, RuntimeError):
    """Workers or a scheduler that cannot be used."""
