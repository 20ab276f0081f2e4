"""From a patch store to a model folder, read from top to bottom.

Keras trains from one validation to the next, which is an epoch in its words, whatever share of the
patches it covers. Checkpoints are written at each validation and every few minutes, and lie beside
the model folder, see `checkpoint`. The model folder itself appears when the training ends.
"""

import logging
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import keras
import numpy as np

from ..batch import stop_signals
from ..cohort import Cohort
from ..models import (
    CARD,
    WEIGHTS,
    ModelCard,
    find_architecture,
    hash_weights,
    parameter_counts,
    refuse_other_network,
)
from ..patching import PatchStore
from ..storage import ModelError, Output, OutputState, SettingsError, remove_folder
from .checkpoint import (
    LAST,
    Checkpoints,
    DivergedError,
    TrainingState,
    Unvalidated,
    move_aside,
    read_recipe,
)
from .completion import complete_model
from .dataset import BatchDataset, one_hot
from .hardware import divide_batches
from .history import HistoryRow, is_candidate, load_history, rank_key, save_history
from .input_monitor import InputMonitor
from .inputs import TrainingInputs
from .optimiser import describe_optimiser
from .page import PAGE
from .picture import save_batch
from .plots import draw_curve
from .probe import fit_probe
from .report import Report, flatten_settings, page_beside
from .settings import TrainSettings
from .step_seed import StepSeed, seed_step
from .trackers import TrackedRun, check_trackers
from .validation import Progress, Validation

__all__ = ["TrainOutcome", "is_trained", "train"]

logger = logging.getLogger(__name__)

HISTORY = "history.csv"


@dataclass(frozen=True, kw_only=True)
class TrainOutcome:
    """A trained model; `trained` is False if the folder already held it."""

    card: ModelCard
    trained: bool
    best: HistoryRow


def train(
    store: PatchStore,
    folder: Path,
    settings: TrainSettings,
    *,
    slides: Cohort | None = None,
    on_step: Callable[[int, dict[str, float]], None] | None = None,
) -> TrainOutcome:
    """Train on the store's training slides, validate on its validation slides, and keep the weights
    of the best validation and the last ones.

    The best validation has the highest figure `settings.best`, by default the AUC over patches; at
    a tie, the lowest loss. slides is the cohort whose validation slides are predicted whole where
    `settings.validate_slides_every` asks for that. A stopped
    training continues from its last checkpoint, on a CPU to the same weights as if it had not
    stopped; so does a finished one with a larger
    `settings.examples`. Other settings or patches start anew: the log says what changed, and the
    earlier checkpoint and model are renamed, never removed. on_step receives the examples seen and
    the latest figures after every step.

    Raises:
        SettingsError: a class has no patches in training or validation, the jitter exceeds the
            store's margin, folder holds something other than a model, or a tracker is not
            installed or cannot be started.
        StoreError: damaged patches, patches that change meanwhile, or checkpoints that are all
            damaged.
        ModelError: the loss became NaN; the last good checkpoint stays, and so does an earlier
            model.
        Stopped: SIGTERM or SIGINT; a checkpoint has been written. Only in the main thread.
    """
    check_trackers(settings.track)
    job = _Training(store, folder, settings, slides)
    output = job.output.state()
    if output.status == "foreign":
        raise foreign_folder(folder)
    if job.is_finished(output):
        job.change_temperature()
        return job.outcome(trained=False)
    with stop_signals() as stop:
        stop.at_once = True  # nothing is lost until the first step
        with divide_batches(settings.devices):
            network, state = job.begin(output)
        progress = Progress(
            job.checkpoints,
            state,
            stop,
            checkpoint_seconds=60 * settings.checkpoint_minutes,
            check_inputs=job.check_unchanged,
            batch_size=settings.batch_size,
            on_step=on_step or (lambda examples, figures: None),
        )
        tracked = TrackedRun.open(settings.track, folder, resumed=state.step > 0)
        with tracked.started(flatten_settings(settings)):
            stop.at_once = False
            with divide_batches(settings.devices):
                job.run(network, progress, tracked)
            stop.at_once = True  # the checkpoint has everything
            progress.stop_if_asked()
            outcome = job.finish(
                network, progress.state.history, replaces=output, is_new=not state.step
            )
            for name in (CARD, HISTORY, PAGE):
                if (folder / name).exists():
                    tracked.artifact(folder / name)
    return outcome


def is_trained(
    store: PatchStore, folder: Path, settings: TrainSettings, *, slides: Cohort | None = None
) -> bool:
    """Tell whether `train` would leave the folder's model as it is, but for its temperature.

    Raises:
        SettingsError, ModelError: as `train` does before it begins.
    """
    job = _Training(store, folder, settings, slides)
    output = job.output.state()
    if output.status == "foreign":
        raise foreign_folder(folder)
    return job.is_finished(output)


