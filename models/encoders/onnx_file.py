"""An ONNX file as an encoder: read and run by OpenVINO, without PyTorch and without `onnx`."""

import re
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ...storage import ModelError
from ..runtimes.registry import RuntimeName
from .card import EncoderCard
from .encoder import Encoder
from .own_card import load_card
from .source import EncoderDescription, EncoderSource, hash_files

if TYPE_CHECKING:
    import openvino

__all__ = ["describe_onnx", "is_onnx", "start_onnx"]

Layout = Literal["channels_first", "channels_last"]
AXES = {"channels_first": "NCHW", "channels_last": "NHWC"}
EXTERNAL = re.compile(rb"\x0a\x08location\x12([\x01-\x7f])", re.DOTALL)
"""Field of an ONNX file that names a further file with its numbers; the group is the length."""


def is_onnx(source: EncoderSource) -> bool:
    """Tell whether an encoder is an .onnx file."""
    return Path(source.encoder).suffix.lower() == ".onnx"


def describe_onnx(source: EncoderSource) -> EncoderDescription:
    """Read the card, and hash the file with the files of numbers that it names.

    Raises:
        ModelError: a file or a card is missing or damaged, or a number lies in a file outside the
            folder of the ONNX file.
    """
    path = Path(source.encoder)
    if source.weights is not None:
        raise ModelError(f"{path}: holds its weights; leave out --encoder-weights")
    try:
        content = path.read_bytes()
        hashed = hash_files([path, *_external_files(path, content)])
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error}); give an ONNX file") from error
    return EncoderDescription(card=load_card(source, path), hash=hashed)


def _external_files(path: Path, content: bytes) -> list[Path]:
    """Files beside an ONNX file that hold numbers of it."""
    names = {
        content[found.end() : found.end() + found[1][0]].decode(errors="replace")
        for found in EXTERNAL.finditer(content)
    }
    for name in sorted(names):
        parts = {*PurePosixPath(name).parts, *PureWindowsPath(name).parts}
        if ".." in parts or name.startswith(("/", "\\")) or PureWindowsPath(name).drive:
            raise ModelError(
                f"{path}: takes numbers from {name!r}, outside its folder, and is not read"
            )
    files = [path.parent / name for name in sorted(names)]
    for file in files:
        if not file.resolve().is_relative_to(path.parent.resolve()):
            raise ModelError(f"{path}: takes numbers from {file}, a link out of its folder")
    return files


def start_onnx(
    source: EncoderSource, found: EncoderDescription, runtime: RuntimeName, threads: int | None
) -> Encoder:
    """Compile the file in OpenVINO, see `load_encoder`.

    Pixels are scaled inside the compiled network, as the card says.

    Raises:
        ModelError: a file that OpenVINO cannot read, an input or an output that does not fit the
            card, or another runtime than OpenVINO.
    """
    import openvino

    from ..runtimes.streams import StreamedNetwork, count_cores

    path, card = Path(source.encoder), found.card
    if runtime not in ("auto", "openvino"):
        raise ModelError(f"{path}: an ONNX file runs in OpenVINO, not in {runtime}")
    core = openvino.Core()
    try:
        model = core.read_model(path)
    except RuntimeError as error:
        raise ModelError(f"{path}: OpenVINO cannot read it: {_first_line(error)}") from error
    if len(card.input_spec.mpps) > 1:
        raise ModelError(f"{path}: takes one scale; leave out further_mpp in its card")
    batch_size = _fit_input(model, path, card)
    layout = _find_layout(model.input().partial_shape, path, card)
    output = _find_output(model, path, card)
    config: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32"}
    if threads is not None:
        config["INFERENCE_NUM_THREADS"] = threads
    taking_pixels = _with_pixels(model, path, card)
    try:
        if batch_size is None:
            run = StreamedNetwork(taking_pixels, config, threads or count_cores(), output=output)
        else:
            compiled = core.compile_model(taking_pixels, "CPU", config)

            def run(patches: np.ndarray) -> np.ndarray:
                return compiled(np.ascontiguousarray(patches))[output]
    except RuntimeError as error:
        raise ModelError(f"{path}: OpenVINO cannot run it: {_first_line(error)}") from error

    def encode(patches: np.ndarray) -> np.ndarray:
        return pool(run(patches), path, card, layout=layout)

    return Encoder(
        card=card, encode=encode, hash=found.hash, runtime="openvino", batch_size=batch_size
    )


