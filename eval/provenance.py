"""What an evaluation or a comparison was made from: slides, files and versions, as its recipe keeps
them."""

from importlib.metadata import version
from typing import Any

from ..cohort import CohortSlide
from ..storage import file_identity, gigaslide_version, location_exists

__all__ = ["made_with", "slide_inputs"]

LIBRARIES = ("numpy", "scipy", "scikit-learn", "shapely")


def made_with() -> dict[str, str]:
    """Our version, and those of the libraries that figures come from."""
    return {"gigaslide": gigaslide_version(), **{name: version(name) for name in LIBRARIES}}


def slide_inputs(slide: CohortSlide) -> dict[str, Any]:
    """What is known of a slide, and which files it and its annotation are, for a recipe."""
    read = {"slide": slide.path, "annotation": slide.annotation}
    files = {
        name: file_identity(path) if path and location_exists(path) else None
        for name, path in read.items()
    }
    known = {
        "label": slide.label,
        "patient": slide.patient,
        "mpp": slide.mpp,
        "exhaustive": slide.exhaustive,
        "further": dict(slide.further),
    }
    return {**known, **files}
