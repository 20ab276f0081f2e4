"""Folder of one slide's prediction: what lies there, by which recipes.

heatmap.zarr     probabilities; its recipe is among the attributes of its zarr.json
detections.csv   and the other exports, made from the heatmap
recipe.json      recipe of the exports

Up to version 0.1, recipe.json was the recipe of both, and heatmap.zarr had none.
"""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..cohort import CohortSlide
from ..models import ModelCard
from ..storage import (
    GROUP,
    Output,
    Recipe,
    ScoreError,
    SettingsError,
    SlideError,
    StoreError,
    file_identity,
    format_location,
    group_json,
    location_exists,
    read_file,
    write_file,
)
from ..wsi import CellStatus, Detections, Heatmap, Region
from .settings import PredictSettings

__all__ = [
    "DETECTIONS",
    "HEATMAP",
    "HEATMAP_STAGE",
    "RECIPE",
    "THRESHOLD",
    "describe_heatmap",
    "exports_recipe",
    "heatmap_recipe",
    "refuse_foreign_folder",
    "refuse_missing_slide",
    "repair_folder",
    "slide_file",
]

logger = logging.getLogger(__name__)

THRESHOLD = "operating_threshold.json"
"""In the folder of all predictions: copy of the threshold of the model card, for evaluation."""
HEATMAP, DETECTIONS, RECIPE = "heatmap.zarr", "detections.csv", "recipe.json"
PREDICTION_NAMES = {HEATMAP, RECIPE, f".{HEATMAP}.partial", f".{HEATMAP}.previous"}
STAGES = HEATMAP_STAGE, EXPORTS_STAGE = "predict", "detections"
EXPORT_SETTINGS = (
    "detect",
    "radius_um",
    "threshold",
)  # of the exports only: the heatmap stays if they change
NOT_IN_RECIPES = ("splits", "batch_size", "runtime", "xla", "architecture", "allow_tumor_on_glass")
FACTS = (
    "mode",
    "first_pass_precision",
    "runtime",
    "runtime_difference",
    "localise",
    "attention",
)
"""Attributes of a heatmap that tell how it was computed: `PredictSettings.mode`, the precision of a
dense first pass, runtimes, and their largest difference from Keras that was measured on load; of
features, `Localise` and why attention is not to be trusted."""
UNUSED_SETTINGS = {
    "exact": ("mode", "first_pass", "exact_above", "exact_within", "first_pass_precision"),
    "fast": (),
    "fastest": ("exact_above", "exact_within", "orientations"),
}
"""By mode; heatmaps of the time before there were modes are exact."""


def heatmap_recipe(
    slide: CohortSlide,
    model: dict[str, Any],
    settings: PredictSettings,
    *,
    within: Region | None = None,
) -> Recipe:
    """Return the recipe of a slide's heatmap, from its file as it is now.

    model: see `Ensemble.identity`. within: the part that is predicted.
    """
    inputs = {"slide": file_identity(slide.path), "mpp": slide.mpp, "model": model}
    if within is not None:
        inputs["within"] = [within.x, within.y, within.width, within.height]
    return _heatmap_recipe(settings.model_dump(mode="json"), inputs)


def exports_recipe(settings: Mapping[str, Any], heatmap_sha256: str) -> Recipe:
    """Return the recipe of a slide's exports. It names the heatmap by its content."""
    return Recipe(
        stage=EXPORTS_STAGE,
        settings={name: settings[name] for name in EXPORT_SETTINGS},
        inputs={"heatmap": heatmap_sha256},
    )


def _heatmap_recipe(settings: Mapping[str, Any], inputs: dict[str, Any]) -> Recipe:
    unused = UNUSED_SETTINGS[settings.get("mode", "exact")]
    left_out = {*EXPORT_SETTINGS, *NOT_IN_RECIPES, *unused}
    if settings.get("precision") == "float32":  # as before there was a choice
        left_out.add("precision")
    # Of a dense first pass it is always there: heatmaps made before tiles were shrunk lack it.
    if settings.get("first_pass") not in ("dense", "cam"):
        left_out |= {"first_pass_precision", "exact_within"}
    kept = {name: value for name, value in settings.items() if name not in left_out}
    return Recipe(stage=HEATMAP_STAGE, settings=kept, inputs=inputs)


