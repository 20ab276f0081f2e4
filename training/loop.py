"""From a patch store to a model folder, read from top to bottom.

Keras trains from one validation to the next, which is an epoch in its words, whatever share of the
patches it covers. Checkpoints are written at each validation and every few minutes, and lie beside
the model folder, see `checkpoint`. The model folder itself appears when the training ends.
"""

import logging
import math
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import keras
import numpy as np

from ..batch import stop_signals
from ..models import (
    CARD,
    WEIGHTS,
    ModelCard,
    find_architecture,
    hash_initial_weights,
    hash_weights,
    parameter_counts,
)
from ..patching import PatchStore
from ..storage import ModelError, Output, OutputState, Recipe, SettingsError
from ..wsi import InputSpec
from .checkpoint import (
    LAST,
    RECIPE,
    Checkpoints,
    DivergedError,
    TrainingState,
    Unvalidated,
    checkpoint_folder,
    find_checkpoints,
    move_aside,
)
from .dataset import BatchDataset, one_hot
from .history import HistoryRow, draw_curve, load_history, save_history
from .network import NetworkBuilder
from .optimiser import describe_optimiser
from .picture import save_batch
from .probe import fit_probe
from .sampler import Sampler
from .settings import TrainSettings
from .validation import Progress, Validation, rank_key

__all__ = ["TrainOutcome", "train"]

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
    on_step: Callable[[int, dict[str, float]], None] | None = None,
) -> TrainOutcome:
    """Train on the store's training slides, validate on its validation slides, and keep the weights
    of the best validation and the last ones.

    The best validation has the highest AUC over patches, at a tie the lowest loss. A stopped
    training continues from its last checkpoint, on a CPU to the same weights as if it had not
    stopped; so does a finished one with a larger
    `settings.examples`. Other settings or patches start anew: the log says what changed, and the
    earlier checkpoint and model are renamed, never removed. on_step receives the examples seen and
    the latest figures after every step.

    Raises:
        SettingsError: a class has no patches in training or validation, the jitter exceeds the
            store's margin, or folder holds something other than a model.
        StoreError: damaged patches, or checkpoints that are all damaged.
        ModelError: the loss became NaN; the last good checkpoint stays, and so does an earlier
            model.
        Stopped: SIGTERM or SIGINT; a checkpoint has been written. Only in the main thread.
    """
    job = _Training(store, folder, settings)
    output = job.output.state()
    if output.status == "foreign":
        raise SettingsError(f"{folder}: holds something other than a model; give a new folder")
    if job.is_finished(output):
        return job.outcome(trained=False)
    with stop_signals() as stop:
        stop.at_once = True  # nothing is lost until the first step
        network, state = job.begin(output)
        progress = Progress(
            job.checkpoints,
            state,
            stop,
            checkpoint_seconds=60 * settings.checkpoint_minutes,
            batch_size=settings.batch_size,
            on_step=on_step or (lambda examples, figures: None),
        )
        validation = Validation(job.validation_sampler, progress, settings.batch_size)
        stop.at_once = False
        job.run(network, progress, validation)
    return job.finish(network, progress.state.history, replaces=output)


