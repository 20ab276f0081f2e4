"""Training from slide labels, end to end, as the command gives it: bar, results."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...cohort import Cohort
from ..terminal.progress import print_line, print_stage_line, quiet_tensorflow
from .task_training import step_bar

if TYPE_CHECKING:
    from ...training import TopWindowSettings, TrainSettings

__all__ = ["train_on_slide_labels"]


def train_on_slide_labels(
    cohort: Cohort, model: Path, slides: TopWindowSettings, settings: TrainSettings
) -> int:
    """Train the members of a model; return 0."""
    with quiet_tensorflow():
        from ...models import describe_device
        from ...training import TopWindowTraining, plan_members

        device = describe_device()
        training = TopWindowTraining(cohort, slides)
    members = plan_members(model, settings)
    print_line(f"train: this machine, {device}; {training.describe()}")
    for number, member in enumerate(members, 1):
        stage = "train" if len(members) == 1 else f"train {number}/{len(members)}"
        with step_bar(stage, slides.epochs * slides.steps) as advance:
            outcome = training.train(member.folder, seed=member.settings.seed, on_step=advance)
        best = outcome.best
        auc = "" if best.slide_auc is None else f", validation slide AUC {best.slide_auc:.3f}"
        state = "trained" if outcome.trained else "unchanged"
        print_stage_line(stage, f"{state}; loss {best.train_loss:.3f}{auc}, epoch {best.epoch}")
        print_stage_line("", f"model in {member.folder}")
    if len(members) > 1:
        print_stage_line("", f"ensemble of {len(members)} members in {model}")
    return 0
