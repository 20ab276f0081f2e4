"""Model folder of a training: whether it is finished, and how it is written."""

import logging
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import keras

from ..models import CARD, WEIGHTS, ModelCard, find_architecture, hash_weights, parameter_counts
from ..storage import ModelError, Output, OutputState, SettingsError
from .checkpoints.checkpoint import LAST, Checkpoints
from .checkpoints.files import move_aside
from .inputs import TrainingInputs
from .network.optimiser import describe_optimiser
from .report.history import HistoryRow, load_history, rank_key, save_history
from .report.page import PAGE
from .report.plots import draw_curve
from .report.report import page_beside
from .validation.completion import complete_model

__all__ = ["HISTORY", "TrainOutcome", "TrainedModel"]

logger = logging.getLogger(__name__)

HISTORY = "history.csv"


@dataclass(frozen=True, kw_only=True)
class TrainOutcome:
    """A trained model; `trained` is False if the folder already held it."""

    card: ModelCard
    trained: bool
    best: HistoryRow


class TrainedModel(TrainingInputs):
    """Model that a training makes of its inputs: its folder, and its checkpoints beside it."""

    @property
    def output(self) -> Output:
        return Output(location=self.folder, recipe=self.recipe, files=(CARD, WEIGHTS, HISTORY))

    @property
    def checkpoints(self) -> Checkpoints:
        return Checkpoints.of_model(self.folder, self.recipe)

    def look(self) -> OutputState:
        """Return the state of the model folder.

        Raises:
            SettingsError: it holds something other than a model.
        """
        state = self.output.state()
        if state.status == "foreign":
            raise SettingsError(
                f"{self.folder}: holds something other than a model; give a new folder"
            )
        return state

    def is_finished(self, state: OutputState) -> bool:
        """Tell whether the folder holds this model, trained on as many examples or more."""
        if not state.is_unchanged or state.made is None:
            return False
        seen = state.made.extent.get("examples", state.made.settings.get("examples", 0))
        if seen < self.settings.examples:
            return False
        if seen > self.settings.examples:
            logger.warning(
                "%s: this model has seen %d examples, more than the %d asked for; it is kept",
                self.folder,
                seen,
                self.settings.examples,
            )
        try:
            self.outcome(trained=False)
        except ModelError as error:
            logger.warning("%s; it is trained again", error)
            return False
        last = load_history(self.folder / HISTORY)[-1]
        ended_early = last.examples < self.settings.examples
        return not ended_early or state.made.extent.get("patience") == self.settings.patience

    def _rank(self, row: HistoryRow) -> tuple[float, ...]:
        return rank_key(row, self.settings.best)

    def outcome(self, *, trained: bool) -> TrainOutcome:
        card = ModelCard.load(self.folder)
        card.check_weights(self.folder)
        rows = load_history(self.folder / HISTORY)
        if not rows:
            raise ModelError(f"{self.folder}: no {HISTORY}; train again")
        return TrainOutcome(card=card, trained=trained, best=max(rows, key=self._rank))

    def finish(
        self,
        network: keras.Model,
        history: list[HistoryRow],
        *,
        replaces: OutputState,
        is_new: bool,
    ) -> TrainOutcome:
        """Write the model folder from the checkpoint. An earlier model is renamed, unless this
        training continued it."""
        if replaces.status == "changed" or (replaces.status == "unchanged" and is_new):
            logger.warning(
                "%s: the earlier model was moved to %s", self.folder, move_aside(self.folder)
            )
        page = page_beside(self.folder)
        with self.output.write() as folder:
            assert isinstance(folder, Path)
            for name in (LAST, WEIGHTS):
                shutil.copy(self.checkpoints.newest / name, folder / name)
            save_history(history, folder / HISTORY)
            draw_curve(history, folder / "training_curve.png")
            if page.exists():  # none where the last validation was one of an earlier version
                shutil.copy(page, folder / PAGE)
            self._describe(network, history, folder).save(folder)
            self.complete(folder)
        page.unlink(missing_ok=True)
        return self.outcome(trained=True)

    def _describe(self, network: keras.Model, history: list[HistoryRow], folder: Path) -> ModelCard:
        """Make the card of the weights in a folder."""
        architecture = self.settings.architecture
        return ModelCard(
            architecture=architecture,
            options=self.builder.options,
            input_spec=self.spec,
            pixels=find_architecture(architecture).preprocessing,
            parameters=parameter_counts(network),
            training={
                "settings": self.settings.model_dump(mode="json", exclude={"track", "calibrate"}),
                "patches_from": self.tiles.model_dump(mode="json"),
                "backend": keras.backend.backend(),
                "keras": keras.__version__,
                "optimiser": describe_optimiser(self.settings),
                "best": asdict(max(history, key=self._rank)),
            },
            weights_sha256=hash_weights(folder),
        )

    def complete(self, folder: Path) -> None:
        """Calibrate the model in a folder, if that is wanted, and check it."""
        complete_model(
            folder,
            self.validation_sampler.draw(0),
            batch_size=self.settings.batch_size,
            calibrate=bool(self.settings.calibrate),
            architecture=self.settings.architecture,
        )

    def change_temperature(self) -> None:
        """Fit or remove the temperature of the finished model where the settings ask for it."""
        card, wanted = ModelCard.load(self.folder), self.settings.calibrate
        if wanted is not None and wanted != (card.temperature is not None):
            self.complete(self.folder)
