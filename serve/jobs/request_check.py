"""Check of a request before its job is queued: what is known as soon as the slide is open."""

import re
from typing import Any

from ...cohort import CohortSlide
from ...storage import SlideError
from ...wsi import Region, open_slide
from ..answers import Problem
from ..catalogue import hide_path
from .job import ServedModel

__all__ = ["check_request", "in_words_of_requests"]

_OPTION = re.compile(r"--[a-z0-9]+(?:-[a-z0-9]+)*")


def check_request(
    model: ServedModel, slide: CohortSlide, settings: dict[str, Any], within: Region | None
) -> None:
    """Refuse a slide that the model cannot score, or a region beside it.

    Raises:
        Problem: the slide cannot be opened, its µm/px is unknown or coarser than the model's, or
            the region begins outside it.
    """
    try:
        with open_slide(
            slide.path, mpp=slide.mpp, fallback_mpp=settings.get("slide_mpp")
        ) as opened:
            opened.scale(
                min(model.card["input_spec"]["mpps"]),
                allow_upsampling=bool(settings.get("allow_upsampling")),
                network="model",
            )
            width, height = opened.size
    except (SlideError, OSError) as error:
        raise Problem(422, in_words_of_requests(hide_path(str(error), slide), model)) from error
    if within is not None and (within.x >= width or within.y >= height):
        raise Problem(
            422,
            f"region: begins at x {within.x}, y {within.y}, outside {slide.id} of "
            f"{width} × {height} px; give level-0 px",
        )


def in_words_of_requests(words: str, model: ServedModel) -> str:
    """Name the settings of a request instead of the options of the command line."""
    options = {f"--{name.replace('_', '-')}": name for name in model.settings.model_fields}

    def name_setting(found: re.Match[str]) -> str:
        name = options.get(found[0])
        return found[0] if name is None else f"settings.{name}"

    return _OPTION.sub(name_setting, words)
