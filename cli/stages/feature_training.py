"""Training and prediction on features as the commands share them: checks, bars, results."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...batch import BatchSettings, describe_workers
from ...cohort import Cohort
from ...storage import SettingsError, format_count
from ..options.changed import changed_options
from ..terminal.progress import (
    print_line,
    print_stage_line,
    progress_bar,
    quiet_tensorflow,
    slide_bar,
)
from ..terminal.tables import print_summary, print_time

if TYPE_CHECKING:
    from ...inference import Localise, PredictSettings
    from ...patching import TileSettings
    from ...training import (
        BagHistoryRow,
        BagLabels,
        BagSettings,
        FeatureTraining,
        Member,
        TrainSettings,
    )

__all__ = ["check_feature_options", "predict_from_features_stage", "train_on_features"]

MEMBERS = 3
"""Networks that learn from features where --members is not given: one takes seconds, and another
seed may change the figures of few slides a lot."""
SHARED = frozenset({"members", "seed", "initial_weights"})


def check_feature_options(
    settings: TrainSettings,
    tiles: TileSettings,
    batch: BatchSettings,
    *,
    labels: BagLabels | None,
    cohort: Path | None,
) -> Path:
    """Return the cohort, unless an option is missing, or one is given that has no meaning for
    features.

    Raises:
        SettingsError: one is.
    """
    if labels is None or cohort is None:
        missing = "--labels slides or windows" if labels is None else "--cohort COHORT.csv"
        raise SettingsError(f"training on features also needs {missing}")
    given = [*changed_options("--", settings, SHARED), *changed_options("--tile.", tiles)]
    given += changed_options("--", batch)
    if given:
        raise SettingsError(
            f"{', '.join(given)}: has no meaning for features, whose settings begin with --bags; "
            "omit, or leave out --labels to train on patches"
        )
    return cohort


def train_on_features(
    features: Path, model: Path, cohort: Cohort, bags: BagSettings, settings: TrainSettings
) -> int:
    """Train the members of a model; return 0."""
    with quiet_tensorflow():
        from ...training import FeatureTraining, plan_members

        initial = Path(settings.initial_weights) if settings.initial_weights else None
        training = FeatureTraining(features, cohort, bags, initial=initial)
    count = settings.members if "members" in settings.model_fields_set else MEMBERS
    members = plan_members(model, settings.model_copy(update={"members": count}))
    print_line(f"train: {training.describe()}")
    if initial is not None:
        print_stage_line("", f"begins with the weights of {initial}")
    for number, member in enumerate(members, 1):
        stage = "train" if len(members) == 1 else f"train {number}/{len(members)}"
        _train_member(training, member, bags.epochs, stage=stage)
    if len(members) > 1:
        print_stage_line("", f"ensemble of {len(members)} members in {model}")
    threshold = training.choose_threshold(model)
    print_stage_line("", f"operating threshold {threshold.value:g}, {threshold.origin}")
    return 0


def _train_member(training: FeatureTraining, member: Member, epochs: int, *, stage: str) -> None:
    with progress_bar(stage, epochs, " epochs") as progress:

        def advance(row: BagHistoryRow) -> None:
            shown = {"loss": row.train_loss, "validation loss": row.validation_loss}
            words = [f"{name} {value:.3f}" for name, value in shown.items() if value is not None]
            progress.set_postfix_str(", ".join(words), refresh=False)
            progress.update(row.epoch - progress.n)

        outcome = training.train(member.folder, seed=member.settings.seed, on_epoch=advance)
        progress.update(epochs - progress.n)
    best = outcome.card.training["best"]
    loss = best["validation_loss"]
    figure = f"validation loss {loss:.3f}" if loss is not None else f"loss {best['train_loss']:.3f}"
    state = "trained" if outcome.trained else "unchanged"
    print_stage_line(stage, f"{state}; {figure} after {best['epoch']} epochs")
    print_stage_line("", f"model in {member.folder}")


def predict_from_features_stage(
    cohort: Cohort,
    model: Path,
    features: Path,
    out: Path,
    settings: PredictSettings,
    batch: BatchSettings,
    *,
    way: Localise,
) -> int:
    from ...inference import predict_from_features, slides_to_predict, with_default_workers
    from ...models import prepare_keras

    with quiet_tensorflow():
        prepare_keras()
    batch = with_default_workers(batch)
    print_line(f"predict: {describe_workers(batch)}, from features; windows show their {way}")
    with slide_bar("predict", len(slides_to_predict(cohort, settings))) as listener:
        summary = predict_from_features(
            cohort, model, features, out, settings, batch, way=way, listener=listener
        )
    print_summary("predict", summary)
    cells = format_count(summary.total("cells"), "cell")
    detections = format_count(summary.total("detections"), "detection")
    print_stage_line("", f"{cells}, {detections} in {out}")
    print_time(summary.pace)
    return summary.exit_status
