"""Search for the batch at which the loss of a training became NaN."""

import numpy as np

from ..storage import ModelError
from .checkpoints.checkpoint import Checkpoints, DivergedError, TrainingState
from .dataset import one_hot
from .inputs import TrainingInputs
from .network.seeds import seed_step
from .report.picture import save_batch

__all__ = ["find_divergence"]


def find_divergence(
    job: TrainingInputs, checkpoints: Checkpoints, error: DivergedError, *, until: int
) -> ModelError:
    """Find the batch at which the loss became NaN by replaying the steps since the checkpoint,
    save it as a picture, and return an error that names it."""
    if checkpoints.find():
        network, state = checkpoints.load(job.builder.rebuild)
    else:
        network, state = job.builder.build(0), TrainingState()
    start = state.step
    if start == job.settings.unfreeze_step:
        job.builder.compile(network, start)
    size, found = job.settings.batch_size, ""
    for number in range(start, until):
        batch = job.sampler.draw(number)
        network.reset_metrics()
        seed_step(job.settings.seed, number)
        targets = one_hot(batch.labels)
        loss = network.train_on_batch(batch.patches, targets, return_dict=True)["loss"]
        if not np.isfinite(loss):
            picture = job.folder.with_name(f"{job.folder.name}.batch_{number}.png")
            save_batch(batch, picture)
            found = (
                f", in batch {number} (examples {number * size} to {(number + 1) * size}, "
                f"see {picture})"
            )
            break
    kept = f"; the checkpoint of {start * size} examples stays" if start else ""
    return ModelError(
        f"{job.folder}: {error}{found}; train with a learning rate below "
        f"{job.settings.learning_rate:g}{kept}"
    )
