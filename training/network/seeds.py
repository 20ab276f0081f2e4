"""Seeds of a training: of the network's first weights and dropout, and of each step."""

from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

import keras
import numpy as np
from keras.src.random import seed_generator

__all__ = ["StepSeed", "seed_network", "seed_step"]


@contextmanager
def seed_network(seed: int) -> Iterator[None]:
    """Seed the layers that are built in this context, whatever other threads draw.

    Keras draws the seeds of layers from Python's generator of the whole process. In a worker, the
    thread of Dask draws from it too, at any time, and the network would begin with other weights.
    """
    keras.utils.set_random_seed(seed)
    of_process = seed_generator.python_random
    seed_generator.__dict__["python_random"] = Random(seed)
    try:
        yield
    finally:
        seed_generator.__dict__["python_random"] = of_process


def seed_step(seed: int, step: int) -> None:
    """Seed PyTorch's generators for one step of a training; do nothing on other backends.

    TensorFlow and JAX keep a state for each random layer, which a checkpoint holds. PyTorch's
    dropout draws from a generator of the process, from which a data loader that starts draws too.
    """
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
