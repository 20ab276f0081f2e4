"""A function of the user's own as an encoder: `--encoder module:function`, given by the user.

Nothing is imported because a card or an output says so.
"""

import re

import numpy as np

from ...storage import ModelError
from ..networks.own_network import find_module, import_function
from ..runtimes.registry import RuntimeName
from .encoder import Encoder
from .own_card import load_card
from .source import EncoderDescription, EncoderSource, hash_files

__all__ = ["describe_function", "is_function", "start_function"]

OPTION = "--encoder"
NAME = re.compile(r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")


def is_function(source: EncoderSource) -> bool:
    """Tell whether an encoder is module:function."""
    return NAME.match(source.encoder) is not None


def describe_function(source: EncoderSource) -> EncoderDescription:
    """Read the card or the options, and hash the module's file, with that of the weights if one is
    given.

    Raises:
        ModelError: no such module, or no size of the windows.
    """
    card = load_card(source)
    files = [find_module(source.encoder, OPTION), *([source.weights] if source.weights else [])]
    try:
        return EncoderDescription(card=card, hash=hash_files(files))
    except OSError as error:
        raise ModelError(f"{source.encoder}: cannot be read ({error})") from error


def start_function(
    source: EncoderSource, found: EncoderDescription, runtime: RuntimeName, _threads: int | None
) -> Encoder:
    """Import the function, see `load_encoder`. It is called with (N, P, P, 3) uint8 RGB and returns
    (N, D) numbers; the fields of the card on pixels and pooling are its own affair.

    Raises:
        ModelError: the module or the function is missing or fails, or a runtime was given.
    """
    if runtime != "auto":
        raise ModelError(f"{source.encoder}: is a function, which no runtime runs; leave it out")
    function = import_function(source.encoder, OPTION)

    def encode(patches: np.ndarray) -> np.ndarray:
        try:
            return np.asarray(function(patches), np.float32)
        except Exception as error:  # whatever the user's code raises
            raise ModelError(
                f"{source.encoder}: the function failed with {type(error).__name__}: {error}; it "
                f"is called with uint8 windows of shape {patches.shape}"
            ) from error

    return Encoder(card=found.card, encode=encode, hash=found.hash, runtime="function")
