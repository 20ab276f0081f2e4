"""Fetch weights of InceptionV3 and MobileNetV2 that learnt from photographs, which have nothing to
do with tissue, and convert them for Keras: `make study-weights`. They are the start of another
domain in a study of starts.

They come from the package nsfwjs 4.4.0 of npm (MIT; ImageNet weights, trained on for the moderation
of photographs; 8 bits a number), which npm downloads and nothing here runs: numbers are read out of
its files. They took pixels in [0, 1]; the first convolution is changed so that they take those of
keras.applications, in [-1, 1]. With their own classifier, three photographs of scikit-image must
first come out as harmless.
"""

import argparse
import base64
import hashlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
import skimage.data
from gigaslide.models import EncoderSource, load_encoder

PACKAGE, ARCHIVE = "nsfwjs@4.4.0", "nsfwjs-4.4.0.tgz"
SHA256 = "585cd178f3b994337c4d10a87b080d342fc52f8b9bf0085c4d1f345a3a1c5382"
NETWORKS = {
    "inception_v3": ("InceptionV3", "inception_v3", 299),
    "mobilenet_v2": ("MobileNetV2", "MobileNetV2", 224),
}
"""By folder in the package: name in keras.applications, in gigaslide, and picture side (px)."""
HARMLESS = 2  # of its classes: drawing, hentai, neutral, porn, sexy
PHOTOGRAPHS = ("coffee", "cat", "rocket")
HEAD = ("dense_1", "dense_2", "dense_3")
VALUE = r"(-?[\d.]+(?:e-?\d+)?)"
ENTRY = re.compile(
    r'name:"([^"]+)",shape:\[([\d,]+)\],dtype:"float32",'
    rf'quantization:\{{min:{VALUE},scale:{VALUE},dtype:"uint8"\}}'
)
STRING = re.compile(r"\"([A-Za-z0-9+/]{64,}={0,2})\"")
NUMBERED = re.compile(r"^(conv2d|batch_normalization)(?:_(\d+))?$")

Arrays = dict[str, np.ndarray]


