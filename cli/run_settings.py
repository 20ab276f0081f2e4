"""The settings of every stage of a run, and the check that a cohort has slides for each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any, TypeVar

from ..batch import BatchSettings
from ..cohort import Cohort
from ..eval import EvaluateSettings
from ..inference import PredictSettings
from ..patching import TileSettings
from ..storage import Settings, SettingsError
from ..training import TrainSettings
from ..wsi import GroupMeaning, TissueSettings

__all__ = ["RunSettings", "SharedSettings", "check_cohort", "worst_status"]

StageSettings = TypeVar("StageSettings", bound=Settings)

BY_SEVERITY = (0, 2, 1)  # 1 is the worst: nothing could be done


def _field_of_tile(name: str, *, description: str | None = None) -> Any:
    """Default, limits and help of a field of TileSettings, which has every shared one."""
    field = copy(TileSettings.model_fields[name])
    field.description = description or field.description
    return field


class SharedSettings(Settings):
    """Settings that hold for every stage that has them."""

    mpp: float = _field_of_tile("mpp")
    min_tissue: float = _field_of_tile("min_tissue")
    tissue: TissueSettings = _field_of_tile("tissue")
    slide_mpp: float | None = _field_of_tile("slide_mpp")
    allow_upsampling: bool = _field_of_tile("allow_upsampling")
    groups: dict[str, GroupMeaning] = _field_of_tile("groups")
    seed: int = _field_of_tile(
        "seed", description="Seed of the patches, the training and the bootstrap."
    )


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """The settings of every stage of a run."""

    tile: TileSettings
    train: TrainSettings
    predict: PredictSettings
    evaluate: EvaluateSettings
    batch: BatchSettings

    @classmethod
    def combine(
        cls,
        shared: SharedSettings,
        *,
        tile: TileSettings,
        train: TrainSettings,
        predict: PredictSettings,
        evaluate: EvaluateSettings,
        batch: BatchSettings,
    ) -> RunSettings:
        """Give the shared settings to every stage that has them; what is set for a stage wins."""
        return cls(
            tile=_apply_shared(shared, tile),
            train=_apply_shared(shared, train),
            predict=_with_validation(_apply_shared(shared, predict)),
            evaluate=_apply_shared(shared, evaluate),
            batch=batch,
        )

    @property
    def predict_batch(self) -> BatchSettings:
        """Settings of where prediction runs: those of tiling, without its number of local workers,
        because each of them would load the network."""
        return self.batch.model_copy(update={"workers": None}) if self.batch.workers else self.batch

    @property
    def stages(self) -> dict[str, Settings]:
        """Settings by the name of their stage."""
        return {
            "tile": self.tile,
            "train": self.train,
            "predict": self.predict,
            "evaluate": self.evaluate,
        }


def _apply_shared(shared: Settings, stage: StageSettings) -> StageSettings:
    common = shared.model_dump(exclude_unset=True, include=set(type(stage).model_fields))
    return type(stage).model_validate(_merge(common, stage.model_dump(exclude_unset=True)))


def _with_validation(predict: PredictSettings) -> PredictSettings:
    """Settings that predict the validation slides too, on which the operating threshold is
    chosen."""
    splits = dict.fromkeys((*predict.splits, "validation"))
    return predict.model_copy(update={"splits": tuple(splits)})


def _merge(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Both mappings, the second one's values where both have one, at any depth."""
    merged = dict(first)
    for name, value in second.items():
        is_nested = isinstance(value, Mapping) and isinstance(merged.get(name), Mapping)
        merged[name] = _merge(merged[name], value) if is_nested else value
    return merged


def worst_status(statuses: Iterable[int]) -> int:
    """Return the exit status of several stages: 1 (nothing could be done) outweighs 2 (some slides
    failed), and 2 outweighs 0."""
    return max(statuses, key=BY_SEVERITY.index)


def check_cohort(cohort: Cohort, settings: RunSettings) -> None:
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
        slide.split for slide in slides_to_tile(cohort, settings.tile) if slide.label == "tumor"
    }
    missing = [split for split in ("train", "validation") if split not in with_tumor]
    if missing:
        raise SettingsError(
            f"the cohort has no tumor slide in {' and none in '.join(missing)} to tile, and "
            "training needs one in train and one in validation; fill in its columns label and "
            "split, or see --tile.splits"
        )
    predicted = {slide.id for slide in slides_to_predict(cohort, settings.predict)}
    if not predicted:
        raise SettingsError(
            f"the cohort has no slide in {' or '.join(settings.predict.splits) or 'any split'} to "
            "predict; fill in its column split, or see --predict.splits"
        )
    evaluated = slides_to_evaluate(cohort, settings.evaluate)
    if not predicted & {slide.id for slide in evaluated if slide.label}:
        raise SettingsError(
            "none of the slides to predict has a label and the split to evaluate, "
            f"{settings.evaluate.split or 'any'}; fill in the columns label and split, or see "
            "--predict.splits and --evaluate.split"
        )
