"""Inputs and versions of an evaluation or a comparison, for its recipe."""

from importlib.metadata import version
from typing import Any

from ...cohort import CohortSlide
from ...storage import file_identity, gigaslide_version, location_exists

__all__ = ["identify_slide", "list_versions"]

LIBRARIES = ("numpy", "scipy", "scikit-learn", "shapely")


def list_versions() -> dict[str, str]:
    """Versions of gigaslide and of the libraries that compute the figures."""
    return {"gigaslide": gigaslide_version(), **{name: version(name) for name in LIBRARIES}}


def identify_slide(slide: CohortSlide) -> dict[str, Any]:
    """Facts about a slide, and the identities of its file and its annotation."""
    files = {"slide": slide.path, "annotation": slide.annotation}
    return {
        "label": slide.label,
        "patient": slide.patient,
        "mpp": slide.mpp,
        "exhaustive": slide.exhaustive,
        "further": dict(slide.further),
        **{
            name: file_identity(path) if path and location_exists(path) else None
            for name, path in files.items()
        },
    }