def download(folder: Path) -> Path:
    """Let npm download the package, check its hash, and unpack its models without running it."""
    npm = shutil.which("npm")
    if npm is None:
        sys.exit(f"{PACKAGE}: npm is not installed; install Node.js, and run again")
    subprocess.run([npm, "pack", "--silent", PACKAGE], cwd=folder, check=True, capture_output=True)
    content = (folder / ARCHIVE).read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256:
        sys.exit(f"{PACKAGE}: has SHA-256 {found}, expected {SHA256}")
    with tarfile.open(folder / ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder / "package" / "dist" / "models"


def read_arrays(folder: Path) -> Arrays:
    """Read the arrays of a model in the format of TensorFlow.js, whose manifest and shards are
    literals in JavaScript: a number is min + scale × its byte."""
    text = (folder / "model.min.js").read_text(encoding="utf-8")
    manifest = text[text.index("weightsManifest") :]
    entries = ENTRY.findall(manifest)
    if len(entries) != manifest.count('name:"'):
        sys.exit(f"{folder}: {len(entries)} of its arrays can be read; expected all")
    shards = sorted(folder.glob("group1-shard*.min.js"))
    content = b"".join(
        base64.b64decode(max(STRING.findall(shard.read_text(encoding="utf-8")), key=len))
        for shard in shards
    )
    arrays, first = {}, 0
    for name, sides, low, step in entries:
        shape = tuple(map(int, sides.split(",")))
        count = int(np.prod(shape))
        steps = np.frombuffer(content, np.uint8, count, first).astype(np.float64)
        arrays[name] = (float(low) + float(step) * steps).reshape(shape).astype(np.float32)
        first += count
    if first != len(content):
        sys.exit(f"{folder}: its shards hold {len(content)} numbers, its manifest lists {first}")
    return arrays


def convert(name: str, side: int, arrays: Arrays) -> keras.Model:
    """Fill a network of keras.applications without its classifier: every array of every layer."""
    build = getattr(keras.applications, name)
    network = build(include_top=False, weights=None, input_shape=(side, side, 3))
    given = {place: values for place, values in arrays.items() if not place.startswith(HEAD)}
    there, here = (_first_numbers(places) for places in (given, [o.name for o in network.layers]))
    used = set()
    for layer in network.layers:
        source = _name_there(layer.name, here, there)
        for weight in layer.weights:
            place = f"{source}/{_weight_name(weight, layer)}"
            weight.assign(given[place])
            used.add(place)
    if spare := set(given) - used:
        sys.exit(f"{name}: {len(spare)} arrays fit no layer, such as {min(spare)}")
    take_minus_one_to_one(network)
    return network


def _weight_name(weight: Any, layer: Any) -> str:
    is_depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
    return "depthwise_kernel" if is_depthwise else str(weight.name)


def _first_numbers(places: Iterable[str]) -> dict[str, int]:
    """Lowest number of the layers that Keras counts, by their kind."""
    lowest: dict[str, int] = {}
    for place in places:
        if found := NUMBERED.match(place.split("/")[0]):
            number = int(found[2] or 0)
            lowest[found[1]] = min(number, lowest.get(found[1], number))
    return lowest


def _name_there(layer: str, here: dict[str, int], there: dict[str, int]) -> str:
    """Name of a layer in the package: counted layers differ by the number of the first."""
    found = NUMBERED.match(layer)
    if found is None or found[1] not in there:
        return layer
    kind = found[1]
    return f"{kind}_{int(found[2] or 0) - here[kind] + there[kind]}"


def take_minus_one_to_one(network: keras.Model) -> None:
    """Change a network of pixels x in [0, 1] to one of y = 2 x - 1: the kernel is halved, and half
    of its sum is taken off the mean of the batch normalisation behind it. Exact but for padding,
    which was black and becomes grey."""
    kinds = (keras.layers.Conv2D, keras.layers.BatchNormalization)
    convolution: Any
    normalisation: Any
    convolution, normalisation = (
        next(layer for layer in network.layers if isinstance(layer, kind)) for kind in kinds
    )
    kernel = np.asarray(convolution.kernel)
    convolution.kernel.assign(kernel / 2)
    mean = np.asarray(normalisation.moving_mean)
    normalisation.moving_mean.assign(mean - kernel.sum(axis=(0, 1, 2)) / 2)


def take_square(name: str, side: int) -> np.ndarray:
    """Return the middle of a photograph of scikit-image, (side, side, 3) uint8."""
    picture = getattr(skimage.data, name)()
    least = min(picture.shape[:2])
    top, left = (picture.shape[0] - least) // 2, (picture.shape[1] - least) // 2
    square = picture[top : top + least, left : left + least]
    return cv2.resize(square, (side, side), interpolation=cv2.INTER_AREA)


def check(network: keras.Model, side: int, arrays: Arrays) -> None:
    """Classify three photographs with the package's classifier; end the program if one does not
    come out as harmless."""
    for name in PHOTOGRAPHS:
        given = take_square(name, side)[None].astype(np.float32) / 127.5 - 1
        values = np.asarray(network.predict_on_batch(given)).mean(axis=(1, 2))
        for layer in HEAD:
            values = values @ arrays[f"{layer}/kernel"] + arrays[f"{layer}/bias"]
            values = values if layer == HEAD[-1] else np.maximum(values, 0)
        scores = np.exp(values - values.max()) / np.exp(values - values.max()).sum()
        print(f"{name}: harmless {scores[0, HARMLESS]:.3f}")
        if scores[0].argmax() != HARMLESS:
            sys.exit(f"{network.name}: {name} is class {scores[0].argmax()}, expected {HARMLESS}")


def check_encoder(path: Path, name: str, network: keras.Model) -> None:
    """End the program unless gigaslide gives the features of the network with the file."""
    side = network.input_shape[1]
    encoder = load_encoder(EncoderSource(encoder=name, weights=path, patch_px=side, mpp=1.0))
    pixels = take_square("cat", side)[None]
    given = pixels.astype(np.float32) / 127.5 - 1
    wanted = np.asarray(network.predict_on_batch(given)).mean(axis=(1, 2))
    difference = float(np.abs(encoder(pixels) - wanted).max() / np.abs(wanted).max())
    print(f"{path}: as {name}, its features differ by {difference:.1g}")
    if not difference < 1e-3:
        sys.exit(f"{path}: {name} gives other features with it")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="folder for NAME_photographs.weights.h5")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        models = download(Path(folder))
        for inside, (name, architecture, side) in NETWORKS.items():
            arrays = read_arrays(models / inside)
            network = convert(name, side, arrays)
            check(network, side, arrays)
            path = out / f"{inside}_photographs.weights.h5"
            network.save_weights(path)
            check_encoder(path, architecture, network)


if __name__ == "__main__":
    main()
