"""Slides that the weights of a model folder were learnt from, by the recipe beside them."""

from pathlib import Path

from ..storage import Recipe, StoreError

__all__ = ["find_training_slides"]

RECIPE = "recipe.json"


def find_training_slides(weights: Path, *, without_classifier: bool = False) -> tuple[str, ...]:
    """Return the ids of the slides that a model folder, or a file in one, was learnt from; none
    where no recipe tells.

    without_classifier: of the features alone, which a probe has from its initial weights.
    """
    folder = weights if weights.is_dir() else weights.parent
    try:
        made = Recipe.load(folder / RECIPE)
    except StoreError:
        return ()
    if made is None:
        return ()
    is_frozen = made.settings.get("freeze") == "towers" and not made.settings.get("unfreeze_after")
    slides = made.inputs.get("slides")
    if not isinstance(slides, dict) or (without_classifier and is_frozen):
        return ()
    return tuple(sorted(slides))