def slide_file(folder: Path) -> dict[str, Any]:
    """Return name and bytes of the slide's file, from the recipe of its heatmap, see
    `file_identity`; empty if unknown."""
    try:
        return dict(_attributes(folder / HEATMAP)["recipe"]["inputs"]["slide"])
    except (KeyError, TypeError, ValueError):
        return {}


def count_cells(heatmap: Heatmap) -> dict[str, int]:
    """Count the cells that have a probability, could not be read, and got NaN from the network; for
    a fast mode, also those that only its first pass scored."""
    quickly = heatmap.count(CellStatus.FIRST_PASS)
    return {
        "cells": int(heatmap.scored.sum()),
        "unreadable": heatmap.count(CellStatus.UNREADABLE),
        "nan": heatmap.count(CellStatus.FAILED),
        **({"first_pass": quickly} if quickly else {}),
    }


def describe_heatmap(heatmap: Heatmap, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of a predicted heatmap; facts: values of `FACTS`."""
    return {**heatmap.attributes, **facts, "counts": count_cells(heatmap)}


def refuse_missing_slide(slide: CohortSlide) -> None:
    """Raise SlideError if the slide's file does not exist: a disk that is not mounted must cost no
    prediction."""
    if not location_exists(slide.path):
        raise SlideError(
            f"{format_location(slide.path)}: no such slide; check the path (an earlier prediction "
            "stays)"
        )


def refuse_foreign_folder(folder: Path) -> None:
    """Raise SettingsError if the folder holds something other than a prediction."""
    if not folder.exists():
        return
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else {folder.name}
    is_ours = bool(names & PREDICTION_NAMES) and _stage(folder) in ("", *STAGES)
    if names and not is_ours:
        raise SettingsError(
            f"{folder}: holds something else than a prediction and is left as it is; give another "
            "folder for predictions"
        )


def repair_folder(folder: Path) -> None:
    """Prepare a slide's folder for a run: give a heatmap of version 0.1 its own recipe; remove a
    damaged heatmap, and the recipe of damaged exports, which are then made again."""
    attributes, stage = _attributes(folder / HEATMAP), _stage(folder)
    is_ours = stage in STAGES or (not stage and "recipe" in attributes)
    if not (is_ours and (folder / HEATMAP).is_dir()):
        return
    try:
        heatmap = Heatmap.load(folder / HEATMAP)
    except StoreError as error:
        logger.warning("%s; it is removed and made again", error)
        recipe = Recipe(stage=HEATMAP_STAGE, settings={}, inputs={})
        Output(location=folder / HEATMAP, recipe=recipe, recipe_file=GROUP).remove()
        return
    if "recipe" not in attributes:
        recipe = _heatmap_recipe_of_0_1(folder).to_json()
        facts = {name: attributes[name] for name in FACTS if name in attributes}
        attributes = {"recipe": recipe, **describe_heatmap(heatmap, facts)}
        write_file(folder / HEATMAP, GROUP, group_json(attributes))
    if stage != EXPORTS_STAGE or not _has_detections(folder):
        (folder / RECIPE).unlink(missing_ok=True)


def _has_detections(folder: Path) -> bool:
    try:
        Detections.load(folder / DETECTIONS)
    except ScoreError:
        return False
    return True


def _stage(folder: Path) -> str:
    """Stage of the recipe.json in a folder; "" if there is none, or a damaged one."""
    try:
        made = Recipe.load(folder / RECIPE)
    except StoreError:
        return ""
    return made.stage if made else ""


def _attributes(group: Path) -> dict[str, Any]:
    """Attributes of a Zarr group; empty if there is none, or a damaged one."""
    try:
        return json.loads(read_file(group, GROUP) or b"{}")["attributes"]
    except (ValueError, KeyError, TypeError):
        return {}


def _heatmap_recipe_of_0_1(folder: Path) -> Recipe:
    """Recipe of a heatmap of version 0.1, from the recipe of the whole prediction."""
    made = json.loads(read_file(folder, RECIPE) or b"{}")
    inputs = made["inputs"]
    try:
        card = ModelCard.model_validate({**inputs["model"], "training": {}})
    except (ValueError, KeyError, TypeError):  # not of 0.1: the slide is predicted again
        return _heatmap_recipe(made["settings"], inputs)
    network = {"architecture": card.architecture, "weights_sha256": card.weights_sha256}
    model = {**card.input_spec.model_dump(mode="json"), "networks": [network]}
    return _heatmap_recipe(made["settings"], {**inputs, "model": model})
