"""Training history: one row per validation, as CSV and as a picture."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

__all__ = ["HistoryRow", "draw_curve", "load_history", "save_history"]


@dataclass(frozen=True, kw_only=True)
class HistoryRow:
    """The state at one validation. Losses are cross-entropies in nats."""

    examples: int
    seconds: float
    learning_rate: float
    train_loss: float
    """Mean since the validation before."""
    train_accuracy: float
    validation_loss: float
    validation_auc: float
    """Over patches, one orientation."""


def save_history(rows: Sequence[HistoryRow], path: Path) -> None:
    table = pd.DataFrame([asdict(row) for row in rows])
    table.to_csv(path.absolute(), index=False, lineterminator="\n")  # pandas would expand a ~


def load_history(path: Path) -> list[HistoryRow]:
    """The rows of such a CSV; none where there is no file."""
    if not path.exists():
        return []
    records = pd.read_csv(path.absolute()).to_dict("records")
    return [HistoryRow(**{str(key): value for key, value in record.items()}) for record in records]


def draw_curve(rows: Sequence[HistoryRow], path: Path) -> None:
    """Losses and validation AUC over examples, as PNG."""
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    losses, aucs = figure.subplots(1, 2)
    examples = [row.examples for row in rows]
    losses.plot(
        examples, [row.train_loss for row in rows], marker=".", label="training (augmented)"
    )
    losses.plot(examples, [row.validation_loss for row in rows], marker=".", label="validation")
    losses.set(xlabel="examples seen", ylabel="cross-entropy", ylim=(0, None))
    losses.legend(frameon=False)
    aucs.plot(examples, [row.validation_auc for row in rows], marker=".", color="C1")
    aucs.set(xlabel="examples seen", ylabel="patch AUC, validation slides", ylim=(0.4, 1.01))
    for axes in (losses, aucs):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
