"""Model folder of a training straight from a cohort, and the checkpoints beside it."""

import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from ...cohort import Cohort, CohortSlide
from ...models import CARD, WEIGHTS, ModelCard
from ...storage import Output, Recipe, SettingsError
from ..checkpoints.checkpoint import Checkpoints
from ..checkpoints.files import move_aside
from ..report.history import load_history, save_history
from ..report.page import PAGE
from ..report.report import page_beside

__all__ = ["TaskFolder", "TaskOutcome", "split_slides"]

logger = logging.getLogger(__name__)

HISTORY = "history.csv"


class EpochRow(Protocol):
    """Row of a history."""

    @property
    def epoch(self) -> int: ...

    @property
    def train_loss(self) -> float: ...


RowT = TypeVar("RowT", bound=EpochRow)


def split_slides(cohort: Cohort) -> tuple[list[CohortSlide], list[CohortSlide]]:
    """Return training and validation slides; of a cohort without splits all are training slides."""
    train = [row for row in cohort if row.split == "train" or not cohort.has_splits]
    return train, [row for row in cohort if row.split == "validation"]


@dataclass(frozen=True, kw_only=True)
class TaskOutcome(Generic[RowT]):
    """A trained model; `trained` is False if the folder already held it."""

    card: ModelCard
    trained: bool
    best: RowT


@dataclass(frozen=True, kw_only=True)
class TaskFolder(Generic[RowT]):
    """Model folder that a recipe makes, with a history of rows of one kind."""

    path: Path
    recipe: Recipe
    row: type[RowT]
    name: str
    """Words for what it holds, for messages."""

    @property
    def _output(self) -> Output:
        return Output(location=self.path, recipe=self.recipe, files=(CARD, WEIGHTS, HISTORY))

    def begin(self) -> Checkpoints | None:
        """Return the checkpoints to go on from, or None if the recipe's model is there already.
        Those of another recipe are renamed.

        Raises:
            SettingsError: the folder holds something else.
            ModelError: its weights are damaged.
        """
        state = self._output.state()
        if state.status == "foreign":
            raise SettingsError(
                f"{self.path}: holds something other than {self.name}; give a new folder"
            )
        if state.is_unchanged:
            ModelCard.load(self.path).check_weights(self.path)
            return None
        checkpoints = Checkpoints.of_model(self.path, self.recipe, self.row)
        checkpoints.clean_up()
        if checkpoints.differences():
            moved = move_aside(checkpoints.folder)
            logger.warning("%s: belong to another training; moved to %s", checkpoints.folder, moved)
        elif rows := checkpoints.history():
            logger.warning("%s: training continues after epoch %d", self.path, rows[-1].epoch)
        return checkpoints

    def finish(
        self,
        checkpoints: Checkpoints,
        history: Sequence[RowT],
        describe: Callable[[Path], ModelCard],
        *,
        folders: Sequence[Path] = (),
        complete: Callable[[Path], None] = lambda folder: None,
    ) -> None:
        """Write the model from its newest checkpoint, and the page that lies beside it. An earlier
        model of another recipe is renamed.

        describe makes the card for a folder with the weights; folders are copied under their own
        names; complete adds to the folder, which is whole without it.
        """
        if self._output.state().status == "changed":
            logger.warning(
                "%s: the earlier model was moved to %s", self.path, move_aside(self.path)
            )
        with self._output.write() as partial:
            made = Path(partial)
            shutil.copy(checkpoints.newest / WEIGHTS, made / WEIGHTS)
            save_history(history, made / HISTORY, self.row)
            for source in folders:
                shutil.copytree(source, made / source.name)
            page = page_beside(self.path)
            if page.exists():
                shutil.copy(page, made / PAGE)
            describe(made).save(made)
            complete(made)
        page.unlink(missing_ok=True)

    def outcome(self, *, trained: bool) -> TaskOutcome[RowT]:
        """Read what the finished folder holds."""
        card = ModelCard.load(self.path)
        rows = load_history(self.path / HISTORY, self.row)
        best = next(row for row in rows if row.epoch == card.training["best"]["epoch"])
        return TaskOutcome(card=card, trained=trained, best=best)
