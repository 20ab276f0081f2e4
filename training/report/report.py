"""Report of a training while it runs: the page is written and the trackers are told at every
validation."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...storage import Settings
from ...wsi import InputSpec
from ..checkpoints.checkpoint import TrainingState
from ..progress import Progress
from ..sampler import Batch
from ..settings import TrainSettings
from .input_monitor import InputMonitor
from .page import PAGE, TrainingPage, ValidationScores
from .trackers import TrackedRun

__all__ = ["Report", "flatten_settings", "page_beside"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Report:
    """Report of one training."""

    page: TrainingPage
    tracked: TrackedRun
    progress: Progress
    """Its history grows with every validation."""
    is_over: Callable[[TrainingState], bool]
    """Tells whether the training has ended."""
    monitor: InputMonitor
    checked: Batch
    """Patches that every validation scores."""

    @classmethod
    def of(
        cls,
        model: Path,
        settings: TrainSettings,
        spec: InputSpec,
        *,
        parameters: int,
        **others: Any,
    ) -> "Report":
        """Make the report of a training into a model folder; others are the fields but the page."""
        shown = flatten_settings(settings)
        same_recipe = settings.model_dump(include={"recipe", "initial_weights"})
        defaults = flatten_settings(TrainSettings(**same_recipe))
        page = TrainingPage(
            path=page_beside(model),
            model=model.name,
            examples=settings.examples,
            spec=spec,
            parameters=parameters,
            settings=shown,
            changed=frozenset(name for name in shown if shown[name] != defaults.get(name)),
        )
        return cls(page=page, **others)

    def add(self, scores: np.ndarray) -> None:
        """Tell of the last validation, whose patches got those scores (N,)."""
        state = self.progress.state
        self.tracked.log(state.history)
        validation = ValidationScores(
            batch=self.checked, scores=scores, is_last=self.is_over(state)
        )
        try:
            self.page.save(state.history, self.monitor.batch, validation)
        except OSError as error:
            logger.warning("%s: cannot be written: %s", self.page.path, error)


def page_beside(model: Path) -> Path:
    """Return the path of the page beside a model folder that is not there yet."""
    return model.with_name(f"{model.name}.{PAGE}")


def flatten_settings(settings: Settings) -> dict[str, Any]:
    """Return the settings by name, those of settings with a dot: {"augment.hue": 0.1}."""
    return _flatten(settings.model_dump(mode="json", exclude={"track"}))


def _flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat
