"""What a whole run will do: the settings of every stage, and whether the cohort can carry them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from ..cohort import Cohort
from ..storage import Settings, SettingsError

if TYPE_CHECKING:
    from ..batch import BatchSettings
    from ..eval import EvaluateSettings
    from ..inference import PredictSettings
    from ..patching import TileSettings
    from ..training import TrainSettings

__all__ = ["Plan", "check_cohort", "shared", "worst"]

StageSettings = TypeVar("StageSettings", bound=Settings)

OF_TRAIN = ("seed",)
OF_PREDICT = ("slide_mpp", "allow_upsampling", "tissue", "min_tissue")
OF_EVALUATE = ("groups", "seed")
BY_SEVERITY = (0, 2, 1)  # 1 is the worst: nothing could be done


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The settings of every stage of a run."""

    tile: TileSettings
    train: TrainSettings
    predict: PredictSettings
    evaluate: EvaluateSettings
    batch: BatchSettings

    @classmethod
    def of(
        cls,
        *,
        tile: TileSettings,
        train: TrainSettings,
        predict: PredictSettings,
        evaluate: EvaluateSettings,
        batch: BatchSettings,
    ) -> Plan:
        """With what holds for the slides, not for a stage, said once: to tile."""
        return cls(
            tile=tile,
            train=shared(train, tile, OF_TRAIN),
            predict=shared(predict, tile, OF_PREDICT),
            evaluate=shared(evaluate, tile, OF_EVALUATE),
            batch=batch,
        )


def shared(stage: StageSettings, first: Settings, names: Iterable[str]) -> StageSettings:
    """A stage's settings with the fields of these names taken from the first stage, unless given to
    this one."""
    given = {name: getattr(stage, name) for name in stage.model_fields_set}
    return type(stage)(**{**{name: getattr(first, name) for name in names}, **given})


def worst(statuses: Iterable[int]) -> int:
    """The exit status of several stages: 1 (nothing could be done) outweighs 2 (some slides), and 2
    outweighs 0."""
    return max(statuses, key=BY_SEVERITY.index)


def check_cohort(cohort: Cohort, plan: Plan) -> None:
    """Refuse a cohort that would end a run after hours: every stage must have slides.

    Tumour slides give normal patches too, so training can do without normal slides.

    Raises:
        SettingsError: no tumour slide to train or to validate on, or nothing to predict or to
        evaluate.
    """
    from ..eval import slides_to_evaluate
    from ..inference import slides_to_predict
    from ..patching import slides_to_tile

    with_tumor = {
        slide.split for slide in slides_to_tile(cohort, plan.tile) if slide.label == "tumor"
    }
    missing = [split for split in ("train", "validation") if split not in with_tumor]
    if missing:
        raise SettingsError(
            f"the cohort has no tumor slide in {' and none in '.join(missing)} to tile, and "
            "training needs one in train and one in validation; fill in its columns label and "
            "split, or see --splits"
        )
    predicted = {slide.id for slide in slides_to_predict(cohort, plan.predict)}
    if not predicted:
        raise SettingsError(
            f"the cohort has no slide in {' or '.join(plan.predict.splits) or 'any split'} to "
            "predict; fill in its column split, or see --predict.splits"
        )
    if not predicted & {
        slide.id for slide in slides_to_evaluate(cohort, plan.evaluate) if slide.label
    }:
        raise SettingsError(
            "none of the slides to predict has a label and the split to evaluate, "
            f"{plan.evaluate.split or 'any'}; fill in the columns label and split, or see "
            "--predict.splits and --evaluate.split"
        )
