"""Facts of a model folder, by topic, as short text."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..storage import ModelError
from .card import ModelCard

__all__ = ["describe_model"]

NOT_TOLD = "not in the card"


def describe_model(folder: Path) -> list[tuple[str, str]]:
    """Describe what a model is, what it takes and how it was trained: (topic, facts) pairs. Nothing
    of the folder but its card is read, and its weights to hash them.

    Raises:
        ModelError: no model folder, or a damaged card.
    """
    card = ModelCard.load(folder)
    training = _region_training if card.task == "regions" else _training
    return [*_network(card), *training(card.training), *_decisions(card), *_weights(folder, card)]


def _network(card: ModelCard) -> Iterator[tuple[str, str]]:
    spec = card.input_spec
    scales = " and ".join(f"{mpp:g}" for mpp in spec.mpps)
    yield "architecture", card.architecture
    if card.task == "regions":
        yield "task", "regions: a probability for every px, averaged over the cells of a heatmap"
    options = {name: value for name, value in card.options.items() if value not in ("", {})}
    yield "options", ", ".join(f"{name} {value}" for name, value in options.items()) or "none"
    yield "parameters", f"{card.parameters['all']:,}, {card.parameters['trained']:,} of them learn"
    yield (
        "input",
        f"RGB, {spec.patch_px} px at {scales} µm/px; "
        + (
            f"cells of {spec.centre_px} px"
            if card.task == "regions"
            else f"the centre {spec.centre_px} px count"
        ),
    )
    yield "stain", f"normalised by {spec.stain}" if spec.stain else "as scanned"
    yield "pixels", card.pixels or NOT_TOLD
    yield "classes", ", ".join(spec.classes)


def _training(training: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Describe the training; a card of another program may hold anything here."""
    settings, best, tiles = (
        value if isinstance(value := training.get(name), dict) else {}
        for name in ("settings", "best", "patches_from")
    )
    if settings:
        recipe = settings.get("recipe", "paper")
        seed, examples = settings.get("seed"), settings.get("examples")
        yield "recipe", f"{recipe}, {examples} examples, seed {seed}"
        yield "begun with", str(settings.get("initial_weights") or "random weights")
    if "optimiser" in training:
        yield "optimiser", str(training["optimiser"])
    if best:
        yield (
            "best",
            f"validation patch AUC {_number(best, 'validation_auc')}, loss "
            f"{_number(best, 'validation_loss')} after {best.get('examples')} examples",
        )
    if tiles:
        wanted = ("mpp", "patch_px", "stride_px", "tumor_per_slide", "normal_per_slide", "seed")
        yield "patches", ", ".join(f"{name} {tiles[name]}" for name in wanted if name in tiles)
    if "keras" in training:
        yield "made with", f"Keras {training['keras']} on {training.get('backend', NOT_TOLD)}"


def _region_training(training: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Describe the training of a model of regions, as `_training`."""
    settings, best, slides = (
        value if isinstance(value := training.get(name), dict) else {}
        for name in ("settings", "best", "slides")
    )
    if settings:
        names = ("epochs", "steps", "batch_size", "seed")
        yield "length", ", ".join(f"{name} {settings[name]}" for name in names if name in settings)
        yield "begun with", str(settings.get("encoder") or "random weights")
    if slides:
        counts = [f"{len(ids)} {split}" for split, ids in slides.items()]
        yield "slides", ", ".join(counts)
    if best:
        yield (
            "best",
            f"epoch {best.get('epoch')}, loss {_number(best, 'train_loss')}, validation Dice "
            f"{_number(best, 'validation_dice')}",
        )
    if "keras" in training:
        yield "made with", f"Keras {training['keras']} on {training.get('backend', NOT_TOLD)}"


def _number(values: dict[str, Any], name: str) -> str:
    value = values.get(name)
    return f"{value:.3f}" if isinstance(value, int | float) else NOT_TOLD


def _decisions(card: ModelCard) -> Iterator[tuple[str, str]]:
    threshold, temperature = card.operating_threshold, card.temperature
    yield "threshold", f"{threshold.value:g}, {threshold.origin}" if threshold else "not chosen yet"
    yield (
        "temperature",
        f"{temperature.value:.4g}, {temperature.origin}" if temperature else "none",
    )


def _weights(folder: Path, card: ModelCard) -> Iterator[tuple[str, str]]:
    try:
        card.check_weights(folder)
    except ModelError as error:
        yield "weights", f"DAMAGED: {error}"
        return
    yield "weights", f"sha256 {card.weights_sha256}, verified"
