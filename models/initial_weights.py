"""Weights that a training begins with: of another model, of a file, or of ImageNet.

Only numbers are read, from HDF5. Code that a .keras file may hold is never run, and links to other
files are not followed.
"""

import hashlib
import io
import logging
import re
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..storage import ModelError, format_count
from .card import CARD, ENSEMBLE, WEIGHTS, ModelCard
from .networks.architectures import find_architecture

if TYPE_CHECKING:
    import h5py
    import keras

__all__ = ["IMAGENET", "describe_misfit", "fill_network", "hash_initial_weights"]

logger = logging.getLogger(__name__)

IMAGENET = "imagenet"
TOWER = re.compile(r"^layers/functional(_\d+)?/")  # a network within the network, as Keras saves it
OPTIMISER = "optimizer/"
IN_ARCHIVE = "model.weights.h5"  # of a .keras file
MOST_COPIES = 8  # of a network's numbers in a file: its optimiser's, another classifier
SPARE_BYTES = 64_000_000
DIVIDED_TWICE = {f"EfficientNetB{number}" for number in range(8)}
"""Networks whose ImageNet weights hold a standard deviation where the variance belongs."""


def fill_network(network: "keras.Model", architecture: str, source: str) -> list[str]:
    """Give a network the weights of a source wherever place and shape are equal; the others stay
    random, and a message tells which. Return the names of these layers.

    source is a model folder, a .weights.h5 or .keras file, a file that keras.applications fetches,
    or "imagenet". Weights of one tower fill every tower of the same kind.

    Raises:
        ModelError: no such source, a model folder whose weights are not those of its card, or less
            than half of the network's arrays fit.
    """
    import h5py

    with tempfile.TemporaryDirectory() as folder:
        most_bytes = MOST_COPIES * 4 * network.count_params()
        if source == IMAGENET:
            given = _read_application(network, architecture, IMAGENET)
        elif _is_of_application(Path(source)):
            _refuse_links(Path(source), most_bytes=most_bytes)
            given = _read_application(network, architecture, source)
        else:
            given = _read(Path(source), most_bytes=most_bytes)
        path = Path(folder) / WEIGHTS
        network.save_weights(path)
        with h5py.File(path, "r+") as file:
            wanted = dict(_arrays(file))
            random = []
            for place, dataset in wanted.items():
                found = _find(place, given)
                if found is not None and found.shape == dataset.shape:
                    dataset[...] = found
                else:
                    random.append(place)
        taken = len(wanted) - len(random)
        if taken < len(wanted) / 2:  # some shapes are alike by chance
            raise ModelError(
                f"{source}: {taken} of its {format_count(len(given), 'array')} fit {architecture}, "
                f"which has {len(wanted)}; {_advise(Path(source))}"
            )
        network.load_weights(path)
    layers = sorted({place.split("/vars/")[0].removeprefix("layers/") for place in random})
    logger.info("%s: %d of %d arrays taken", source, taken, len(wanted))
    if layers:
        logger.warning(
            "%s: no weights fit the layers %s, which begin at random", source, _some(layers)
        )
    return layers


def describe_misfit(network: "keras.Model", path: Path) -> str:
    """Name the first array that a weights file has in another shape than the network, or lacks;
    nothing where the file cannot be read, or all fit."""
    import h5py

    with tempfile.TemporaryDirectory() as folder, suppress(OSError, ValueError):
        network.save_weights(Path(folder) / WEIGHTS)
        with h5py.File(Path(folder) / WEIGHTS) as own, h5py.File(path) as file:
            given = {place: array.shape for place, array in _arrays(file)}
            for place, wanted in _arrays(own):
                if (found := given.get(place)) != wanted.shape:
                    has = "no array" if found is None else f"shape {found}"
                    return f"at {place} the file has {has}, the network takes {wanted.shape}"
    return ""


def hash_initial_weights(source: str, architecture: str) -> str:
    """SHA-256 of the file of such a source; "imagenet" is its own hash.

    Raises:
        ModelError: no such file, a model folder whose weights are not those of its card, or Keras
            has no ImageNet weights for the architecture.
    """
    if source == IMAGENET:
        _name_in_keras(architecture)
        return source
    return hashlib.sha256(_locate(Path(source)).read_bytes()).hexdigest()


def _locate(source: Path) -> Path:
    if (source / ENSEMBLE).is_file():
        raise ModelError(f"{source}: is an ensemble; give one of its members, {source}/member_1")
    path = source
    if (source / CARD).exists():
        ModelCard.load(source).check_weights(source)
        path = source / WEIGHTS
    if not path.is_file():
        raise ModelError(
            f"{source}: no such file of weights; give a model folder, a .weights.h5 or .keras "
            f"file, or {IMAGENET}"
        )
    return path