def _fit_input(model: "openvino.Model", path: Path, card: EncoderCard) -> int | None:
    """Give the input the card's shape; return the batch size of an input that fixes it."""
    if len(model.inputs) != 1:
        names = ", ".join(one.any_name for one in model.inputs)
        raise ModelError(f"{path}: has the inputs {names}; an encoder takes windows only")
    shape = model.input().partial_shape
    if shape.rank.is_dynamic or len(shape) != 4:
        raise ModelError(
            f"{path}: its input is {shape}, but (N, 3, rows, columns) or (N, rows, columns, 3) is "
            "needed"
        )
    axes = AXES[_find_layout(shape, path, card)]
    wanted = {"C": 3, "H": card.patch_px, "W": card.patch_px}
    for axis, size in wanted.items():
        dimension = shape[axes.index(axis)]
        if dimension.is_static and dimension.get_length() != size:
            raise ModelError(
                f"{path}: its input is {shape} ({axes}), but the card says windows of "
                f"{card.patch_px} px in RGB; set patch_px and layout in the card to those of the "
                "file"
            )
    batch = shape[axes.index("N")]
    batch_size = None if batch.is_dynamic else batch.get_length()
    model.reshape([batch_size or -1, *(wanted[axis] for axis in axes[1:])])
    return batch_size


def _find_layout(shape: Any, path: Path, card: EncoderCard) -> Layout:
    """Layout of the card, else the one whose axis of colours has 3."""
    if card.layout is not None:
        return card.layout
    first, last = (shape[at].is_static and shape[at].get_length() == 3 for at in (1, 3))
    if first == last:
        raise ModelError(
            f"{path}: its input {shape} does not tell which axis holds the colours; set layout in "
            "its card to channels_first or channels_last"
        )
    return "channels_first" if first else "channels_last"


def _find_output(model: "openvino.Model", path: Path, card: EncoderCard) -> int:
    names = [sorted(one.names) for one in model.outputs]
    if card.output:
        for number, known in enumerate(names):
            if card.output in known:
                return number
    elif len(names) == 1:
        return 0
    listed = ", ".join(one[0] if one else "(no name)" for one in names)
    said = f"no output {card.output!r}" if card.output else f"{len(names)} outputs"
    raise ModelError(f"{path}: has {said}; set output in its card to one of {listed}")


def _with_pixels(model: "openvino.Model", path: Path, card: EncoderCard) -> "openvino.Model":
    """Return a model of (N, P, P, 3) uint8 RGB that scales its pixels by the card."""
    from openvino import Layout, Type
    from openvino.preprocess import PrePostProcessor

    taken = model.input().element_type
    axes = AXES[_find_layout(model.input().partial_shape, path, card)]
    steps = PrePostProcessor(model)
    steps.input().tensor().set_element_type(Type.u8).set_layout(Layout("NHWC"))
    if card.mean is not None and card.std is not None:
        if taken not in (Type.f32, Type.f16):
            raise ModelError(
                f"{path}: takes pixels of {taken.get_type_name()}, which cannot be less a mean; "
                "leave out mean and std in its card"
            )
        scaled = steps.input().preprocess().convert_element_type(Type.f32)
        scaled.mean([255 * one for one in card.mean]).scale([255 * one for one in card.std])
    steps.input().model().set_layout(Layout(axes))
    return steps.build()


def pool(values: np.ndarray, path: Path, card: EncoderCard, *, layout: str) -> np.ndarray:
    """Turn an output into (N, D) features, as the card's pooling says; the axes of a map are those
    of the input's layout."""
    how = card.pooling
    if values.ndim == 2 and how == "none":
        return values
    if values.ndim == 3 and how != "none" and values.shape[1] > card.prefix_tokens:
        first, mean = values[:, 0], values[:, card.prefix_tokens :].mean(axis=1)
        return {"cls": first, "mean": mean, "cls+mean": np.concatenate([first, mean], axis=1)}[how]
    if values.ndim == 4 and how == "mean":
        return values.mean(axis=(1, 2) if layout == "channels_last" else (2, 3))
    kinds = {2: "none", 3: "cls, mean or cls+mean", 4: "mean"}
    fitting = kinds.get(values.ndim, "none, and output to one of (N, D)")
    raise ModelError(
        f"{path}: gives {values.shape}, which does not fit pooling {how} (prefix_tokens "
        f"{card.prefix_tokens}); set pooling in its card to {fitting}"
    )


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = [line for line in lines if not line.startswith(("Exception from", "Check '"))]
    return (said or lines or [type(error).__name__])[0][:300]
