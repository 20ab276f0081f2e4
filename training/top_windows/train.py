"""Train a model folder from labels of slides, end to end.

MODEL/card.json, model.weights.h5    a model of windows, as any for gigaslide predict
MODEL/history.csv, training.html     figures by epoch, and windows that taught
MODEL/check.json                     what it calls tumour, see gigaslide model check
MODEL/recipe.json                    settings, slides and their labels

While it runs, the page and the checkpoints lie beside the folder.
"""

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

import keras
import numpy as np

from ...batch import stop_signals
from ...cohort import Cohort
from ...models import (
    ModelCard,
    find_architecture,
    hash_initial_weights,
    hash_weights,
    parameter_counts,
)
from ...storage import Recipe, format_count
from ..network.optimiser import describe_optimiser
from ..sampler import Batch
from ..task.folder import TaskFolder, TaskOutcome, split_slides
from ..validation.completion import complete_model
from ..validation.model_check import CHECKED
from .fit import TopWindowFit
from .history import TopWindowRow
from .page import TopWindowPage
from .settings import TopWindowSettings
from .slides import WindowSource, identify_slide

__all__ = ["TopWindowTraining"]

STAGE = "train-slides"
FREE_SETTINGS = frozenset({"checkpoint_minutes", "initial_weights"})
"""Settings that a training may go on without; the recipe has the hash of the weights instead."""


class TopWindowTraining:
    """Labelled slides of a cohort, from which any number of members is trained."""

    def __init__(self, cohort: Cohort, settings: TopWindowSettings) -> None:
        """Find the windows of the training and the validation slides.

        Without splits, all labelled slides are training slides.

        Raises:
            SettingsError: a class has no training slide.
            SlideError, SpacingError: a slide cannot be used.
            ModelError: initial weights that are missing.
        """
        self.settings = settings
        train, validation = split_slides(cohort)
        self._weights = (
            hash_initial_weights(settings.initial_weights, settings.architecture)
            if settings.initial_weights
            else ""
        )
        self.train_slides = WindowSource(train, settings)
        self.train_slides.check()
        self.validation_slides = WindowSource(validation, settings)
        self._sources = {"train": self.train_slides, "validation": self.validation_slides}

    def describe(self) -> str:
        """Describe what there is to learn from."""
        slides = self.train_slides.slides
        tumor, windows = sum(s.is_tumor for s in slides), sum(len(s.xy) for s in slides)
        validation = format_count(len(self.validation_slides.slides), "validation slide")
        return (
            f"{format_count(len(slides), 'slide')}, {tumor} tumour, with "
            f"{format_count(windows, 'window')}; {validation}"
        )

    def train(
        self,
        folder: Path,
        *,
        seed: int,
        on_step: Callable[[int, dict[str, float]], None] | None = None,
    ) -> TaskOutcome[TopWindowRow]:
        """Train one model with this seed into a folder, or continue it; keep one that the same
        settings, seed, slides and labels made. An earlier one of other ones is renamed.

        on_step receives the number of steps done, and figures.

        Raises:
            SettingsError: the folder holds something else.
            ModelError: the loss became NaN.
            Stopped: a signal came; a checkpoint is written.
        """
        made = TaskFolder(
            path=folder, recipe=self._recipe(seed), row=TopWindowRow, name="a model of slide labels"
        )
        checkpoints = made.begin()
        if checkpoints is None:
            return made.outcome(trained=False)
        fit = TopWindowFit(
            settings=self.settings,
            source=self.train_slides,
            validation=self.validation_slides,
            checkpoints=checkpoints,
            page=TopWindowPage.beside(folder, self.settings, seed=seed),
            seed=seed,
        )
        with stop_signals() as stop:
            fit.run(stop, on_step)
        made.finish(checkpoints, fit.history, partial(self._describe, fit), complete=self._check)
        return made.outcome(trained=True)

    def _recipe(self, seed: int) -> Recipe:
        settings = self.settings.model_dump(mode="json", exclude=set(FREE_SETTINGS))
        slides = [slide.row for source in self._sources.values() for slide in source.slides]
        weights = {"initial_weights": self._weights} if self._weights else {}
        return Recipe(
            stage=STAGE,
            settings={**settings, "seed": seed},
            inputs={"slides": {row.id: identify_slide(row) for row in slides}, **weights},
        )

    def _check(self, folder: Path) -> None:
        """Check the model in a folder on windows of normal slides: of the validation, or of the
        training where it has none."""
        sources = (self.validation_slides, self.train_slides)
        windows = next(found for one in sources if len(found := one.normal_windows(CHECKED)))
        complete_model(
            folder,
            Batch(windows, np.zeros(len(windows), np.int64)),
            batch_size=CHECKED,
            calibrate=False,
            architecture=self.settings.architecture,
        )

    def _describe(self, fit: TopWindowFit, folder: Path) -> ModelCard:
        architecture = self.settings.architecture
        return ModelCard(
            architecture=architecture,
            options=fit.builder.options,
            input_spec=self.settings.input_spec,
            pixels=find_architecture(architecture).preprocessing,
            parameters=parameter_counts(fit.network),
            training={
                "settings": {**self.settings.model_dump(mode="json"), "seed": fit.seed},
                "slides": {
                    split: [slide.row.id for slide in source.slides]
                    for split, source in self._sources.items()
                },
                "best": asdict(fit.best),
                "optimiser": describe_optimiser(fit.builder.settings),
                "backend": keras.backend.backend(),
                "keras": keras.__version__,
            },
            weights_sha256=hash_weights(folder),
        )
