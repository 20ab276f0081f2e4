"""One model folder or several that predict together. Reading them imports no Keras."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..storage import ModelError
from ..wsi import InputSpec
from .card import ModelCard, OperatingThreshold

__all__ = ["Ensemble"]

CHANGE_SCORES = ("shrink",)  # options that change probabilities and not the weights


@dataclass(frozen=True)
class Ensemble:
    """Model folders whose probabilities are averaged; a single model is an ensemble of one."""

    folders: tuple[Path, ...]

    @classmethod
    def load(cls, folders: Path | Sequence[Path]) -> "Ensemble":
        """Read the cards of one folder or several; the weights are not read.

        Raises:
            ModelError: no folder, a damaged one, one model twice, or models that take different
                windows.
        """
        given = (folders,) if isinstance(folders, Path) else tuple(folders)
        if not given:
            raise ModelError("no model folder was given; give one or several")
        ensemble = cls(given)
        first = ensemble.cards[0]
        for folder, card in zip(given[1:], ensemble.cards[1:], strict=True):
            if card.input_spec != first.input_spec:
                raise ModelError(
                    f"{folder}: takes {card.input_spec!r}, but {given[0]} takes "
                    f"{first.input_spec!r}; models predict together only if these are equal"
                )
        if len({card.weights_sha256 for card in ensemble.cards}) < len(given):
            raise ModelError(
                f"the same weights are given twice, in {', '.join(map(str, given))}; give each "
                "model once"
            )
        return ensemble

    @cached_property
    def cards(self) -> tuple[ModelCard, ...]:
        return tuple(ModelCard.load(folder) for folder in self.folders)

    @property
    def input_spec(self) -> InputSpec:
        return self.cards[0].input_spec

    @property
    def hash(self) -> str:
        """Hash of weights and temperatures; that of several models does not depend on their
        order."""
        hashes = sorted(card.hash for card in self.cards)
        return (
            hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()
        )

    @property
    def operating_threshold(self) -> OperatingThreshold | None:
        """Threshold of the card; None for several models, whose mean has other scores."""
        return self.cards[0].operating_threshold if len(self.cards) == 1 else None

    @property
    def identity(self) -> dict[str, Any]:
        """Plain JSON on which probabilities depend, for recipes."""
        networks = sorted(
            (
                {
                    "architecture": card.architecture,
                    "weights_sha256": card.weights_sha256,
                    **{name: card.options[name] for name in CHANGE_SCORES if name in card.options},
                    **({"temperature": card.temperature.value} if card.temperature else {}),
                }
                for card in self.cards
            ),
            key=lambda network: network["weights_sha256"],
        )
        return {**self.input_spec.model_dump(mode="json"), "networks": networks}

    def check_weights(self) -> None:
        """Compare the weights with the cards.

        Raises:
            ModelError: weights are missing or are not those of their card.
        """
        for folder, card in zip(self.folders, self.cards, strict=True):
            card.check_weights(folder)
