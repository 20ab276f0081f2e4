"""Training on outlined regions as the command gives it: checks, bar, results."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...batch import BatchSettings
from ...cohort import Cohort
from ...storage import SettingsError
from ..options.changed import changed_options
from ..terminal.progress import print_line, print_stage_line, progress_bar, quiet_tensorflow

if TYPE_CHECKING:
    from ...patching import TileSettings
    from ...training import RegionSettings, TrainSettings

__all__ = ["refuse_options_of_patches", "train_on_regions"]

SHARED = frozenset({"members", "seed"})


def refuse_options_of_patches(
    settings: TrainSettings, tiles: TileSettings, batch: BatchSettings
) -> None:
    """Pass unless an option is given that has no meaning for regions.

    Raises:
        SettingsError: one is.
    """
    given = [*changed_options("--", settings, SHARED), *changed_options("--tile.", tiles)]
    given += changed_options("--", batch)
    if given:
        raise SettingsError(
            f"{', '.join(given)}: has no meaning for --task regions, whose settings begin with "
            "--regions; omit, or leave out --task"
        )


def train_on_regions(
    cohort: Cohort, model: Path, regions: RegionSettings, settings: TrainSettings
) -> int:
    """Train the members of a model; return 0."""
    with quiet_tensorflow():
        from ...models import describe_device
        from ...training import RegionTraining, plan_members

        device = describe_device()
        training = RegionTraining(cohort, regions)
    members = plan_members(model, settings)
    print_line(f"train: this machine, {device}; {training.describe()}")
    for number, member in enumerate(members, 1):
        stage = "train" if len(members) == 1 else f"train {number}/{len(members)}"
        steps = regions.epochs * regions.steps
        with progress_bar(stage, steps, " steps") as progress:

            def advance(done: int, figures: dict[str, float]) -> None:
                shown = [f"{name} {value:.3f}" for name, value in figures.items() if value == value]
                progress.set_postfix_str(", ".join(shown), refresh=False)
                if not progress.n:  # what was seen before this run counts neither as speed nor ETA
                    progress.n = progress.initial = max(0, done - 1)
                progress.update(done - progress.n)

            outcome = training.train(member.folder, seed=member.settings.seed, on_step=advance)
            progress.update(steps - progress.n)
        best = outcome.best
        dice = best.validation_dice if best.validation_dice is not None else best.preview_dice
        of = "validation" if best.validation_dice is not None else "preview"
        state = "trained" if outcome.trained else "unchanged"
        figure = "" if dice is None else f", {of} Dice {dice:.3f}"
        print_stage_line(stage, f"{state}; loss {best.train_loss:.3f}{figure}, epoch {best.epoch}")
        print_stage_line("", f"model in {member.folder}")
    if len(members) > 1:
        print_stage_line("", f"ensemble of {len(members)} members in {model}")
    return 0
