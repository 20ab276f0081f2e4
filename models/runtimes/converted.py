"""Networks that OpenVINO has converted, kept in the user's cache folder for the next start.

CACHE/openvino/<key>/{network.xml, network.bin, recipe.json}

The key is a hash of all that a converted network depends on: weights, card, our code, and the
versions of the libraries. Keras's outputs on probes are kept with it: each time it is loaded it is
compared with them.
"""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...storage import GigaslideError, atomic_folder
from ..card import ModelCard
from ..networks.architectures import ARCHITECTURES
from .forward import Precision
from .registry import TOLERANCES, StartedRuntime, measure_difference

if TYPE_CHECKING:
    import keras

__all__ = [
    "find_converted",
    "is_kept",
    "keep_converted",
    "keep_started",
    "load_converted",
    "read_facts",
    "remove_converted",
]

logger = logging.getLogger(__name__)

ROOM = __name__.rsplit(".", 2)[0]

KEPT = 16  # networks; the ones used longest ago are removed
FILES = ("network.xml", "network.bin")
RECIPE = "recipe.json"
LIBRARIES = ("keras", "openvino", "tensorflow")


def find_converted(card: ModelCard, variant: str = "") -> Path | None:
    """Return the file network.xml of the converted network of a card, or None; a damaged one is
    removed. variant: another network of the same weights, in words; "" for the card's own."""
    folder = _folder(card, variant)
    if folder is None or not folder.is_dir():
        return None
    try:
        recipe = json.loads((folder / RECIPE).read_text(encoding="utf-8"))
        if recipe["sha256"] == _checksums(folder):
            os.utime(folder)
            return folder / FILES[0]
    except (OSError, ValueError, KeyError, TypeError) as error:
        logger.info("%s: cannot be read (%s)", folder, error)
    logger.info("%s: damaged; the network is converted again", folder)
    remove_converted(folder / FILES[0])
    return None


def remove_converted(path: Path) -> None:
    """Remove the converted network at a path of network.xml, and all that is kept with it."""
    shutil.rmtree(path.parent, ignore_errors=True)


def read_facts(path: Path) -> dict[str, Any]:
    """Return the facts that were kept with the converted network at a path of network.xml."""
    return json.loads((path.parent / RECIPE).read_text(encoding="utf-8")).get("facts", {})


def keep_converted(
    card: ModelCard,
    save: Callable[[Path], None],
    variant: str = "",
    *,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Keep the converted network of a card, which save writes to a path of network.xml, and facts
    about it, plain JSON. Nothing happens where the cache cannot be written."""
    folder = _folder(card, variant)
    if folder is None:
        return
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with atomic_folder(folder) as partial:
            save(partial / FILES[0])
            checksums = _checksums(partial)
            recipe = {
                "of": _identity(card, variant),
                "sha256": checksums,
                "facts": dict(facts or {}),
            }
            (partial / RECIPE).write_text(json.dumps(recipe, indent=1), encoding="utf-8")
        _remove_oldest(folder.parent)
    except (OSError, RuntimeError, GigaslideError) as error:
        logger.info("%s: the converted network is not kept: %s", folder, error)


def keep_started(
    card: ModelCard,
    network: "keras.Model",
    started: StartedRuntime,
    variant: str = "",
    *,
    probes: Any,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Keep what a runtime has converted, with the outputs that Keras gives for the probes and
    further facts, plain JSON. Nothing happens where the runtime converts nothing."""
    save = getattr(started.forward, "save", None)
    if save is not None:
        expected = network.predict_on_batch(probes).tolist()
        keep_converted(card, save, variant, facts={"expected": expected, **(facts or {})})


def load_converted(
    card: ModelCard,
    threads: int | None,
    variant: str = "",
    precision: Precision = "float32",
    *,
    probes: Any,
) -> StartedRuntime | None:
    """Load the network that OpenVINO has converted before, see `find_converted`, and compare it
    with the outputs that Keras gave for the probes then; None if there is none, or its outputs
    differ."""
    path = find_converted(card, variant)
    if path is None:
        return None
    from .openvino_runtime import ConvertedNetwork

    try:
        network = ConvertedNetwork.load(path, threads, precision)
        difference = measure_difference(network(probes), read_facts(path)["expected"])
    except (RuntimeError, KeyError, ValueError) as error:  # whatever OpenVINO dislikes
        logger.info("%s: cannot be loaded; the network is converted again: %s", path, error)
        return None
    if difference <= TOLERANCES[precision]:
        return StartedRuntime("openvino", network, difference)
    logger.warning(
        "%s: its probabilities differ from Keras's by %.2g, more than the %g of %s; the network is "
        "converted again",
        path,
        difference,
        TOLERANCES[precision],
        precision,
    )
    remove_converted(path)
    return None


def is_kept(card: ModelCard) -> bool:
    """Tell whether the converted network of a card can be kept."""
    return _folder(card, "") is not None


def _folder(card: ModelCard, variant: str) -> Path | None:
    """Folder of a card's converted network; None where there is no cache, or the network is not
    one of ours, whose code the key would not hold."""
    architecture = ARCHITECTURES.get(card.architecture)
    is_ours = card.task == "regions" or (
        architecture is not None and architecture.tower.__module__.startswith(f"{ROOM}.")
    )
    if not is_ours:
        return None
    given = os.environ.get("GIGASLIDE_CACHE")
    if given == "":
        return None
    try:
        root = Path(given or _user_cache()).expanduser()
    except RuntimeError:  # a user without a home
        return None
    text = json.dumps(_identity(card, variant), sort_keys=True)
    return root / "openvino" / hashlib.sha256(text.encode()).hexdigest()


def _user_cache() -> Path:
    given = os.environ.get("XDG_CACHE_HOME")
    return (Path(given) if given else Path.home() / ".cache") / "gigaslide"


def _identity(card: ModelCard, variant: str) -> dict[str, object]:
    return {
        **({"variant": variant} if variant else {}),
        "weights_sha256": card.weights_sha256,
        "architecture": card.architecture,
        "options": card.options,
        "input_spec": card.input_spec.model_dump(mode="json"),
        "libraries": {name: _version(name) for name in LIBRARIES},
        "code": _hash_code(),
    }


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return ""


@cache
def _hash_code() -> str:
    """Hash of this room's modules, which build the networks."""
    digest = hashlib.sha256()
    for module in sorted(Path(__file__).parents[1].rglob("*.py")):
        digest.update(module.name.encode() + module.read_bytes())
    return digest.hexdigest()


def _checksums(folder: Path) -> dict[str, str]:
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in FILES}


def _remove_oldest(root: Path) -> None:
    found = [folder for folder in root.iterdir() if (folder / RECIPE).exists()]
    for folder in sorted(found, key=lambda folder: folder.stat().st_mtime)[:-KEPT]:
        shutil.rmtree(folder, ignore_errors=True)
