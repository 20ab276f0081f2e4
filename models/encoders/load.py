"""Registry of encoders: `gigaslide features --encoder` takes every kind."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ...storage import ModelError
from ..runtimes.allocator import keep_large_buffers
from ..runtimes.loading import LOADING
from ..runtimes.registry import RuntimeName
from .encoder import Encoder
from .model_folder import describe_folder, is_folder, start_folder
from .named_network import describe_named, is_named, start_named
from .onnx_file import describe_onnx, is_onnx, start_onnx
from .own_function import describe_function, is_function, start_function
from .source import EncoderDescription, EncoderSource

__all__ = ["EncoderKind", "describe_encoder", "load_encoder"]


@dataclass(frozen=True, kw_only=True)
class EncoderKind:
    """One kind of encoder."""

    words: str
    """Words of the command line that named it; for messages."""
    is_given: Callable[[EncoderSource], bool]
    describe: Callable[[EncoderSource], EncoderDescription]
    """Reads card and hash, quickly and without Keras."""
    start: Callable[[EncoderSource, EncoderDescription, RuntimeName, int | None], Encoder]


KINDS: tuple[EncoderKind, ...] = (
    EncoderKind(
        words="a model folder",
        is_given=is_folder,
        describe=describe_folder,
        start=start_folder,
    ),
    EncoderKind(
        words="an .onnx file",
        is_given=is_onnx,
        describe=describe_onnx,
        start=start_onnx,
    ),
    EncoderKind(
        words="the name of a network, such as DenseNet121, with --encoder-weights",
        is_given=is_named,
        describe=describe_named,
        start=start_named,
    ),
    EncoderKind(
        words="module:function of your own",
        is_given=is_function,
        describe=describe_function,
        start=start_function,
    ),
)
"""A new kind of encoder is added here."""


def describe_encoder(source: EncoderSource) -> EncoderDescription:
    """Read the card and the hash of an encoder; nothing is loaded or run.

    Raises:
        ModelError: no such encoder, or a card that is missing, damaged or contradicted.
    """
    return _kind(source).describe(source)


def load_encoder(
    source: EncoderSource,
    *,
    expected: EncoderDescription | None = None,
    runtime: RuntimeName = "auto",
    threads: int | None = None,
) -> Encoder:
    """Load an encoder. A process keeps the last one, so that asking again costs nothing.

    expected is what `describe_encoder` found earlier: then files are not read again for one that is
    kept. threads limits what the runtime uses; None = all cores.

    Raises:
        ModelError: no such encoder, files that are missing, damaged, changed or do not fit its
            card, or a runtime that cannot run it.
    """
    expected = expected or describe_encoder(source)
    with LOADING:
        encoder = _load(source, expected.hash, runtime, threads)
    if (encoder.hash, encoder.card) != (expected.hash, expected.card):
        _load.cache_clear()
        raise ModelError(f"{source.encoder}: another encoder since the run began; run again")
    return encoder


@lru_cache(maxsize=1)
def _load(source: EncoderSource, _hash: str, runtime: RuntimeName, threads: int | None) -> Encoder:
    keep_large_buffers()
    kind = _kind(source)
    encoder = kind.start(source, kind.describe(source), runtime, threads)
    if not encoder.length:
        raise ModelError(f"{source.encoder}: gives no features")
    return encoder


def _kind(source: EncoderSource) -> EncoderKind:
    for kind in KINDS:
        if kind.is_given(source):
            return kind
    given = Path(source.encoder)
    words = ", ".join(kind.words for kind in KINDS)
    reason = "no such file or folder" if not given.exists() else "not an encoder"
    raise ModelError(f"--encoder {source.encoder}: {reason}; give {words}")
