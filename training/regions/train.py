"""Train a model folder on outlined regions.

MODEL/card.json, model.weights.h5    as for any model; the card names the task
MODEL/history.csv, training.html     figures by epoch, and the preview of every epoch
MODEL/previews/epoch_0001.png …      the preview alone
MODEL/recipe.json                    settings, slides and their annotations

While it runs, the page lies beside the folder, and the previews beside the checkpoints.
"""

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

import keras

from ...cohort import Cohort
from ...models import REGION_ARCHITECTURE, ModelCard, hash_weights, parameter_counts
from ...storage import Recipe, format_count
from ..checkpoints.checkpoint import Checkpoints
from ..task.folder import TaskFolder, TaskOutcome, split_slides
from .annotated import identify_slide
from .crops import CropSource
from .encoder import find_network
from .fit import RegionFit
from .history import RegionRow
from .page import RegionPage
from .preview import Preview
from .settings import RegionSettings

__all__ = ["RegionTraining"]

STAGE = "train-regions"
OTHERS = 4  # crops of the preview that lie on other than training slides


class RegionTraining:
    """Outlined slides of a cohort, from which any number of members is trained."""

    def __init__(self, cohort: Cohort, settings: RegionSettings) -> None:
        """Load the outlines of the training and the validation slides.

        Without splits, all slides are training slides.

        Raises:
            SettingsError: nothing that is wanted is outlined.
            SlideError, AnnotationError, SpacingError: a slide or its annotation cannot be used.
            ModelError: the encoder cannot be used.
        """
        self.settings = settings
        self.network = find_network(settings)
        train, validation = split_slides(cohort)
        self.train_slides = CropSource(train, settings)
        self.train_slides.check()
        self.validation_slides = CropSource(validation, settings)
        self._rows = [*train, *validation]

    def describe(self) -> str:
        """Describe what there is to learn from."""
        train, validation = len(self.train_slides), len(self.validation_slides)
        places = sum(len(slide.positive) for slide in self.train_slides.slides)
        return (
            f"{format_count(train, 'outlined slide')}, {format_count(places, 'place')} in what is "
            f"wanted; {format_count(validation, 'validation slide')}"
        )

    def train(
        self,
        folder: Path,
        *,
        seed: int,
        on_step: Callable[[int, dict[str, float]], None] | None = None,
    ) -> TaskOutcome[RegionRow]:
        """Train one model with this seed into a folder, or continue it; keep one that the same
        settings, seed and outlines made. An earlier one of other ones is renamed.

        on_step receives the number of steps done, and figures.

        Raises:
            SettingsError: the folder holds something else.
            ModelError: the loss became NaN.
        """
        made = TaskFolder(
            path=folder, recipe=self._recipe(seed), row=RegionRow, name="a model of regions"
        )
        checkpoints = made.begin()
        if checkpoints is None:
            return made.outcome(trained=False)
        fit = self._fit(folder, checkpoints, seed)
        fit.run(on_step)
        made.finish(checkpoints, fit.history, partial(self._describe, fit), folders=[fit.previews])
        return made.outcome(trained=True)

    def _fit(self, folder: Path, checkpoints: Checkpoints, seed: int) -> RegionFit:
        source = self.train_slides.with_seed(seed)
        preview = Preview.of(
            self.train_slides, self.validation_slides, self.settings, others=OTHERS
        )
        return RegionFit(
            settings=self.settings,
            network=self.network,
            source=source,
            validation=self.validation_slides.fixed(self.settings.validation_crops, positive=False),
            preview=preview,
            checkpoints=checkpoints,
            page=RegionPage.beside(folder, self.settings, seed=seed),
            seed=seed,
        )

    def _recipe(self, seed: int) -> Recipe:
        shown = self.settings.model_dump(mode="json", exclude={"encoder", "encoder_weights"})
        encoder = {"hash": self.network.encoder_hash, **self.network.options.model_dump()}
        return Recipe(
            stage=STAGE,
            settings={**shown, "network": encoder, "seed": seed},
            inputs={"slides": {row.id: identify_slide(row) for row in self._rows}},
        )

    def _describe(self, fit: RegionFit, folder: Path) -> ModelCard:
        return ModelCard(
            architecture=REGION_ARCHITECTURE,
            task="regions",
            options=self.network.options.model_dump(mode="json"),
            input_spec=self.settings.input_spec,
            pixels="RGB in [0, 255], scaled inside the network",
            parameters=parameter_counts(fit.built),
            training={
                "settings": {**self.settings.model_dump(mode="json"), "seed": fit.seed},
                "slides": {
                    "train": [slide.id for slide in self.train_slides.slides],
                    "validation": [slide.id for slide in self.validation_slides.slides],
                },
                "best": asdict(fit.best),
                "optimiser": "Adam of Keras 3, cosine",
                "backend": keras.backend.backend(),
                "keras": keras.__version__,
            },
            weights_sha256=hash_weights(folder),
        )
