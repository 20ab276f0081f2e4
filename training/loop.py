"""From a patch store to a model folder, read from top to bottom.

Keras trains from one validation to the next, which is an epoch in its words, whatever share of the
patches it covers. Each validation replaces the checkpoint, which lies beside the model folder, see
`checkpoint`. The model folder itself appears when the training ends.
"""

import logging
import math
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ..models import (
    CARD,
    WEIGHTS,
    ModelCard,
    build_network,
    fill_network,
    find_architecture,
    hash_initial_weights,
    hash_weights,
    keep_large_buffers,
    parameter_counts,
    refuse_other_network,
)
from ..patching import PatchStore
from ..storage import ModelError, Output, OutputState, Recipe, SettingsError
from ..wsi import InputSpec
from .checkpoint import LAST, RECIPE, Checkpoint, move_aside
from .dataset import BatchDataset, one_hot
from .history import HistoryRow, draw_curve, load_history, save_history
from .optimiser import compile_network, describe_optimiser
from .probe import fit_probe
from .sampler import Sampler
from .settings import TrainSettings
from .validation import DivergedError, Progress, Validation, rank_key

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
    training continues from its checkpoint; so does a finished one with a larger
    `settings.examples`. Other settings or patches start anew: the log says what changed, and the
    earlier checkpoint and model are renamed, never removed. on_step receives the examples seen and
    the latest figures after every step.

    Raises:
        SettingsError: a class has no patches in training or validation, the jitter exceeds the
            store's margin, or folder holds something other than a model.
        StoreError: damaged patches or a damaged checkpoint.
        ModelError: the loss became NaN; the last good checkpoint stays, and so does an earlier
            model.
    """
    job = _Training(store, folder, settings)
    state = job.output.state()
    if state.status == "foreign":
        raise SettingsError(f"{folder}: holds something other than a model; give a new folder")
    if job.is_finished(state):
        return job.outcome(trained=False)
    network, step, history = job.begin(state)
    progress = Progress(
        first_step=step,
        batch_size=settings.batch_size,
        on_step=on_step or (lambda examples, figures: None),
    )
    validation = Validation(
        job.validation_sampler, job.checkpoint, history, settings.batch_size, progress.figures
    )
    if settings.recipe == "probe" and step < job.steps:
        job.probe(network, validation, on_step=progress.count_to)
        step = job.steps
    while step < job.steps:
        stop = job.next_validation(step)
        try:
            network.fit(
                BatchDataset(job.sampler, start=step, stop=stop),
                shuffle=False,
                verbose=0,  # pyright: ignore[reportArgumentType]
                callbacks=[progress, validation],
            )
        except DivergedError as error:
            raise job.find_divergence(error, start=step, stop=stop) from error
        step = stop
    return job.finish(network, history, replaces=state)


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

    @cached_property
    def options(self) -> dict[str, Any]:
        """Options of the network, as the model card holds them."""
        return self.settings.network_options(self.spec).model_dump(mode="json")

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
        # The path of the initial weights may change; their hash counts. A member of an ensemble is
        # trained as if it were alone.
        extent, left_out = {"examples", "validate_every"}, {"initial_weights", "members"}
        return Recipe(
            stage="train",
            settings=self.settings.model_dump(mode="json", exclude=extent | left_out),
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
            for folder in (self.folder, Checkpoint.folder_of(self.folder)):
                made = Recipe.load(folder / RECIPE)
                if made is not None and "initial_weights" in made.inputs:
                    return {"initial_weights": made.inputs["initial_weights"]}
            raise

    @property
    def output(self) -> Output:
        return Output(location=self.folder, recipe=self.recipe, files=(CARD, WEIGHTS, HISTORY))

    @property
    def checkpoint(self) -> Checkpoint:
        return Checkpoint.of_model(self.folder, self.recipe)

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

    def begin(self, state: OutputState) -> tuple[keras.Model, int, list[HistoryRow]]:
        """Build the network, and fill it from the checkpoint if that has the same recipe.

        Return the network, the steps done and the history. A checkpoint of another recipe is moved
        aside.
        """
        self._refuse_other_network()
        differences = self.checkpoint.differences()
        # A probe has no steps to go on from.
        goes_on = differences == [] and self.settings.recipe != "probe"
        network = self.build(fill=not goes_on)
        if goes_on:
            step = self.checkpoint.load(network)
            examples = step * self.settings.batch_size
            logger.warning("%s: training continues after %d examples", self.folder, examples)
            return network, step, self.checkpoint.history()
        if differences:
            rows = self.checkpoint.history()
            seen = rows[-1].examples if rows else 0
            moved = move_aside(self.checkpoint.folder)
            logger.warning(
                "%s: training starts anew, because of %s; the earlier checkpoint (%d examples) "
                "was moved to %s",
                self.folder,
                "; ".join(differences[:5]),
                seen,
                moved,
            )
        elif state.made is not None and differences is None:
            reason = "; ".join(state.differences[:5]) or f"{self.checkpoint.folder} is missing"
            logger.warning("%s: training starts anew: %s", self.folder, reason)
        return network, 0, []

    def _refuse_other_network(self) -> None:
        """Refuse to start anew in place of a network of the user's own: most likely its option was
        forgotten."""
        for folder in (self.folder, self.checkpoint.folder):
            made = Recipe.load(folder / RECIPE)
            recorded = "" if made is None else str(made.settings.get("architecture", ""))
            refuse_other_network(folder, recorded=recorded, given=self.settings.architecture)

    def build(self, *, fill: bool = True) -> keras.Model:
        """Build the network with its first weights and a fresh optimiser. fill: take the initial
        weights, if there are any; not where a checkpoint replaces them."""
        keep_large_buffers()
        settings = self.settings
        keras.utils.set_random_seed(settings.seed)
        network = build_network(
            settings.architecture, self.spec, self.options, trusted=settings.architecture
        )
        if settings.initial_weights and fill:
            fill_network(network, settings.architecture, settings.initial_weights)
        if settings.freeze == "towers":
            for layer in network.layers[:-1]:
                layer.trainable = False
        compile_network(network, settings, steps=self.steps)
        return network

    def probe(
        self, network: keras.Model, validation: Validation, *, on_step: Callable[[int], None]
    ) -> None:
        """Fit the classifier on features of the network, and write the checkpoint."""
        figures = fit_probe(
            network, self.sampler, validation.batch, steps=self.steps, on_step=on_step
        )
        validation.set_model(network)
        validation.validate(step=self.steps, learning_rate=0.0, training=figures)

    def next_validation(self, step: int) -> int:
        """Return the step at which the next validation is due. A rest of less than half an interval
        belongs to the last one."""
        interval = max(1, self.settings.validate_every // self.settings.batch_size)
        stop = (step // interval + 1) * interval
        return stop if self.steps - stop >= interval / 2 else self.steps

    def find_divergence(self, error: DivergedError, *, start: int, stop: int) -> ModelError:
        """Find the batch at which the loss became NaN by replaying the steps since the checkpoint,
        and return an error that names it."""
        network = self.build(fill=not start)
        if start:
            self.checkpoint.load(network)
        size, found = self.settings.batch_size, ""
        for number in range(start, stop):
            batch = self.sampler.draw(number)
            network.reset_metrics()
            targets = one_hot(batch.labels)
            loss = network.train_on_batch(batch.patches, targets, return_dict=True)["loss"]
            if not np.isfinite(loss):
                found = f", in batch {number} (examples {number * size} to {(number + 1) * size})"
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
        checkpoint, architecture = self.checkpoint.folder, self.settings.architecture
        with self.output.write() as folder:
            assert isinstance(folder, Path)
            for name in (LAST, WEIGHTS):
                shutil.copy(checkpoint / name, folder / name)
            save_history(history, folder / HISTORY)
            draw_curve(history, folder / "training_curve.png")
            ModelCard(
                architecture=architecture,
                options=self.options,
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
