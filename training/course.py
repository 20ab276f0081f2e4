"""Course of a training: when validations are due, and when it is over."""

import logging
from dataclasses import dataclass

from .checkpoints.checkpoint import TrainingState
from .report.history import HistoryRow, is_candidate, rank_key
from .settings import TrainSettings

__all__ = ["Course"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Course:
    """Steps of a training by its settings."""

    settings: TrainSettings
    steps: int
    """Number of steps of the whole training."""

    def is_over(self, state: TrainingState) -> bool:
        """Tell whether the last step is validated, or no validation was better for so long that the
        training ends early."""
        if state.unvalidated.steps:
            return False
        patience, best = self.settings.patience, self.best_candidate(state)
        late = bool(patience and best and len(best[1]) >= patience)
        return late or state.step >= self.steps

    def best_candidate(self, state: TrainingState) -> tuple[HistoryRow, list[HistoryRow]] | None:
        """Return the best of the validations that have the figure asked for, and those after it."""
        figure = self.settings.best
        rows = [row for row in state.history if is_candidate(row, figure)]
        best = max(rows, key=lambda row: rank_key(row, figure), default=None)
        return None if best is None else (best, rows[rows.index(best) + 1 :])

    def tell_early_end(self, state: TrainingState, model: str) -> None:
        """Warn of a training that ended before its last step; model is its name in the warning."""
        best = self.best_candidate(state)
        if state.step < self.steps and best:
            logger.warning(
                "%s: the training ends after %d examples: %d validations were not better than that "
                "after %d",
                model,
                state.history[-1].examples,
                self.settings.patience,
                best[0].examples,
            )

    def next_validation(self, state: TrainingState) -> int:
        """Return the step at which the next validation is due. A rest of less than half an interval
        belongs to the last one."""
        interval = max(1, self.settings.validate_every // self.settings.batch_size)
        unfreeze = self.settings.unfreeze_step
        if state.unvalidated.steps and (state.step % interval == 0 or state.step == unfreeze):
            due = state.step
        else:
            due = (state.step // interval + 1) * interval
        stop = due if self.steps - due >= interval / 2 else self.steps
        if unfreeze is not None and state.step < unfreeze < stop:
            return unfreeze
        return max(state.step, stop)  # which may be past the end of a shorter training
