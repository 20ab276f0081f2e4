"""Training history: one row per validation, as CSV."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

__all__ = ["HistoryRow", "is_candidate", "load_history", "rank_key", "save_history"]

RowT = TypeVar("RowT")


@dataclass(frozen=True, kw_only=True)
class HistoryRow:
    """The state at one validation. Losses are cross-entropies in nats.

    A figure is None where it was not measured, as in histories of earlier versions.
    """

    examples: int
    seconds: float
    learning_rate: float
    train_loss: float
    """Mean since the validation before."""
    train_accuracy: float
    validation_loss: float
    validation_auc: float
    """Over patches, one orientation."""
    train_auc: float | None = None
    """Over the augmented patches since the validation before, scored while the network learnt."""
    validation_sensitivity_at_95: float | None = None
    """Highest sensitivity of a threshold with a specificity of at least 95 %."""
    validation_calibration_error: float | None = None
    """Expected calibration error: mean absolute difference of score and share of tumour in ten bins
    of equal width, weighted by their patches. Half of the validation patches are tumour."""
    slide_auc: float | None = None
    """Over whole validation slides, by their highest probability in one orientation."""
    froc: float | None = None
    """FROC score on whole validation slides."""
    patches_per_s: float | None = None
    """Training speed since the validation before, without its first step."""
    waiting_share: float | None = None
    """Share of that time in which a step waited for its patches."""


def rank_key(row: HistoryRow, figure: str = "patch_auc") -> tuple[float, ...]:
    """Return the key by which validations are ranked, best last: the figure; at a tie, the patch
    AUC and the lowest loss. Validations without the figure come first."""
    values = {"patch_auc": row.validation_auc, "loss": -row.validation_loss}
    value = values.get(figure, getattr(row, figure, None))
    rest = (round(row.validation_auc, 4), -row.validation_loss)
    return (-math.inf if value is None else round(value, 4), *rest)


def is_candidate(row: HistoryRow, figure: str) -> bool:
    """Tell whether a validation has the figure by which the best is chosen."""
    return rank_key(row, figure)[0] > -math.inf


def save_history(rows: Sequence[Any], path: Path, kind: type = HistoryRow) -> None:
    """Write rows of one kind, a dataclass, as CSV."""
    names = [field.name for field in fields(kind)]
    table = pd.DataFrame([asdict(row) for row in rows], columns=names)
    table.to_csv(path.absolute(), index=False, lineterminator="\n")  # pandas would expand a ~


def load_history(path: Path, kind: type[RowT] = HistoryRow) -> list[RowT]:
    """Load the rows of such a CSV; none where there is no file."""
    if not path.exists():
        return []
    records = pd.read_csv(path.absolute()).to_dict("records")
    known = [{str(key): v for key, v in record.items() if pd.notna(v)} for record in records]
    return [kind(**record) for record in known]
