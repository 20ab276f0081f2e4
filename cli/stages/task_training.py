"""Trainings straight from a cohort, for each --task: options that they refuse, bar, results."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...batch import BatchSettings
from ...cohort import Cohort
from ...storage import SettingsError
from ..options.changed import changed_options
from ..terminal.progress import print_line, print_stage_line, progress_bar, quiet_tensorflow

if TYPE_CHECKING:
    from ...patching import TileSettings
    from ...training import (
        RegionSettings,
        RegionTraining,
        TopWindowSettings,
        TopWindowTraining,
        TrainSettings,
    )

__all__ = ["refuse_options_of_patches", "train_on_regions", "train_on_slide_labels"]

SHARED = frozenset({"members", "seed"})


def train_on_regions(
    cohort: Cohort, model: Path, regions: RegionSettings, settings: TrainSettings
) -> int:
    """Train a model, or its members, on outlined regions; return 0."""
    with quiet_tensorflow():
        from ...training import RegionTraining

        training = RegionTraining(cohort, regions)

    def show_dice(best: Any) -> str:
        if best.validation_dice is not None:
            return f", validation Dice {best.validation_dice:.3f}"
        return "" if best.preview_dice is None else f", preview Dice {best.preview_dice:.3f}"

    return _train_members(training, model, settings, show_dice)


def train_on_slide_labels(
    cohort: Cohort, model: Path, slides: TopWindowSettings, settings: TrainSettings
) -> int:
    """Train a model, or its members, from slide labels, end to end; return 0."""
    with quiet_tensorflow():
        from ...training import TopWindowTraining

        training = TopWindowTraining(cohort, slides)

    def show_auc(best: Any) -> str:
        auc = best.slide_auc
        return "" if auc is None else f", validation slide AUC {auc:.3f}"

    return _train_members(training, model, settings, show_auc)


def _train_members(
    training: RegionTraining | TopWindowTraining,
    model: Path,
    settings: TrainSettings,
    show_figure: Callable[[Any], str],
) -> int:
    """Train; show_figure words the figure of the best epoch's row."""
    from ...models import describe_device
    from ...training import plan_members

    members = plan_members(model, settings)
    print_line(f"train: this machine, {describe_device()}; {training.describe()}")
    steps = training.settings.epochs * training.settings.steps
    for number, member in enumerate(members, 1):
        stage = "train" if len(members) == 1 else f"train {number}/{len(members)}"
        with _step_bar(stage, steps) as advance:
            outcome = training.train(member.folder, seed=member.settings.seed, on_step=advance)
        best, state = outcome.best, "trained" if outcome.trained else "unchanged"
        loss = f"loss {best.train_loss:.3f}{show_figure(best)}, epoch {best.epoch}"
        print_stage_line(stage, f"{state}; {loss}")
        print_stage_line("", f"model in {member.folder}")
    if len(members) > 1:
        print_stage_line("", f"ensemble of {len(members)} members in {model}")
    return 0


def refuse_options_of_patches(
    settings: TrainSettings, tiles: TileSettings, batch: BatchSettings, *, task: str
) -> None:
    """Pass unless an option is given that has no meaning for a task.

    Raises:
        SettingsError: one is.
    """
    given = [*changed_options("--", settings, SHARED), *changed_options("--tile.", tiles)]
    given += changed_options("--", batch)
    if given:
        raise SettingsError(
            f"{', '.join(given)}: has no meaning for --task {task}, whose settings begin with "
            f"--{task}; omit, or leave out --task"
        )


@contextmanager
def _step_bar(stage: str, steps: int) -> Iterator[Callable[[int, dict[str, float]], None]]:
    """Show a bar of steps; yield the function that is told how many are done, and the figures."""
    with progress_bar(stage, steps, " steps") as progress:

        def advance(done: int, figures: dict[str, float]) -> None:
            shown = [f"{name} {value:.3f}" for name, value in figures.items() if value == value]
            progress.set_postfix_str(", ".join(shown), refresh=False)
            if not progress.n:  # what was seen before this run counts neither as speed nor ETA
                progress.n = progress.initial = max(0, done - 1)
            progress.update(done - progress.n)

        yield advance
        progress.update(steps - progress.n)
