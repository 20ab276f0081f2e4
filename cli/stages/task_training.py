"""Trainings straight from a cohort, for each --task: options that they refuse, and their bar."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ...batch import BatchSettings
from ...storage import SettingsError
from ..options.changed import changed_options
from ..terminal.progress import progress_bar

if TYPE_CHECKING:
    from ...patching import TileSettings
    from ...training import TrainSettings

__all__ = ["refuse_options_of_patches", "step_bar"]

SHARED = frozenset({"members", "seed"})


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
def step_bar(stage: str, steps: int) -> Iterator[Callable[[int, dict[str, float]], None]]:
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
