"""Fine-tuning of a network on patches in memory, in a few steps: the cells of a study."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import Field

from ..models import ArchitectureName
from ..storage import Settings, SettingsError
from ..wsi import ORIENTATIONS, InputSpec, orient
from .loss_check import check_loss
from .settings import TrainSettings

__all__ = ["FineTuneSettings", "FineTuneStart", "LabelledPatches", "fine_tune"]

AT_ONCE = 32  # test patches


class FineTuneSettings(Settings):
    """Settings of a short training on patches in memory."""

    architecture: ArchitectureName = "efficientnet_lite0"
    """Network, by the names of gigaslide train."""
    steps: int = Field(default=60, ge=1)
    """Optimiser steps of a training."""
    batch_size: int = Field(default=16, ge=2)
    """Patches in a step, half of them with tumour."""
    dropout: float = Field(default=0.5, ge=0, lt=1)
    """Share of the features left out at random before the classifier."""


@dataclass(frozen=True, kw_only=True)
class FineTuneStart:
    """Start of a fine-tuning: its weights, and how they may change."""

    weights: Path | None
    """Weights to begin with; None: random."""
    freeze: str
    """Layers that stay as they are, as in `TrainSettings`. Frozen random layers are allowed here,
    as a baseline."""
    learning_rate: float


@dataclass(frozen=True, kw_only=True)
class LabelledPatches:
    """Patches in memory to learn from."""

    patches: np.ndarray
    """(N, P, P, 3) uint8."""
    labels: np.ndarray
    """(N,): 1 tumour, 0 normal."""
    spec: InputSpec


def fine_tune(
    examples: LabelledPatches,
    test: np.ndarray,
    settings: FineTuneSettings,
    *,
    start: FineTuneStart,
    seed: int,
) -> np.ndarray:
    """Train on patches; return the probabilities of tumour (M,) float32 of test patches
    (M, P, P, 3).

    Patches are turned to one of eight orientations. A process compiles the network once for all
    trainings that differ in their first weights alone.

    Raises:
        SettingsError: patches of one class.
        ModelError: weights that do not fit the network, or a loss that is no number.
    """
    from .network.reuse import NetworkUse, compile_once  # imports Keras
    from .network.seeds import seed_step

    if set(np.unique(examples.labels).tolist()) != {0, 1}:
        raise SettingsError("its patches are of one class; a training needs both")
    given = TrainSettings(
        recipe="modern",
        architecture=settings.architecture,
        initial_weights=str(start.weights) if start.weights else "random",
        freeze=start.freeze,
        batch_size=settings.batch_size,
        dropout=settings.dropout,
        learning_rate=start.learning_rate,
        label_smoothing=0.0,
        seed=seed % 2**31,
    )
    use = NetworkUse(settings=given, spec=examples.spec, steps=settings.steps)
    batches = _draw(examples, settings.batch_size, np.random.default_rng(seed))
    with compile_once(use) as network:
        for step in range(settings.steps):
            seed_step(seed, step)
            images, wanted = next(batches)
            network.reset_metrics()
            found = np.asarray(network.train_on_batch(images, wanted)).ravel()
            check_loss(float(found[0]), done=f"{step + 1} steps", learning_rate=start.learning_rate)
        return _predict(network, test)


def _draw(
    examples: LabelledPatches, size: int, rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield batches without end: (B, 1, P, P, 3) uint8, and (B, 2) float32 of 0 and 1."""
    members = [np.flatnonzero(examples.labels == value) for value in (0, 1)]
    wanted = np.arange(size) % 2
    while True:
        chosen = [int(rng.choice(members[value])) for value in wanted.tolist()]
        turned = [orient(examples.patches[row], int(rng.integers(ORIENTATIONS))) for row in chosen]
        yield np.stack(turned)[:, None], np.eye(2, dtype=np.float32)[wanted]


def _predict(network, test: np.ndarray) -> np.ndarray:
    found = np.zeros(len(test), np.float32)
    for first in range(0, len(test), AT_ONCE):
        part = test[first : first + AT_ONCE]
        spare = np.zeros((AT_ONCE - len(part), *part.shape[1:]), np.uint8)  # one shape, one graph
        scores = network.predict_on_batch(np.concatenate([part, spare])[:, None])
        found[first : first + len(part)] = np.asarray(scores)[: len(part), 1]
    return found
