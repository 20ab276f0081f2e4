"""History of a training on regions: one row per epoch, as CSV."""

from dataclasses import dataclass

__all__ = ["RegionRow"]


@dataclass(frozen=True, kw_only=True)
class RegionRow:
    """The state after an epoch. The loss is binary cross-entropy (nats) plus 1 - soft Dice."""

    epoch: int
    examples: int
    """Crops seen."""
    seconds: float
    learning_rate: float
    train_loss: float
    """Mean over the steps of the epoch, of augmented crops."""
    preview_dice: float | None = None
    """Over the crops of the preview that lie on training slides, not augmented."""
    validation_loss: float | None = None
    """Over the validation crops; None without validation slides."""
    validation_dice: float | None = None
