"""Train a model on a patch store."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .members import Member, plan_members
from .model_check import check_with_patches, draw_validation_patches
from .sampler import Batch, Sampler
from .settings import TrainSettings
from .threshold import choose_threshold
from .trackers import check_trackers

if TYPE_CHECKING:
    from .loop import TrainOutcome, is_trained, train

__all__ = [
    "Batch",
    "Member",
    "Sampler",
    "TrainOutcome",
    "TrainSettings",
    "check_trackers",
    "check_with_patches",
    "choose_threshold",
    "draw_validation_patches",
    "is_trained",
    "plan_members",
    "train",
]


def __getattr__(name: str) -> Any:
    # Keras takes seconds to import: whoever only makes settings does not pay for it.
    if name in ("TrainOutcome", "is_trained", "train"):
        from ..models import prepare_keras

        prepare_keras()
        return getattr(import_module(".loop", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