def foreign_folder(folder: Path) -> SettingsError:
    return SettingsError(f"{folder}: holds something other than a model; give a new folder")


class _Training(TrainingInputs):
    """One training: its inputs, its checkpoints and its model folder."""

    @property
    def output(self) -> Output:
        return Output(location=self.folder, recipe=self.recipe, files=(CARD, WEIGHTS, HISTORY))

    @property
    def checkpoints(self) -> Checkpoints:
        return Checkpoints.of_model(self.folder, self.recipe)

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

    def begin(self, output: OutputState) -> tuple[keras.Model, TrainingState]:
        """Build the network, and fill it from a checkpoint if that has the same recipe.

        Return the network and the state of its training. Checkpoints of another recipe are moved
        aside.
        """
        self._refuse_other_network()
        differences = self.checkpoints.differences()
        # A probe has no steps to go on from.
        if differences == [] and self.settings.recipe != "probe":
            network, state = self.checkpoints.load(self.rebuild)
            examples = state.step * self.settings.batch_size
            logger.warning("%s: training continues after %d examples", self.folder, examples)
            return network, state
        # First, because it may fail: nothing is moved then.
        network = self.builder.build(0)
        self.builder.check_fast_ways(network, self.sampler.draw(0))
        if differences == []:
            remove_folder(self.checkpoints.folder)  # of the same probe
        elif differences:
            rows = self.checkpoints.history()
            seen = rows[-1].examples if rows else 0
            moved = move_aside(self.checkpoints.folder)
            logger.warning(
                "%s: training starts anew, because of %s; the earlier checkpoints (%d examples) "
                "were moved to %s",
                self.folder,
                "; ".join(differences[:5]),
                seen,
                moved,
            )
        elif output.made is not None and differences is None:
            reason = "; ".join(output.differences[:5]) or f"{self.checkpoints.folder} is missing"
            logger.warning("%s: training starts anew: %s", self.folder, reason)
        return network, TrainingState()

    def rebuild(self, step: int) -> keras.Model:
        """Build the network for a checkpoint of that step, compiled as it was when it was saved."""
        return self.builder.build(max(0, step - 1), fill=False)

    def _refuse_other_network(self) -> None:
        """Refuse to start anew in place of a network of the user's own: most likely its option was
        forgotten."""
        for folder in (self.folder, *self.checkpoints.find()):
            made = read_recipe(folder)
            recorded = "" if made is None else str(made.settings.get("architecture", ""))
            refuse_other_network(folder, recorded=recorded, given=self.settings.architecture)

    def run(self, network: keras.Model, progress: Progress, tracked: TrackedRun) -> None:
        """Train to the end, from one validation to the next.

        Raises:
            ModelError: the loss became NaN.
            Stopped: a signal came; a checkpoint is written.
        """
        monitor = InputMonitor(batch_size=self.settings.batch_size)
        validation = Validation(
            self.validation_sampler,
            progress,
            monitor,
            best=self.settings.best,
            slides=self.slide_validation,
        )
        validation.on_validated = Report.of(
            self.folder,
            self.settings,
            self.spec,
            parameters=parameter_counts(network)["all"],
            progress=progress,
            is_over=self.is_over,
            monitor=monitor,
            checked=validation.batch,
            tracked=tracked,
        ).add
        for callback in (progress, validation):
            callback.set_model(network)
        if self.settings.recipe == "probe" and progress.state.step < self.steps:
            self.probe(network, progress, validation)
        while not self.is_over(progress.state):
            start, stop = progress.state.step, self.next_validation(progress.state)
            batches = BatchDataset(self.sampler, start=start, stop=stop, monitor=monitor)
            try:
                if start == stop:  # a signal came before this validation
                    validation.validate()
                    continue
                if start == self.settings.unfreeze_step:
                    self.builder.compile(network, start)
                network.fit(
                    batches,
                    shuffle=False,
                    verbose=0,  # pyright: ignore[reportArgumentType]
                    callbacks=[
                        StepSeed(self.settings.seed, start=start),
                        progress,
                        monitor,
                        validation,
                    ],
                )
                if progress.problem is not None:
                    raise progress.problem
            except DivergedError as error:
                raise self.find_divergence(error, until=stop) from error
            except Exception as error:
                if batches.problem is None:
                    raise
                raise batches.problem from error  # TensorFlow's own says nothing of it
        self.tell_early_end(progress.state)

    def is_over(self, state: TrainingState) -> bool:
        """Tell whether the last step is validated, or no validation was better for so long that the
        training ends early."""
        if state.unvalidated.steps:
            return False
        patience, best = self.settings.patience, self.best_candidate(state)
        late = bool(patience and best and len(best[1]) >= patience)
        return late or state.step >= self.steps

    def best_candidate(self, state: TrainingState) -> tuple[HistoryRow, list[HistoryRow]] | None:
        """Return the best of the validations that have the figure asked for, and those after it."""
        figure = self.settings.best
        rows = [row for row in state.history if is_candidate(row, figure)]
        best = max(rows, key=lambda row: rank_key(row, figure), default=None)
        return None if best is None else (best, rows[rows.index(best) + 1 :])

    def tell_early_end(self, state: TrainingState) -> None:
        """Warn of a training that ended before its last step."""
        best = self.best_candidate(state)
        if state.step < self.steps and best:
            logger.warning(
                "%s: the training ends after %d examples: %d validations were not better than that "
                "after %d",
                self.folder,
                state.history[-1].examples,
                self.settings.patience,
                best[0].examples,
            )

    def probe(self, network: keras.Model, progress: Progress, validation: Validation) -> None:
        """Fit the classifier on features of the network, and write the checkpoint."""
        figures = fit_probe(
            network,
            self.sampler,
            validation.batch,
            steps=self.steps,
            on_step=progress.count_to,
            monitor=validation.monitor,
        )
        since = Unvalidated(steps=self.steps, **figures)
        progress.state = replace(progress.state, unvalidated=since)
        validation.validate()

    def next_validation(self, state: TrainingState) -> int:
        """Return the step at which the next validation is due. A rest of less than half an interval
        belongs to the last one."""
        interval = max(1, self.settings.validate_every // self.settings.batch_size)
        unfreeze = self.settings.unfreeze_step
        if state.unvalidated.steps and (state.step % interval == 0 or state.step == unfreeze):
            due = state.step
        else:
            due = (state.step // interval + 1) * interval
        stop = due if self.steps - due >= interval / 2 else self.steps
        if unfreeze is not None and state.step < unfreeze < stop:
            return unfreeze
        return max(state.step, stop)  # which may be past the end of a shorter training

    def find_divergence(self, error: DivergedError, *, until: int) -> ModelError:
        """Find the batch at which the loss became NaN by replaying the steps since the checkpoint,
        save it as a picture, and return an error that names it."""
        if self.checkpoints.find():
            network, state = self.checkpoints.load(self.rebuild)
        else:
            network, state = self.builder.build(0), TrainingState()
        start = state.step
        if start == self.settings.unfreeze_step:
            self.builder.compile(network, start)
        size, found = self.settings.batch_size, ""
        for number in range(start, until):
            batch = self.sampler.draw(number)
            network.reset_metrics()
            seed_step(self.settings.seed, number)
            targets = one_hot(batch.labels)
            loss = network.train_on_batch(batch.patches, targets, return_dict=True)["loss"]
            if not np.isfinite(loss):
                picture = self.folder.with_name(f"{self.folder.name}.batch_{number}.png")
                save_batch(batch, picture)
                found = (
                    f", in batch {number} (examples {number * size} to {(number + 1) * size}, "
                    f"see {picture})"
                )
                break
        kept = f"; the checkpoint of {start * size} examples stays" if start else ""
        return ModelError(
            f"{self.folder}: {error}{found}; train with a learning rate below "
            f"{self.settings.learning_rate:g}{kept}"
        )

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
        checkpoint, architecture = self.checkpoints.newest, self.settings.architecture
        page = page_beside(self.folder)
        with self.output.write() as folder:
            assert isinstance(folder, Path)
            for name in (LAST, WEIGHTS):
                shutil.copy(checkpoint / name, folder / name)
            save_history(history, folder / HISTORY)
            draw_curve(history, folder / "training_curve.png")
            if page.exists():  # none where the last validation was one of an earlier version
                shutil.copy(page, folder / PAGE)
            ModelCard(
                architecture=architecture,
                options=self.builder.options,
                input_spec=self.spec,
                pixels=find_architecture(architecture).preprocessing,
                parameters=parameter_counts(network),
                training={
                    "settings": self.settings.model_dump(
                        mode="json", exclude={"track", "calibrate"}
                    ),
                    "patches_from": self.tiles.model_dump(mode="json"),
                    "backend": keras.backend.backend(),
                    "keras": keras.__version__,
                    "optimiser": describe_optimiser(self.settings),
                    "best": asdict(max(history, key=self._rank)),
                },
                weights_sha256=hash_weights(folder),
            ).save(folder)
            self.complete(folder)
        page.unlink(missing_ok=True)
        return self.outcome(trained=True)

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
