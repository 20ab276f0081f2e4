"""Encoder of a U-Net as the settings name it: a network by name, or that of a model folder."""

from dataclasses import dataclass
from pathlib import Path

from ...models import (
    ARCHITECTURES,
    CARD,
    ENSEMBLE,
    ModelCard,
    NetworkOptions,
    RegionOptions,
    hash_initial_weights,
)
from ...storage import ModelError
from .settings import RegionSettings

__all__ = ["RegionNetwork", "find_network"]


@dataclass(frozen=True, kw_only=True)
class RegionNetwork:
    """Options of a network, and what its encoder begins with."""

    options: RegionOptions
    encoder_weights: str = ""
    """Source of weights; empty: random."""
    encoder_hash: str = ""
    """Hash of these weights."""


def find_network(settings: RegionSettings) -> RegionNetwork:
    """Find the network that the settings ask for.

    Raises:
        ModelError: no such encoder, an ensemble, or one of several scales.
    """
    name = settings.encoder
    if not name:
        return RegionNetwork(options=settings.network_options("", None))
    source, options = settings.encoder_weights, NetworkOptions()
    if Path(name).is_dir():
        card = _load_card(Path(name), settings)
        options = NetworkOptions.model_validate({**card.options, "dropout": 0})
        source, name = name, card.architecture
    elif name not in ARCHITECTURES:
        raise ModelError(
            f"encoder {name!r}: no model folder, and no known network; known are "
            f"{', '.join(sorted(ARCHITECTURES))}"
        )
    return RegionNetwork(
        options=settings.network_options(name, options),
        encoder_weights=source,
        encoder_hash=hash_initial_weights(source, name) if source else "",
    )


def _load_card(folder: Path, settings: RegionSettings) -> ModelCard:
    if settings.encoder_weights:
        raise ModelError(f"{folder}: has its own weights; leave out --regions.encoder-weights")
    if (folder / ENSEMBLE).is_file() and not (folder / CARD).is_file():
        raise ModelError(f"{folder}: is an ensemble; give one of its members, {folder}/member_1")
    card = ModelCard.load(folder)
    if card.features is not None or card.task != "patches" or len(card.input_spec.mpps) > 1:
        raise ModelError(
            f"{folder}: an encoder is a model of patches at one scale; give another one"
        )
    return card