class _Training:
    """Recipe, samplers, network and folders of one training."""

    def __init__(self, store: PatchStore, folder: Path, settings: TrainSettings) -> None:
        self.store, self.folder, self.settings = store, folder, settings
        self.tiles, self.spec = store.tile_settings, _choose_input(store, settings)
        self.steps = math.ceil(settings.examples / settings.batch_size)
        self._check_store()
        self.sampler.check()
        self.validation_sampler.check()

    def _check_store(self) -> None:
        jitter_px, margin_px = self.settings.augment.jitter_px, self.tiles.margin_px
        if self.settings.use_copies and not self.tiles.copies:
            raise SettingsError(
                f"{self.store.path}: holds no augmented copies; tile with --copies, or omit "
                "--use-copies"
            )
        if jitter_px > margin_px:
            raise SettingsError(
                f"{self.store.path}: a jitter of {jitter_px} px needs as much margin, the store "
                f"has {margin_px} px; lower --augment.jitter-px or tile with a larger --margin-px"
            )

    @property
    def builder(self) -> NetworkBuilder:
        return NetworkBuilder(self.settings, self.spec, self.steps)

    @cached_property
    def sampler(self) -> Sampler:
        return Sampler(
            store=self.store,
            split="train",
            spec=self.spec,
            batch_size=self.settings.batch_size,
            seed=self.settings.seed,
            augment=self.settings.augment,
            warm_up=math.ceil(self.settings.colour_warm_up * self.steps),
            stain=self.spec.stain,
            copies=self.tiles.copies if self.settings.use_copies else 0,
        )

    @cached_property
    def validation_sampler(self) -> Sampler:
        """Sampler of the patches that every validation scores, as its batch 0."""
        return Sampler(
            store=self.store,
            split="validation",
            spec=self.spec,
            batch_size=self.settings.validation_patches,
            seed=self.settings.seed,
            augment=None,
            stain=self.spec.stain,
        )

    @cached_property
    def recipe(self) -> Recipe:
        # Contents, not times: a copied store is the same store. Slides of another split may come
        # and go.
        splits = (self.sampler.split, self.validation_sampler.split)
        used = [slide for slide in self.store.slides if slide.split in splits]
        # The path of the initial weights may change; their hash counts.
        extent, paths = {"examples", "validate_every", "checkpoint_minutes"}, {"initial_weights"}
        return Recipe(
            stage="train",
            settings=self.settings.model_dump(mode="json", exclude=extent | paths),
            inputs={
                "tile": self.tiles.of_recipe(),
                "slides": {s.id: {"split": s.split, "group": s.sha256} for s in used},
                **self._initial_weights,
            },
            extent=self.settings.model_dump(mode="json", include=extent),
        )

    @cached_property
    def _initial_weights(self) -> dict[str, str]:
        """Identity of the weights to begin with, if they are given."""
        source = self.settings.initial_weights
        if not source:
            return {}
        try:
            return {"initial_weights": hash_initial_weights(source)}
        except ModelError:
            # What was trained from them needs them no more.
            checkpoints = find_checkpoints(checkpoint_folder(self.folder))
            for folder in (self.folder, *checkpoints):
                made = Recipe.load(folder / RECIPE)
                if made is not None and "initial_weights" in made.inputs:
                    return {"initial_weights": made.inputs["initial_weights"]}
            raise

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
        return True

    def outcome(self, *, trained: bool) -> TrainOutcome:
        card = ModelCard.load(self.folder)
        card.check_weights(self.folder)
        rows = load_history(self.folder / HISTORY)
        if not rows:
            raise ModelError(f"{self.folder}: no {HISTORY}; train again")
        return TrainOutcome(card=card, trained=trained, best=max(rows, key=rank_key))

    def begin(self, output: OutputState) -> tuple[keras.Model, TrainingState]:
        """Build the network, and fill it from a checkpoint if that has the same recipe.

        Return the network and the state of its training. Checkpoints of another recipe are moved
        aside.
        """
        differences = self.checkpoints.differences()
        # A probe has no steps to go on from.
        if differences == [] and self.settings.recipe != "probe":
            network, state = self.checkpoints.load(partial(self.builder.build, fill=False))
            examples = state.step * self.settings.batch_size
            logger.warning("%s: training continues after %d examples", self.folder, examples)
            return network, state
        if differences:
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
        network = self.builder.build(0)
        self.builder.check_fast_ways(network, self.sampler.draw(0))
        return network, TrainingState()

    def run(self, network: keras.Model, progress: Progress, validation: Validation) -> None:
        """Train to the end, from one validation to the next.

        Raises:
            ModelError: the loss became NaN.
            Stopped: a signal came; a checkpoint is written.
        """
        for callback in (progress, validation):
            callback.set_model(network)
        if self.settings.recipe == "probe" and progress.state.step < self.steps:
            self.probe(network, progress, validation)
        while progress.state.step < self.steps or progress.state.unvalidated.steps:
            start, stop = progress.state.step, self.next_validation(progress.state)
            try:
                if start == stop:  # a signal came before this validation
                    validation.validate()
                    continue
                if start == self.settings.unfreeze_step:
                    self.builder.compile(network, start)
                network.fit(
                    BatchDataset(self.sampler, start=start, stop=stop),
                    shuffle=False,
                    verbose=0,  # pyright: ignore[reportArgumentType]
                    callbacks=[progress, validation],
                )
            except DivergedError as error:
                raise self.find_divergence(error, until=stop) from error

    def probe(self, network: keras.Model, progress: Progress, validation: Validation) -> None:
        """Fit the classifier on features of the network, and write the checkpoint."""
        figures = fit_probe(
            network, self.sampler, validation.batch, steps=self.steps, on_step=progress.count_to
        )
        since = Unvalidated(steps=self.steps, **figures)
        progress.state = replace(progress.state, unvalidated=since)
        validation.validate()

    def next_validation(self, state: TrainingState) -> int:
        """Return the step at which the next validation is due. A rest of less than half an interval
        belongs to the last one."""
        interval = max(1, self.settings.validate_every // self.settings.batch_size)
        if state.unvalidated.steps and state.step % interval == 0:
            due = state.step
        else:
            due = (state.step // interval + 1) * interval
        stop = due if self.steps - due >= interval / 2 else self.steps
        unfreeze = self.settings.unfreeze_step
        return unfreeze if unfreeze is not None and state.step < unfreeze < stop else stop

    def find_divergence(self, error: DivergedError, *, until: int) -> ModelError:
        """Find the batch at which the loss became NaN by replaying the steps since the checkpoint,
        save it as a picture, and return an error that names it."""
        if self.checkpoints.find():
            network, state = self.checkpoints.load(partial(self.builder.build, fill=False))
        else:
            network, state = self.builder.build(0), TrainingState()
        start = state.step
        if start == self.settings.unfreeze_step:
            self.builder.compile(network, start)
        size, found = self.settings.batch_size, ""
        for number in range(start, until):
            batch = self.sampler.draw(number)
            network.reset_metrics()
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
        self, network: keras.Model, history: list[HistoryRow], *, replaces: OutputState
    ) -> TrainOutcome:
        """Write the model folder from the checkpoint."""
        if replaces.status == "changed":
            logger.warning(
                "%s: the earlier model was moved to %s", self.folder, move_aside(self.folder)
            )
        checkpoint, architecture = self.checkpoints.newest, self.settings.architecture
        with self.output.write() as folder:
            assert isinstance(folder, Path)
            for name in (LAST, WEIGHTS):
                shutil.copy(checkpoint / name, folder / name)
            save_history(history, folder / HISTORY)
            draw_curve(history, folder / "training_curve.png")
            ModelCard(
                architecture=architecture,
                options=self.builder.options,
                input_spec=self.spec,
                pixels=find_architecture(architecture).preprocessing,
                parameters=parameter_counts(network),
                training={
                    "settings": self.settings.model_dump(mode="json"),
                    "patches_from": self.tiles.model_dump(mode="json"),
                    "backend": keras.backend.backend(),
                    "keras": keras.__version__,
                    "optimiser": describe_optimiser(self.settings),
                    "best": asdict(max(history, key=rank_key)),
                },
                weights_sha256=hash_weights(folder),
            ).save(folder)
        return self.outcome(trained=True)


def _choose_input(store: PatchStore, settings: TrainSettings) -> InputSpec:
    """Return the patches that the network sees: the scales asked for, else the finest, and the
    stain normalisation.

    Raises:
        SettingsError: a scale that the store does not hold, or the finest one is left out, to
            which the sizes of patches refer.
    """
    held = store.input_spec.mpps
    asked = settings.scales or held[:1]
    mpps = tuple(mpp for mpp in held if any(math.isclose(mpp, one, rel_tol=1e-3) for one in asked))
    if len(mpps) < len(set(asked)) or mpps[:1] != held[:1]:
        raise SettingsError(
            f"{store.path}: holds patches of {', '.join(f'{mpp:g}' for mpp in held)} µm/px, and "
            f"--scales asks for {', '.join(f'{mpp:g}' for mpp in asked)}; name the finest and any "
            "others of the store, or tile with --further-mpp"
        )
    stain = None if settings.stain == "none" else settings.stain
    return store.input_spec.model_copy(update={"mpps": mpps, "stain": stain})
