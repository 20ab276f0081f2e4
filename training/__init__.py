"""Train a model on a patch store."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .bags.cohort_bags import CohortBag, label_windows, load_bags
from .bags.settings import BagLabels, BagSettings
from .fine_tune import FineTuneSettings, FineTuneStart, LabelledPatches, fine_tune
from .initial_weights import identify_initial_weights
from .members import Member, plan_members
from .regions.settings import RegionSettings
from .report.trackers import check_trackers
from .sampler import Batch, Sampler
from .settings import TrainSettings
from .top_windows.settings import TopWindowSettings
from .validation.model_check import check_with_patches, draw_validation_patches
from .validation.threshold import choose_threshold
from .whole_slides.picture import SlidePicture
from .whole_slides.settings import WholeSlideSettings

if TYPE_CHECKING:
    from .bags.fit import BagFit, BagHistoryRow, BagStart, fit_bags
    from .bags.train import BagOutcome, FeatureTraining
    from .loop import TrainOutcome, is_trained, train
    from .regions.history import RegionRow
    from .regions.train import RegionTraining
    from .task.folder import TaskOutcome
    from .top_windows.history import TopWindowRow
    from .top_windows.train import TopWindowTraining
    from .whole_slides.fit import WholeSlideModel, WholeSlideScores, train_whole_slides

__all__ = [
    "BagFit",
    "BagHistoryRow",
    "BagLabels",
    "BagOutcome",
    "BagSettings",
    "BagStart",
    "Batch",
    "CohortBag",
    "FeatureTraining",
    "FineTuneSettings",
    "FineTuneStart",
    "LabelledPatches",
    "Member",
    "RegionRow",
    "RegionSettings",
    "RegionTraining",
    "Sampler",
    "SlidePicture",
    "TaskOutcome",
    "TopWindowRow",
    "TopWindowSettings",
    "TopWindowTraining",
    "TrainOutcome",
    "TrainSettings",
    "WholeSlideModel",
    "WholeSlideScores",
    "WholeSlideSettings",
    "check_trackers",
    "check_with_patches",
    "choose_threshold",
    "draw_validation_patches",
    "fine_tune",
    "fit_bags",
    "identify_initial_weights",
    "is_trained",
    "label_windows",
    "load_bags",
    "plan_members",
    "train",
    "train_whole_slides",
]


SLOW = {
    "BagFit": ".bags.fit",
    "BagHistoryRow": ".bags.fit",
    "BagOutcome": ".bags.train",
    "BagStart": ".bags.fit",
    "FeatureTraining": ".bags.train",
    "TaskOutcome": ".task.folder",
    "RegionRow": ".regions.history",
    "RegionTraining": ".regions.train",
    "TopWindowRow": ".top_windows.history",
    "TopWindowTraining": ".top_windows.train",
    "TrainOutcome": ".loop",
    "WholeSlideModel": ".whole_slides.fit",
    "WholeSlideScores": ".whole_slides.fit",
    "fit_bags": ".bags.fit",
    "is_trained": ".loop",
    "train": ".loop",
    "train_whole_slides": ".whole_slides.fit",
}
"""Modules of names that need Keras."""


def __getattr__(name: str) -> Any:
    # Keras takes seconds to import: whoever only makes settings does not pay for it.
    if name in SLOW:
        from ..models import prepare_keras

        prepare_keras()
        return getattr(import_module(SLOW[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
