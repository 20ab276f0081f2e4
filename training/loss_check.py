"""Refusal to go on with a loss that is no number."""

import math

from ..storage import ModelError

__all__ = ["check_loss"]


def check_loss(loss: float, *, done: str, learning_rate: float) -> None:
    """Pass if a loss is finite. done: how much of the training is done, such as "3 steps".

    Raises:
        ModelError: it is not.
    """
    if not math.isfinite(loss):
        raise ModelError(
            f"the loss is no number after {done}; lower the learning rate ({learning_rate:g})"
        )
