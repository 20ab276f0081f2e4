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
    return [*_network(card), *_training(card.training), *_decisions(card), *_weights(folder, card)]


def _network(card: ModelCard) -> Iterator[tuple[str, str]]:
    spec = card.input_spec
    scales = " and ".join(f"{mpp:g}" for mpp in spec.mpps)
    yield "architecture", card.architecture
    yield "options", ", ".join(f"{name} {value}" for name, value in card.options.items()) or "none"
    yield "parameters", f"{card.parameters['all']:,}, {card.parameters['trained']:,} of them learn"
    yield (
        "input",
        f"RGB, {spec.patch_px} px at {scales} µm/px; the centre {spec.centre_px} px count",
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
