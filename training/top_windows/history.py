"""History of a training from slide labels: one row per epoch, as CSV."""

from dataclasses import dataclass

__all__ = ["TopWindowRow"]


@dataclass(frozen=True, kw_only=True)
class TopWindowRow:
    """The state after an epoch. The loss of a slide is the mean cross-entropy of its k windows with
    the highest scores (nats)."""

    epoch: int
    examples: int
    """Slides seen, repeats counted."""
    seconds: float
    learning_rate: float
    train_loss: float
    """Mean over the steps of the epoch, of augmented windows."""
    validation_loss: float | None = None
    """Over the validation slides, both classes weighing the same; None without both."""
    slide_auc: float | None = None
    """Over the validation slides, by their highest score."""
