"""Folders of checkpoints on disk: where they lie, how they are named, what made them."""

import logging
import re
from pathlib import Path

from ...storage import Recipe, StoreError, remove_litter, remove_path, restore_folder

__all__ = [
    "RECIPE",
    "checkpoint_folder",
    "find_checkpoints",
    "move_aside",
    "read_recipe",
    "remove_killed_saves",
]

logger = logging.getLogger(__name__)

RECIPE = "recipe.json"
STEP = re.compile(r"^step_(\d+)$")
REPLACED = re.compile(r"^\.(step_\d+)\.[0-9a-f]{8}\.old$")


def checkpoint_folder(model: Path) -> Path:
    """Return the folder of a model's checkpoints."""
    return model.with_name(f"{model.name}.checkpoint")


def read_recipe(folder: Path) -> Recipe | None:
    """Return the recipe of a checkpoint or a model; None where there is none, or a damaged one."""
    try:
        return Recipe.load(folder / RECIPE)
    except StoreError as error:
        logger.warning("%s", error)
        return None


def find_checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints in such a folder, newest first."""
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if STEP.match(path.name)), reverse=True)


def remove_killed_saves(folder: Path) -> None:
    """Remove what a killed process left of a checkpoint: one that it had not written to its end,
    and one that it was replacing, which comes back where the new one is missing."""
    for left in list(folder.glob(".step_*")):
        replaced = REPLACED.match(left.name)
        if replaced:
            restore_folder(folder / replaced[1])
            remove_path(left)
    remove_litter(folder)


def move_aside(folder: Path) -> Path:
    """Rename a folder to the first free name NAME.old-1, NAME.old-2, …; return the new path."""
    number = 1
    while (moved := folder.with_name(f"{folder.name}.old-{number}")).exists():
        number += 1
    return folder.rename(moved)
