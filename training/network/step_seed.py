"""Seed of each step on PyTorch, where dropout draws from one generator of the whole process.

TensorFlow and JAX keep a state for each random layer, which a checkpoint holds. On PyTorch whatever
draws numbers, such as a data loader that starts, would change the numbers of the next step.
"""

from typing import Any

import keras
import numpy as np

__all__ = ["StepSeed", "seed_step"]


def seed_step(seed: int, step: int) -> None:
    """Seed PyTorch's generators for one step of a training; do nothing on other backends."""
    if keras.backend.backend() != "torch":
        return
    import torch  # pyright: ignore[reportMissingImports]

    torch.manual_seed(int(np.random.SeedSequence([seed, step]).generate_state(1)[0]))


class StepSeed(keras.callbacks.Callback):
    """Seed each step of a `fit` that begins with the step `start`."""

    def __init__(self, seed: int, *, start: int) -> None:
        super().__init__()
        self.seed, self.start = seed, start

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        seed_step(self.seed, self.start + batch)
