"""Settings that trainings straight from a cohort share."""

from typing import Annotated, Any

from pydantic import BeforeValidator

from ...patching import AugmentSettings
from ..settings import MODERN_AUGMENT

__all__ = ["AUGMENT", "TaskAugment"]

AUGMENT = MODERN_AUGMENT.model_copy(update={"jitter_px": 0})


def _fill_in(given: Any) -> Any:
    return {**AUGMENT.model_dump(), **given} if isinstance(given, dict) else given


TaskAugment = Annotated[AugmentSettings, BeforeValidator(_fill_in)]
"""Augmentation whose settings that are not given are those of `AUGMENT`."""
