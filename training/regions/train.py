"""Train a model folder on outlined regions.

MODEL/card.json, model.weights.h5    as for any model; the card names the task
MODEL/history.csv, training.html     figures by epoch, and the preview of every epoch
MODEL/previews/epoch_0001.png …      the preview alone
MODEL/recipe.json                    settings, slides and their annotations

While it runs, the page lies beside the folder, and the previews beside the checkpoints.
"""

import logging
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import keras

from ...cohort import Cohort
from ...models import (
    CARD,
    REGION_ARCHITECTURE,
    WEIGHTS,
    ModelCard,
    hash_weights,
    parameter_counts,
)
from ...storage import Output, OutputState, Recipe, SettingsError, format_count
from ..checkpoint import Checkpoints
from ..checkpoint_files import move_aside
from ..report.history import load_history, save_history
from ..report.page import PAGE
from ..report.report import page_beside
from .annotated import identify_slide
from .crops import CropSource
from .encoder import find_network
from .fit import RegionFit
from .history import RegionRow
from .page import RegionPage
from .preview import PREVIEWS, Preview
from .settings import RegionSettings

__all__ = ["RegionOutcome", "RegionTraining"]

logger = logging.getLogger(__name__)

STAGE = "train-regions"
HISTORY = "history.csv"
OTHERS = 4  # crops of the preview that lie on other than training slides


@dataclass(frozen=True, kw_only=True)
class RegionOutcome:
    """A trained model; `trained` is False if the folder already held it."""

    card: ModelCard
    trained: bool
    best: RegionRow


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
        train = [row for row in cohort if row.split == "train" or not cohort.has_splits]
        validation = [row for row in cohort if row.split == "validation"]
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
    ) -> RegionOutcome:
        """Train one model with this seed into a folder, or continue it; keep one that the same
        settings, seed and outlines made. An earlier one of other ones is renamed.

        on_step receives the number of steps done, and figures.

        Raises:
            SettingsError: the folder holds something else.
            ModelError: the loss became NaN.
        """
        output, recipe = self._output(folder, seed), self._recipe(seed)
        state = output.state()
        if state.status == "foreign":
            raise SettingsError(
                f"{folder}: holds something other than a model of regions; give a new folder"
            )
        if state.is_unchanged:
            ModelCard.load(folder).check_weights(folder)
            return self._outcome(folder, trained=False)
        checkpoints = Checkpoints.of_model(folder, recipe, RegionRow)
        checkpoints.clean_up()
        if checkpoints.differences():
            moved = move_aside(checkpoints.folder)
            logger.warning("%s: belong to another training; moved to %s", checkpoints.folder, moved)
        fit = self._fit(folder, checkpoints, seed)
        fit.run(on_step)
        self._finish(fit, output, state)
        return self._outcome(folder, trained=True)

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
            page=RegionPage(
                path=page_beside(folder), model=folder.name, settings=self.settings, seed=seed
            ),
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

    def _output(self, folder: Path, seed: int) -> Output:
        files = (CARD, WEIGHTS, HISTORY)
        return Output(location=folder, recipe=self._recipe(seed), files=files)

    def _outcome(self, folder: Path, *, trained: bool) -> RegionOutcome:
        card = ModelCard.load(folder)
        rows = load_history(folder / HISTORY, RegionRow)
        best = next(row for row in rows if row.epoch == card.training["best"]["epoch"])
        return RegionOutcome(card=card, trained=trained, best=best)

    def _finish(self, fit: RegionFit, output: Output, replaces: OutputState) -> None:
        """Write the model folder from the checkpoint."""
        folder = Path(output.location)
        if replaces.status == "changed":
            logger.warning("%s: the earlier model was moved to %s", folder, move_aside(folder))
        page = page_beside(folder)
        with output.write() as partial:
            made = Path(partial)
            shutil.copy(fit.checkpoints.newest / WEIGHTS, made / WEIGHTS)
            save_history(fit.history, made / HISTORY, RegionRow)
            shutil.copytree(fit.previews, made / PREVIEWS)
            if page.exists():
                shutil.copy(page, made / PAGE)
            self._describe(fit, made).save(made)
        page.unlink(missing_ok=True)

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
