"""Export of a model for other programs: ONNX, OpenVINO; each compared with Keras before it is kept.

The exported network has preprocessing and temperature inside; stain normalisation is not inside.
"""

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from ..storage import (
    ModelError,
    SettingsError,
    atomic_folder,
    gigaslide_version,
    refuse_foreign_folder,
)
from .card import ModelCard
from .check.pictures import draw_pictures
from .predictor import Predictor, load_predictor
from .runtimes.forward import Forward
from .runtimes.loading import without_telemetry
from .runtimes.onnx_runtime import find_missing
from .runtimes.registry import LARGEST_DIFFERENCE
from .temperature import LEAST
from .weights import load_network

if TYPE_CHECKING:
    import keras

__all__ = ["EXPORT_FORMATS", "ExportFormat", "export_model"]

ExportFormat = Literal["onnx", "openvino"]
EXPORT_FORMATS: tuple[ExportFormat, ...] = get_args(ExportFormat)

EXPORT = "export.json"
FILES = {"onnx": "model.onnx", "openvino": "model.xml"}
NOISE_WINDOWS = 4


def export_model(
    folder: Path,
    out: Path,
    formats: Sequence[ExportFormat] = EXPORT_FORMATS,
    *,
    architecture: str = "",
) -> dict[str, float]:
    """Export a model folder into a folder that appears whole or not at all; return the largest
    difference of a probability from Keras's by format.

    out holds model.onnx, or model.xml and model.bin, a copy of the card, and export.json, which
    tells input, output and differences. The input is (N, P, P, 3) uint8 RGB, for several scales (N,
    scales, P, P, 3), the finest first; the output is (N, classes) float32 probabilities.
    architecture: see `load_network`.

    Raises:
        ModelError: a damaged model, a package that is not installed, a network that a format
            cannot hold, or exported probabilities that differ from Keras's by more than 1e-5.
        SettingsError: no format, or out holds something else.
    """
    if not formats:
        raise SettingsError("no format to export to; give onnx, openvino or both")
    if "onnx" in formats:
        _check_packages()
    refuse_foreign_folder(out, known_by=EXPORT)
    card = ModelCard.load(folder)
    predictor = load_predictor(folder, runtime="keras", architecture=architecture)
    network = load_network(folder, card, architecture=architecture)
    network = _with_byte_input(network, card)
    batches = _draw_batches(card)
    with atomic_folder(out, known_by=EXPORT) as partial:
        differences = {}
        for name in dict.fromkeys(formats):
            try:
                forward = _write(network, partial / FILES[name], name)
            except Exception as error:  # whatever a converter of foreign graphs raises
                raise ModelError(f"{folder}: cannot be exported to {name}: {error}") from error
            differences[name] = _compare(forward, predictor, batches)
            if not differences[name] <= LARGEST_DIFFERENCE:
                raise ModelError(
                    f"{folder}: {name} gives probabilities that differ from Keras's by "
                    f"{differences[name]:.2g}, more than {LARGEST_DIFFERENCE:g}; nothing is kept"
                )
        card.save(partial)
        described = _describe(card, network, differences)
        (partial / EXPORT).write_text(json.dumps(described, indent=1), encoding="utf-8")
    return differences


def _check_packages() -> None:
    missing = find_missing()
    if missing:
        raise ModelError(
            f"export to onnx needs {' and '.join(missing)}, not installed here; run pip install "
            f"{' '.join(missing)}, or export with --format openvino"
        )


def _with_byte_input(network: "keras.Model", card: ModelCard) -> "keras.Model":
    """Return a network of bytes, without an axis for a lone scale, with the temperature inside."""
    import keras
    from keras import ops

    scales, *window = shape = card.input_spec.shape
    patches: Any = keras.Input(shape if scales > 1 else window, name="patches", dtype="uint8")
    pixels: Any = ops.cast(patches, "float32")
    scores = network(pixels if scales > 1 else ops.expand_dims(pixels, 1), training=False)
    if card.temperature is not None:
        log_odds: Any = ops.log(ops.maximum(scores, LEAST))
        scores = ops.softmax(log_odds / card.temperature.value)
    whole = keras.Model(patches, scores, name="gigaslide")
    whole.predict_on_batch(np.zeros((1, *whole.input_shape[1:]), np.uint8))  # else Keras refuses
    return whole


def _draw_batches(card: ModelCard) -> list[np.ndarray]:
    """Drawn windows, and noise: (N, scales, P, P, 3) uint8 RGB each."""
    spec = card.input_spec
    drawn = np.concatenate([windows[:1] for windows in draw_pictures(spec).values()])
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (NOISE_WINDOWS, *spec.shape), dtype=np.uint8)
    return [drawn, noise]


def _write(network: "keras.Model", path: Path, name: ExportFormat) -> Forward:
    """Write a network, and return the forward pass of the written file as OpenVINO reads it."""
    import openvino

    with without_telemetry(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the converters, about NumPy and Python to come
        network.export(str(path), format=name, verbose=False)
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda patches: compiled(np.ascontiguousarray(patches))[0]


def _compare(forward: Forward, predictor: Predictor, batches: Sequence[np.ndarray]) -> float:
    """Return the largest difference of a probability; NaN if one is not a number."""
    lone = len(predictor.spec.mpps) == 1
    differences = [
        np.abs(forward(batch[:, 0] if lone else batch) - predictor(batch)).max()
        for batch in batches
    ]
    return float(np.max(differences))


def _describe(
    card: ModelCard, network: "keras.Model", differences: dict[str, float]
) -> dict[str, Any]:
    import keras
    import openvino

    spec = card.input_spec
    axes = ["patch", *(["scale"] if len(spec.mpps) > 1 else []), "row", "column", "RGB"]
    return {
        "files": {name: FILES[name] for name in differences},
        "input": {
            "axes": axes,
            "shape": list(network.input_shape),
            "type": "uint8",
            "mpps": list(spec.mpps),
            "stain": spec.stain,
        },
        "output": {"classes": list(spec.classes), "type": "float32"},
        "temperature": card.temperature and card.temperature.value,
        "largest_difference": differences,
        "tolerance": LARGEST_DIFFERENCE,
        "weights_sha256": card.weights_sha256,
        "made_with": {
            "gigaslide": gigaslide_version(),
            "keras": keras.__version__,
            "backend": keras.backend.backend(),
            "openvino": openvino.__version__,
        },
    }
