"""Networks, and the files they live in."""

from typing import TYPE_CHECKING, Any

from .card import CARD, WEIGHTS, ModelCard, hash_of

if TYPE_CHECKING:
    from .folder import Classifier, load_classifier, write_card
    from .inception import Width, build_classifier, parameter_counts

__all__ = [
    "CARD",
    "WEIGHTS",
    "Classifier",
    "ModelCard",
    "Width",
    "build_classifier",
    "hash_of",
    "load_classifier",
    "parameter_counts",
    "write_card",
]


def __getattr__(name: str) -> Any:
    # Keras takes seconds to import: whoever only reads a card does not pay for it.
    from . import folder, inception

    for module in (folder, inception):
        if name in module.__all__:
            return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
