"""From a patch store to a model folder, read from top to bottom.

Keras trains from one validation to the next, which is an epoch in its words, whatever share of the
patches it covers. Checkpoints are written at each validation and every few minutes, and lie beside
the model folder, see `checkpoint`. The model folder itself appears when the training ends.
"""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import keras

from ..batch import StopRequest, stop_signals
from ..cohort import Cohort
from ..models import CARD, parameter_counts, refuse_other_network
from ..patching import PatchStore
from ..storage import OutputState, remove_folder
from .checkpoints.checkpoint import DivergedError, TrainingState, Unvalidated
from .checkpoints.files import move_aside, read_recipe
from .course import Course
from .dataset import BatchDataset
from .divergence import find_divergence
from .model_folder import HISTORY, TrainedModel, TrainOutcome
from .network.hardware import divide_batches
from .network.seeds import StepSeed
from .probe.features import FeatureCache, features_folder, recipe_of_features
from .probe.probe import Probe
from .progress import Progress
from .report.input_monitor import InputMonitor
from .report.page import PAGE
from .report.report import Report, flatten_settings
from .report.trackers import TrackedRun, check_trackers
from .settings import TrainSettings
from .validation.validate import Validation

__all__ = ["TrainOutcome", "is_trained", "train"]

logger = logging.getLogger(__name__)

OnStep = Callable[[int, dict[str, float]], None]
"""Receives the examples seen and the latest figures after every step."""


