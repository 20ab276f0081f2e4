"""The settings of every stage of a run, and the check that a cohort has slides for each."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from copy import copy
from typing import Any

from pydantic import model_validator

from ...cohort import Cohort
from ...eval import EvaluateSettings
from ...inference import PredictSettings
from ...models import is_own_network
from ...patching import TileSettings
from ...storage import (
    Settings,
    SettingsError,
    SlideError,
    format_count,
    format_location,
    location_exists,
)
from ...training import TrainSettings
from ...wsi import GroupMeaning, TissueSettings, describe_unlikely_mpp, open_slide

__all__ = [
    "STAGES",
    "RunSettings",
    "check_cohort",
    "check_files",
    "with_mpp_of_slides",
    "worst_status",
]

logger = logging.getLogger(__name__)

STAGES: dict[str, type[Settings]] = {
    "tile": TileSettings,
    "train": TrainSettings,
    "predict": PredictSettings,
    "evaluate": EvaluateSettings,
}
MOST_NAMED = 5  # files in one message
BY_SEVERITY = (0, 2, 1)  # 1 is the worst: nothing could be done


def _field_of_tile(name: str, *, description: str | None = None) -> Any:
    """Field of TileSettings, which has most shared ones, see `_field_of`."""
    return _field_of(TileSettings, name, description=description)


def _field_of(stage: type[Settings], name: str, *, description: str | None = None) -> Any:
    """Default, limits and help of a field. A dump leaves it out, because the stages have its
    value."""
    field = copy(stage.model_fields[name])
    field.description = description or field.description
    field.exclude = True
    return field


class RunSettings(Settings):
    """Settings of every stage of a run, first those that hold for every stage that has them."""

    mpp: float = _field_of_tile("mpp")
    patch_px: int = _field_of_tile("patch_px")
    centre_px: int = _field_of_tile("centre_px")
    min_tissue: float = _field_of_tile("min_tissue")
    tissue: TissueSettings = _field_of_tile("tissue")
    slide_mpp: float | None = _field_of_tile("slide_mpp")
    allow_upsampling: bool = _field_of_tile("allow_upsampling")
    groups: dict[str, GroupMeaning] = _field_of_tile("groups")
    seed: int = _field_of_tile(
        "seed", description="Seed of the patches, the training and the bootstrap."
    )
    members: int = _field_of(TrainSettings, "members")
    tile: TileSettings = TileSettings()
    train: TrainSettings = TrainSettings()
    predict: PredictSettings = PredictSettings()
    evaluate: EvaluateSettings = EvaluateSettings()

    @model_validator(mode="before")
    @classmethod
    def _share(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """Give the shared settings to every stage that has them; what is set for a stage wins."""
        settings = {
            name: value.model_dump(exclude_unset=True) if isinstance(value, Settings) else value
            for name, value in given.items()
        }
        shared = {name: value for name, value in settings.items() if name not in STAGES}
        for name, stage in STAGES.items():
            common = {field: shared[field] for field in shared if field in stage.model_fields}
            settings[name] = _merge(common, settings.get(name, {}))
        # A network of the user's own, given for training, is trusted in prediction too.
        if is_own_network(name := str(settings["train"].get("architecture", ""))):
            settings["predict"].setdefault("architecture", name)
        # Its training has just warned of a model that calls glass tumour; the report is made all
        # the same.
        settings["predict"].setdefault("allow_tumor_on_glass", True)
        # The validation slides are predicted too: the operating threshold is chosen on them.
        splits = settings["predict"].get("splits", PredictSettings().splits)
        settings["predict"]["splits"] = tuple(dict.fromkeys((*splits, "validation")))
        return settings


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


def with_mpp_of_slides(cohort: Cohort, settings: RunSettings) -> RunSettings:
    """Return the settings with the µm/px of the coarsest slide, if no µm/px is given and the
    default is too fine for it. Slides that cannot be opened, or with an unlikely µm/px, do not
    count: their stage tells of them."""
    from ...inference import slides_to_predict
    from ...patching import slides_to_tile

    tile = settings.tile
    if "mpp" in tile.model_fields_set:
        return settings
    coarsest = tile.mpp
    rows = {row.id: row for row in slides_to_tile(cohort, tile)}
    rows |= {row.id: row for row in slides_to_predict(cohort, settings.predict)}
    for row in rows.values():
        with suppress(SlideError):
            slide = open_slide(row.path, mpp=row.mpp, fallback_mpp=tile.slide_mpp)
            slide.close()
            if not describe_unlikely_mpp(slide.info.mpp):
                coarsest = max(coarsest, slide.info.mpp)
    given = {"mpp": coarsest}
    return settings.model_copy(update={**given, "tile": tile.model_copy(update=given)})


def check_cohort(cohort: Cohort, settings: RunSettings) -> None:
    """Refuse a cohort that would end a run after hours: every stage must have slides.

    Tumour slides give normal patches too, so training can do without normal slides.

    Raises:
        SettingsError: no tumour slide to train or to validate on, or nothing to predict or to
            evaluate.
    """
    from ...eval import slides_to_evaluate
    from ...inference import slides_to_predict
    from ...patching import slides_to_tile

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
    evaluated = slides_to_evaluate(cohort, settings.evaluate)
    if not predicted & {slide.id for slide in evaluated if slide.label}:
        raise SettingsError(
            f"no slide that is predicted has a label and the split "
            f"{settings.evaluate.split or '(any)'}, so there is nothing to evaluate; fill in the "
            "columns label and split, or see --predict.splits and --evaluate.split"
        )


def check_files(cohort: Cohort, settings: RunSettings) -> None:
    """Warn of slides and annotations of any stage that do not exist, before the work begins.

    Raises:
        SettingsError: no slide to predict and evaluate exists.
    """
    from ...eval import slides_to_evaluate
    from ...inference import slides_to_predict
    from ...patching import slides_to_tile

    evaluated = slides_to_evaluate(cohort, settings.evaluate)
    outlined = [*slides_to_tile(cohort, settings.tile), *evaluated]
    predicted = [slide.path for slide in slides_to_predict(cohort, settings.predict)]
    slides = list(dict.fromkeys([*(slide.path for slide in outlined), *predicted]))
    files = [*slides, *dict.fromkeys(slide.annotation for slide in outlined if slide.annotation)]
    with ThreadPoolExecutor(16) as pool:  # a bucket takes a moment for each
        exist = dict(zip(files, pool.map(location_exists, files), strict=True))
    missing = [format_location(file) for file in files if not exist[file]]
    if not missing:
        return
    names = ", ".join(missing[:MOST_NAMED]) + (", …" if len(missing) > MOST_NAMED else "")
    if not any(exist[slide.path] for slide in evaluated):
        raise SettingsError(
            f"no slide to predict and evaluate exists: {names}; check the cohort's paths and "
            "their disk"
        )
    logger.warning(
        "%s of the cohort cannot be found, and the run goes on without: %s; check the paths and "
        "their disk",
        format_count(len(missing), "file"),
        names,
    )