def _read(source: Path, *, most_bytes: int | None = None) -> dict[str, np.ndarray]:
    """Read the arrays of a file by their place; no more than `most_bytes` and a few megabytes."""
    import h5py

    path = _locate(source)
    most = None if most_bytes is None else most_bytes + SPARE_BYTES
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                _refuse_size(archive.getinfo(IN_ARCHIVE).file_size, most)
                content = archive.read(IN_ARCHIVE)
        else:
            content = path.read_bytes()
        with h5py.File(io.BytesIO(content), "r") as file:
            arrays = dict(_arrays(file))
            _refuse_size(sum(dataset.nbytes for dataset in arrays.values()), most)
            return {place: dataset[...] for place, dataset in arrays.items()}
    except Exception as error:  # damaged bytes raise errors of zipfile, zlib and HDF5
        raise ModelError(
            f"{path}: not weights that Keras 3 saved ({error}); give a .weights.h5 or .keras file"
        ) from error


def _refuse_size(found: int, most: int | None) -> None:
    """Pass unless a file unpacks to far more than its network needs."""
    if most is not None and found > most:
        raise ValueError(f"it unpacks to {found / 1e6:.0f} MB, its network needs {most / 1e6:.0f}")


def _arrays(file: "h5py.File") -> Iterator[tuple[str, "h5py.Dataset"]]:
    """Yield the arrays of a network by their place; those of its optimiser are left out."""
    places: list[str] = []
    file.visit(places.append)  # which follows no links to other files
    for place in places:
        item: Any = file[place]
        if not hasattr(item, "shape") or place.startswith(OPTIMISER):
            continue
        if item.external or item.is_virtual:
            raise ValueError(f"{place} lies in another file")
        yield place, item


def _find(place: str, given: dict[str, np.ndarray]) -> np.ndarray | None:
    """Find the array of a place: of the same place, of the first tower, or of a lone tower."""
    of_first_tower = TOWER.sub("layers/functional/", place)
    alone = TOWER.sub("", place)
    return given.get(place, given.get(of_first_tower, given.get(alone)))


def _is_of_application(source: Path) -> bool:
    """Tell whether a file is one of those that keras.applications fetches: HDF5 in the layout of
    Keras 2."""
    import h5py

    try:
        with h5py.File(source, "r") as file:
            return "layer_names" in file.attrs
    except OSError:
        return False


def _refuse_links(path: Path, *, most_bytes: int) -> None:
    """Raise ModelError if a file refers to other files, which Keras would read, or holds far more
    than its network needs."""
    import h5py

    def check(group: h5py.Group) -> None:
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise ValueError(f"{group.name}/{name} lies in another place")
            if isinstance(item := group[name], h5py.Group):
                check(item)
            elif isinstance(item, h5py.Dataset) and (item.external or item.is_virtual):
                raise ValueError(f"{item.name} lies in another file")

    try:
        with h5py.File(path, "r") as file:
            check(file)
            _refuse_size(sum(array.nbytes for _, array in _arrays(file)), most_bytes + SPARE_BYTES)
    except (OSError, ValueError, RuntimeError, RecursionError) as error:
        raise ModelError(f"{path}: not weights of keras.applications ({error})") from error


def _read_application(
    network: "keras.Model", architecture: str, weights: str
) -> dict[str, np.ndarray]:
    """Read weights of a network of keras.applications; weights is "imagenet", or the path of the
    file that Keras would fetch."""
    import keras

    towers = [layer for layer in network.layers if isinstance(layer, keras.Model)]
    build = getattr(keras.applications, _name_in_keras(architecture))
    shape = towers[0].input_shape[1:]
    try:
        tower = build(include_top=False, weights=weights, input_shape=shape)
    except Exception as error:  # of several classes, by the way in which network or file fails
        problem = " ".join(str(error).split())
        if weights != IMAGENET:
            raise ModelError(
                f"{weights}: its weights do not fit {architecture} without its last layer "
                f"({problem}); give the file that Keras fetches for it, with notop in its name"
            ) from error
        raise ModelError(
            f"architecture {architecture}: its ImageNet weights cannot be fetched ({problem}); "
            "fetch that file where there is internet, copy it here, and give it with "
            "--initial-weights FILE"
        ) from error
    if build.__name__ in DIVIDED_TWICE:
        # Keras gives these a further layer, without weights, only with ImageNet's.
        (scaling,) = [layer for layer in tower.layers if layer.name.startswith("normalization")]
        scaling.adapt_variance.assign(keras.ops.square(scaling.adapt_variance))
    with tempfile.TemporaryDirectory() as folder:
        tower.save_weights(Path(folder) / WEIGHTS)
        return _read(Path(folder) / WEIGHTS)


def _name_in_keras(architecture: str) -> str:
    """Return the name of an architecture in keras.applications, or raise ModelError."""
    name = find_architecture(architecture).application
    if not name:
        raise ModelError(
            f"architecture {architecture}: Keras has no ImageNet weights for it; choose a network "
            "of keras.applications, such as --architecture EfficientNetV2B0, or give a file with "
            "--initial-weights FILE"
        )
    return name


def _advise(source: Path) -> str:
    if (source / CARD).exists():
        return f"give --architecture {ModelCard.load(source).architecture}, that of {source}"
    return "give weights of this architecture, saved by Keras 3"


def _some(names: list[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
