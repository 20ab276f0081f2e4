"""Networks, and the files they live in."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .allocator import keep_large_buffers
from .card import CARD, WEIGHTS, ModelCard, hash_of

if TYPE_CHECKING:
    from .device import describe_device
    from .folder import Classifier, Engine, load_classifier, write_card
    from .inception import Width, build_classifier, parameter_counts

__all__ = [
    "CARD",
    "WEIGHTS",
    "Classifier",
    "Engine",
    "ModelCard",
    "Width",
    "build_classifier",
    "describe_device",
    "hash_of",
    "keep_large_buffers",
    "load_classifier",
    "parameter_counts",
    "write_card",
]


_IN_KERAS = {
    "Classifier": ".folder",
    "Engine": ".folder",
    "Width": ".inception",
    "build_classifier": ".inception",
    "describe_device": ".device",
    "load_classifier": ".folder",
    "parameter_counts": ".inception",
    "write_card": ".folder",
}


def __getattr__(name: str) -> Any:
    # Keras takes seconds to import: whoever only reads a card does not pay for it.
    if name in _IN_KERAS:
        return getattr(import_module(_IN_KERAS[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
