"""Training on a patch store, one model folder or several."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...cohort import Cohort
from ...storage import Location
from ..terminal.progress import print_line, print_stage_line, progress_bar, quiet_tensorflow

if TYPE_CHECKING:
    from ...patching import PatchStore
    from ...training import Member, TrainSettings

__all__ = ["train_stage"]

SHOWN = {"loss": "loss", "validation_auc": "validation AUC"}  # while a training runs


def train_stage(
    store: Location | PatchStore,
    folder: Path,
    settings: TrainSettings,
    *,
    slides: Cohort | None = None,
) -> None:
    """slides: the cohort whose validation slides are predicted whole, where the settings ask for
    it."""
    from ...patching import PatchStore
    from ...training import check_trackers
    from ...wsi import warn_of_unlikely_mpp

    check_trackers(settings.track)
    opened = store if isinstance(store, PatchStore) else PatchStore(store)
    for slide in opened.slides:  # a missing store is reported before Keras loads for seconds
        if "slide_mpp" in slide.attributes:
            warn_of_unlikely_mpp(slide.id, slide.attributes["slide_mpp"])
    with quiet_tensorflow():
        from ...models import describe_device
        from ...training import plan_members

        device = describe_device()
    members = plan_members(folder, settings)
    print_line(f"train: this machine, {device}")
    for number, member in enumerate(members, 1):
        stage = "train" if len(members) == 1 else f"train {number}/{len(members)}"
        _train_model(opened, member, slides, stage=stage)
    if len(members) > 1:
        print_stage_line("", f"ensemble of {len(members)} members in {folder}")


def _train_model(store: PatchStore, member: Member, slides: Cohort | None, *, stage: str) -> None:
    from ...training import train

    folder, settings = member.folder, member.settings
    with progress_bar(stage, settings.examples, " patches") as progress:

        def advance(examples: int, figures: dict[str, float]) -> None:
            shown = [
                f"{words} {figures[name]:.3f}" for name, words in SHOWN.items() if name in figures
            ]
            progress.set_postfix_str(", ".join(shown), refresh=False)
            if not progress.n:  # what was seen before this run counts neither as speed nor for ETA
                progress.n = progress.initial = max(0, examples - settings.batch_size)
                progress.last_print_n = progress.n
            progress.update(min(examples, settings.examples) - progress.n)

        outcome = train(store, folder, settings, slides=slides, on_step=advance)
        if not outcome.trained:
            progress.update(settings.examples)
    best = outcome.best
    state = "trained" if outcome.trained else "unchanged"
    auc = f"best validation patch AUC {best.validation_auc:.3f} after {best.examples} examples"
    print_stage_line(stage, f"{state}; {auc}")
    temperature = outcome.card.temperature
    if temperature is not None:
        print_stage_line("", f"temperature {temperature.value:.3g}, {temperature.origin}")
    print_stage_line("", f"model in {folder}")
