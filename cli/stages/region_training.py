"""Training on outlined regions as the command gives it: bar, results."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...cohort import Cohort
from ..terminal.progress import print_line, print_stage_line, quiet_tensorflow
from .task_training import step_bar

if TYPE_CHECKING:
    from ...training import RegionSettings, TrainSettings

__all__ = ["train_on_regions"]


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
        with step_bar(stage, regions.epochs * regions.steps) as advance:
            outcome = training.train(member.folder, seed=member.settings.seed, on_step=advance)
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
