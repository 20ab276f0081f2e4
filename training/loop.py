"""From a patch store to a model folder, read from top to bottom.

Checkpoints lie in `.<model>.training` beside the model folder while it is made; a run that was
stopped goes on from the last one, and the folder itself appears only when the training has ended.
"""

import json
import logging
import math
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from sklearn.metrics import log_loss, roc_auc_score

from ..models import (
    WEIGHTS,
    ModelCard,
    build_network,
    find_architecture,
    hash_weights,
    keep_large_buffers,
    parameter_counts,
)
from ..patching import PatchStore
from ..storage import ModelError, Recipe, SettingsError, atomic_folder, restore_folder
from .history import HistoryRow, draw_curve, load_history, save_history
from .prefetch import prefetched
from .sampler import Batch, Sampler
from .settings import TrainSettings

__all__ = ["TrainOutcome", "train"]

logger = logging.getLogger(__name__)

LAST = "last.weights.h5"
STATE = "state.json"


@dataclass(frozen=True, kw_only=True)
class TrainOutcome:
    """A trained model; `trained` is False where the folder was there already, made by the same
    recipe."""

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
    """Train on the store's training slides, validate on its validation slides, keep the best and
    the last weights.

    Best is the highest validation AUC over patches, at a tie the lowest validation loss. on_step
    hears after every
    step: examples seen, and the latest figures. RMSProp is that of Keras 3: epsilon inside the
    root, mean square from zero, learning rate folded into the momentum buffer (TensorFlow's classic
    one started the mean square at one, so with epsilon 1 its first ten or so steps were shorter by
    up to √2).

    Raises:
        SettingsError: a class has no patches in training or validation, the jitter exceeds the
        store's margin, or
            folder holds something else than a model.
        StoreError: damaged patches.
        ModelError: the loss became NaN; the last good checkpoint stays, and so does a model trained
        before.
    """
    run = _Run(store, folder, settings)
    if run.finished is not None:
        return run.finished
    run.resume()
    for batch in prefetched(run.sampler, start=run.step, stop=run.steps):
        run.learn(batch)
        if on_step is not None:
            on_step(run.step * settings.batch_size, run.figures)
    return run.finish()


