"""Learning rate of a training, as a schedule of Keras."""

from typing import Any

import keras
from keras import ops

__all__ = ["HalvingWithCooldown"]


@keras.saving.register_keras_serializable("gigaslide")
class HalvingWithCooldown(keras.optimizers.schedules.LearningRateSchedule):
    """Learning rate, halved at fixed numbers of examples, that falls to a hundredth at the end.

    The halving is that of Liu et al. 2017 (every 2 million examples). The final fall, exponential
    over the last `cooldown` share of all steps, is ours.
    """

    def __init__(
        self, *, start: float, batch_size: int, halve_every: int, cooldown: float, steps: int
    ) -> None:
        """halve_every: examples; cooldown: share of steps, 0 to 1; steps: batches in all."""
        self._config = {
            "start": start,
            "batch_size": batch_size,
            "halve_every": halve_every,
            "cooldown": cooldown,
            "steps": steps,
        }
        self._halving_steps = halve_every / batch_size
        self._start, self._steps, self._cooldown_steps = start, steps, cooldown * steps

    def __call__(self, step: Any) -> Any:
        """Return the learning rate of a step (a float, or a scalar tensor)."""
        step = ops.cast(step, "float32")
        halvings: Any = ops.floor((step + 1e-3) / self._halving_steps)
        halved: Any = ops.power(0.5, halvings)
        rate = self._start * halved
        if not self._cooldown_steps:
            return rate
        passed = (step - (self._steps - self._cooldown_steps)) / self._cooldown_steps
        return rate * ops.power(0.01, ops.maximum(passed, 0.0))

    def get_config(self) -> dict[str, Any]:
        return self._config