def train(
    store: PatchStore,
    folder: Path,
    settings: TrainSettings,
    *,
    slides: Cohort | None = None,
    on_step: OnStep | None = None,
) -> TrainOutcome:
    """Train on the store's training slides, validate on its validation slides, and keep the weights
    of the best validation and the last ones.

    The best validation has the highest figure `settings.best`; at a tie, the lowest loss. slides is
    the cohort whose validation slides are predicted whole, see `settings.validate_slides_every`. A
    stopped training continues from its last checkpoint, on a CPU to the same weights as if it had
    not stopped; so does a finished one with a larger `settings.examples`. Other settings or patches
    start anew: the log says what changed, and the earlier checkpoint and model are renamed, never
    removed.

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
    output = job.look()
    if job.is_finished(output):
        job.change_temperature()
        return job.outcome(trained=False)
    with stop_signals() as stop:
        return job.train(output, stop, on_step or (lambda examples, figures: None))


def is_trained(
    store: PatchStore, folder: Path, settings: TrainSettings, *, slides: Cohort | None = None
) -> bool:
    """Tell whether `train` would leave the folder's model as it is, but for its temperature.

    Raises:
        SettingsError, ModelError: as `train` does before it begins.
    """
    job = _Training(store, folder, settings, slides)
    return job.is_finished(job.look())


class _Training(TrainedModel):
    """One training, from its inputs to its model."""

    @property
    def course(self) -> Course:
        return Course(self.settings, self.steps)

    def train(self, output: OutputState, stop: StopRequest, on_step: OnStep) -> TrainOutcome:
        """Train to the end, or until a stop is asked for, and write the model."""
        devices = self.settings.devices
        stop.at_once = True  # nothing is lost until the first step
        with divide_batches(devices):
            network, state = self.begin(output)
        progress = Progress(
            self.checkpoints,
            state,
            stop,
            checkpoint_seconds=60 * self.settings.checkpoint_minutes,
            check_inputs=self.check_unchanged,
            batch_size=self.settings.batch_size,
            on_step=on_step,
        )
        tracked = TrackedRun.open(self.settings.track, self.folder, resumed=state.step > 0)
        with tracked.started(flatten_settings(self.settings)):
            stop.at_once = False
            with divide_batches(devices):
                self.run(network, progress, tracked)
            stop.at_once = True  # the checkpoint has everything
            progress.stop_if_asked()
            history, is_new = progress.state.history, not state.step
            outcome = self.finish(network, history, replaces=output, is_new=is_new)
            for name in (CARD, HISTORY, PAGE):
                if (self.folder / name).exists():
                    tracked.artifact(self.folder / name)
        return outcome

    def begin(self, output: OutputState) -> tuple[keras.Model, TrainingState]:
        """Build the network, and fill it from a checkpoint if that has the same recipe.

        Return the network and the state of its training. Checkpoints of another recipe are moved
        aside.
        """
        self._refuse_other_network()
        self.checkpoints.clean_up()
        differences = self.checkpoints.differences()
        # A probe has no steps to go on from.
        if differences == [] and self.settings.recipe != "probe":
            network, state = self.checkpoints.load(self.builder.rebuild)
            examples = state.step * self.settings.batch_size
            logger.warning("%s: training continues after %d examples", self.folder, examples)
            return network, state
        # First, because it may fail: nothing is moved then.
        network = self.builder.build(0)
        self.builder.check_fast_ways(network, self.sampler.draw(0))
        if differences == []:
            remove_folder(self.checkpoints.folder)  # of the same probe
        elif differences:
            self._move_checkpoints_aside(differences)
        elif output.made is not None:
            reason = "; ".join(output.differences[:5]) or f"{self.checkpoints.folder} is missing"
            logger.warning("%s: training starts anew: %s", self.folder, reason)
        return network, TrainingState()

    def _refuse_other_network(self) -> None:
        """Refuse to start anew in place of a network of the user's own: most likely its option was
        forgotten."""
        for folder in (self.folder, *self.checkpoints.find()):
            made = read_recipe(folder)
            recorded = "" if made is None else str(made.settings.get("architecture", ""))
            refuse_other_network(folder, recorded=recorded, given=self.settings.architecture)

    def _move_checkpoints_aside(self, differences: list[str]) -> None:
        rows = self.checkpoints.history()
        seen = rows[-1].examples if rows else 0
        moved = move_aside(self.checkpoints.folder)
        logger.warning(
            "%s: training starts anew, because of %s; the earlier checkpoints (%d examples) were "
            "moved to %s",
            self.folder,
            "; ".join(differences[:5]),
            seen,
            moved,
        )

    def run(self, network: keras.Model, progress: Progress, tracked: TrackedRun) -> None:
        """Train to the end, from one validation to the next.

        Raises:
            ModelError: the loss became NaN.
            Stopped: a signal came; a checkpoint is written.
        """
        monitor = InputMonitor(batch_size=self.settings.batch_size)
        validation = self._validation(network, progress, monitor, tracked)
        for callback in (progress, validation):
            callback.set_model(network)
        if self.settings.recipe == "probe" and progress.state.step < self.steps:
            self.probe(network, progress, validation)
        while not self.course.is_over(progress.state):
            start, stop = progress.state.step, self.course.next_validation(progress.state)
            try:
                if start == stop:  # a signal came before this validation
                    validation.validate()
                else:
                    self._fit(network, progress, validation, stop=stop)
            except DivergedError as error:
                raise find_divergence(self, self.checkpoints, error, until=stop) from error
        self.course.tell_early_end(progress.state, str(self.folder))

    def _validation(
        self,
        network: keras.Model,
        progress: Progress,
        monitor: InputMonitor,
        tracked: TrackedRun,
    ) -> Validation:
        """Return the validation, which reports its figures."""
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
            is_over=self.course.is_over,
            monitor=monitor,
            checked=validation.batch,
            tracked=tracked,
        ).add
        return validation

    def _fit(
        self, network: keras.Model, progress: Progress, validation: Validation, *, stop: int
    ) -> None:
        """Train up to step `stop`, and validate."""
        start, monitor = progress.state.step, validation.monitor
        if start == self.settings.unfreeze_step:
            self.builder.compile(network, start)
        batches = BatchDataset(self.sampler, start=start, stop=stop, monitor=monitor)
        seeds = StepSeed(self.settings.seed, start=start)
        try:
            network.fit(
                batches,
                shuffle=False,
                verbose=0,  # pyright: ignore[reportArgumentType]
                callbacks=[seeds, progress, monitor, validation],
            )
        except Exception as error:
            if batches.problem is None:
                raise
            raise batches.problem from error  # TensorFlow's own says nothing of it
        if progress.problem is not None:
            raise progress.problem

    def probe(self, network: keras.Model, progress: Progress, validation: Validation) -> None:
        """Fit the classifier on features of the network, and write the checkpoint."""
        assert self.settings.penalty is not None
        recipe = recipe_of_features(network, self.settings, self.spec)
        probe = Probe(
            network=network,
            sampler=self.sampler,
            cache=FeatureCache(features_folder(self.folder), recipe, self.store),
            monitor=validation.monitor,
            penalty=self.settings.penalty,
        )
        figures = probe.fit(self.steps, progress.count_to)
        since = Unvalidated(steps=self.steps, **figures)
        progress.state = replace(progress.state, unvalidated=since)
        validation.validate()