class _Run:
    """One training under way."""

    def __init__(self, store: PatchStore, folder: Path, settings: TrainSettings) -> None:
        self.settings, self.folder = settings, folder
        self.tiles = store.tile_settings
        self.spec = store.input_spec.finest
        self.steps = math.ceil(settings.examples / settings.batch_size)
        self.step = 0
        self.history: list[HistoryRow] = []
        self.figures: dict[str, float] = {}
        self._since: list[
            tuple[float, float]
        ] = []  # loss and accuracy of each step after the last validation
        self._checks(store)
        common: dict[str, Any] = {
            "store": store,
            "spec": self.spec,
            "seed": settings.seed,
        }
        self.sampler = Sampler(
            split="train",
            batch_size=settings.batch_size,
            augment=settings.augment,
            warm_up=math.ceil(settings.colour_warm_up * self.steps),
            copies=self.tiles.copies if settings.use_copies else 0,
            **common,
        )
        self.validation = Sampler(
            split="validation", batch_size=settings.validation_patches, augment=None, **common
        )
        self.sampler.check()
        self.validation.check()
        self.recipe = self._recipe(store)
        self.finished = self._finished()

    def _checks(self, store: PatchStore) -> None:
        if self.settings.use_copies and not self.tiles.copies:
            raise SettingsError(
                f"{store.path}: holds no augmented copies; tile with --copies, or drop --use-copies"
            )
        if self.settings.augment.jitter_px > self.tiles.margin_px:
            raise SettingsError(
                f"{store.path}: jitter of {self.settings.augment.jitter_px} px needs as much "
                f"margin, the store has {self.tiles.margin_px}; lower --augment.jitter-px or tile "
                "with a larger --margin-px"
            )

    def _recipe(self, store: PatchStore) -> Recipe:
        # Contents, not times: a copied store is the same store. Slides that are not used may come
        # and go.
        used = [
            slide
            for slide in store.slides
            if slide.split in (self.sampler.split, self.validation.split)
        ]
        slides = {s.id: {"split": s.split, "group": s.sha256} for s in used}
        tiles = self.tiles.of_recipe()
        return Recipe(
            stage="train",
            settings=self.settings.model_dump(mode="json"),
            inputs={"tile": tiles, "slides": slides},
        )

    def _finished(self) -> TrainOutcome | None:
        if not self.folder.exists() or not any(self.folder.iterdir()):
            return None
        found = Recipe.load(self.folder / "recipe.json")
        if found is None or found.stage != "train":
            raise SettingsError(
                f"{self.folder}: holds something else than a model; give a new folder"
            )
        changed = found.differences(self.recipe)
        if not changed:
            try:
                return self._outcome(trained=False)
            except ModelError as error:
                changed = [str(error)]
        logger.warning("%s: trained again: %s", self.folder, "; ".join(changed[:5]))
        return None

    def _outcome(self, *, trained: bool) -> TrainOutcome:
        card = ModelCard.load(self.folder)
        card.check_weights(self.folder)
        rows = load_history(self.folder / "history.csv")
        if not rows:
            raise ModelError(f"{self.folder}: no history.csv; train again")
        return TrainOutcome(card=card, trained=trained, best=max(rows, key=_goodness))

    @property
    def checkpoint(self) -> Path:
        return self.folder.with_name(f".{self.folder.name}.training")

    def resume(self) -> None:
        """Build the network; take up the last checkpoint where it was made by the same recipe."""
        keep_large_buffers()
        keras.utils.set_random_seed(self.settings.seed)
        self.network = build_network(
            self.settings.architecture, self.spec, self.settings.architecture_options
        )
        self.network.compile(
            optimizer=keras.optimizers.RMSprop(
                learning_rate=self.settings.learning_rate,
                rho=self.settings.rho,
                momentum=self.settings.momentum,
                epsilon=self.settings.epsilon,
            ),
            loss="sparse_categorical_crossentropy",
            metrics=["accuracy"],
        )
        restore_folder(self.checkpoint)
        found = Recipe.load(self.checkpoint / "recipe.json")
        if found is not None and not found.differences(self.recipe):
            self.network.optimizer.build(self.network.trainable_variables)
            self.network.load_weights(self.checkpoint / LAST)
            self.step = json.loads((self.checkpoint / STATE).read_text())["step"]
            self.history = load_history(self.checkpoint / "history.csv")
            logger.warning(
                "%s: goes on after %d examples", self.folder, self.step * self.settings.batch_size
            )
        self._best = (self.checkpoint / WEIGHTS).read_bytes() if self.history else b""
        self._started = time.perf_counter() - (self.history[-1].seconds if self.history else 0.0)
        self.validation_batch = self.validation.draw(0)

    def learn(self, batch: Batch) -> None:
        """One step, and a validation with its checkpoint when it is due."""
        self.network.optimizer.learning_rate = self._learning_rate()
        self.network.reset_metrics()
        loss, accuracy = (
            float(x) for x in self.network.train_on_batch(batch.patches, batch.labels)
        )
        if not math.isfinite(loss):
            raise self._diverged(f"the loss became {loss}")
        self.step += 1
        self._since.append((loss, accuracy))
        mean_loss, mean_accuracy = np.mean(self._since, axis=0)
        self.figures = {**self.figures, "loss": float(mean_loss), "accuracy": float(mean_accuracy)}
        due = max(1, self.settings.validate_every // self.settings.batch_size)
        if self.step % due == 0 or self.step == self.steps:
            self._validate(float(mean_loss), float(mean_accuracy))
            self._since.clear()

    def _diverged(self, what: str) -> ModelError:
        return ModelError(
            f"{self.folder}: {what} after {self.step * self.settings.batch_size} examples; train "
            f"again with a learning rate below {self.settings.learning_rate:g} (the last good "
            f"checkpoint is in {self.checkpoint})"
        )

    def _learning_rate(self) -> float:
        examples = self.step * self.settings.batch_size
        halved = self.settings.learning_rate * 0.5 ** (examples // self.settings.halve_every)
        length = self.settings.cooldown * self.steps
        passed = (self.step - (self.steps - length)) / length if length else 0.0
        return halved * 0.01 ** max(0.0, passed)

    def _validate(self, loss: float, accuracy: float) -> None:
        scores = _scores(self.network, self.validation_batch.patches, self.settings.batch_size)
        if not np.isfinite(scores).all():
            raise self._diverged("a validation score is not a number")
        labels = self.validation_batch.labels
        row = HistoryRow(
            examples=self.step * self.settings.batch_size,
            seconds=round(time.perf_counter() - self._started, 1),
            learning_rate=self._learning_rate(),
            train_loss=loss,
            train_accuracy=accuracy,
            validation_loss=float(log_loss(labels, scores, labels=[0, 1])),
            validation_auc=float(roc_auc_score(labels, scores)),
        )
        is_best = not self.history or _goodness(row) > max(map(_goodness, self.history))
        self.history.append(row)
        self.figures |= {
            "validation_auc": row.validation_auc,
            "validation_loss": row.validation_loss,
        }
        logger.info("%s", row)
        self._save(is_best=is_best)

    def _save(self, *, is_best: bool) -> None:
        with atomic_folder(self.checkpoint) as partial:
            self.network.save_weights(partial / LAST)
            if is_best:
                self._best = (partial / LAST).read_bytes()
            (partial / WEIGHTS).write_bytes(self._best)
            (partial / STATE).write_text(json.dumps({"step": self.step}))
            save_history(self.history, partial / "history.csv")
            self.recipe.save(partial / "recipe.json")

    def finish(self) -> TrainOutcome:
        """Turn the checkpoint into the model folder."""
        best = max(self.history, key=_goodness)
        with atomic_folder(self.folder) as partial:
            for name in (LAST, WEIGHTS):
                shutil.copy(self.checkpoint / name, partial / name)
            save_history(self.history, partial / "history.csv")
            draw_curve(self.history, partial / "training_curve.png")
            self.recipe.save(partial / "recipe.json")
            ModelCard(
                architecture=self.settings.architecture,
                options=self.settings.architecture_options,
                input_spec=self.spec,
                pixels=find_architecture(self.settings.architecture).pixels,
                parameters=parameter_counts(self.network),
                training={
                    "settings": self.settings.model_dump(mode="json"),
                    "patches_from": self.tiles.model_dump(mode="json"),
                    "backend": keras.backend.backend(),
                    "keras": keras.__version__,
                    "optimiser": "RMSProp of Keras 3 (epsilon inside the root, mean square from "
                    "zero)",
                    "best": asdict(best),
                },
                weights_sha256=hash_weights(partial),
            ).save(partial)
        shutil.rmtree(self.checkpoint)
        return self._outcome(trained=True)


def _goodness(row: HistoryRow) -> tuple[float, float]:
    return (round(row.validation_auc, 4), -row.validation_loss)


def _scores(network: keras.Model, patches: np.ndarray, batch: int) -> np.ndarray:
    whole = len(patches) + -len(patches) % batch
    padded = np.resize(patches, (whole, *patches.shape[1:]))  # one batch size, one compiled graph
    parts = [network.predict_on_batch(padded[i : i + batch]) for i in range(0, whole, batch)]
    return np.concatenate([np.asarray(part)[:, 1] for part in parts])[: len(patches)].astype(
        np.float64
    )
