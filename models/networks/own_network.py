"""A network of the user's own: `--architecture module:function`, given on the command line.

A model folder only records the name. Nothing is imported because a folder says so: whoever loads
such a model gives the same name again.
"""

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...storage import ModelError
from ...wsi import InputSpec

if TYPE_CHECKING:
    import keras

__all__ = [
    "build_own_network",
    "find_module",
    "import_function",
    "is_own_network",
    "refuse_other_network",
]

PROBES = 2
LARGEST_ERROR = 0.02  # of a sum of probabilities; those of 16-bit floats come within it


def is_own_network(name: str) -> bool:
    """Tell whether an architecture's name is module:function."""
    return ":" in name


def refuse_other_network(folder: Path, *, recorded: str, given: str) -> None:
    """Pass if a folder's network is one of gigaslide's, or the user's own that was given.

    recorded: architecture that the folder names; given: that of the command line, "" for none.

    Raises:
        ModelError: it is another function of somebody's own.
    """
    if is_own_network(recorded) and recorded != given:
        raise ModelError(
            f"{folder}: was made with the network {recorded}"
            f"{f', not with {given}' if given else ''}, which is code outside gigaslide; add "
            f"--architecture {recorded} if you trust that code, or give another folder"
        )


def build_own_network(name: str, spec: InputSpec, options: Any) -> "keras.Model":
    """Import module:function, call it with the spec and the `NetworkOptions`, and check what it
    returns. Modules of the current folder can be imported.

    Raises:
        ModelError: the module or the function is missing or fails, or its network takes or gives
            something else than gigaslide needs.
    """
    import keras

    build = import_function(name, "--architecture")
    try:
        network = build(spec, options)
    except Exception as error:  # whatever the user's code raises
        raise ModelError(
            f"{name}: the function failed with {type(error).__name__}: {error}; it is called with "
            "(spec, options)"
        ) from error
    if not isinstance(network, keras.Model) or not getattr(network, "inputs", None):
        raise ModelError(
            f"{name}: returned {type(network).__name__}; return a keras.Model(inputs, outputs)"
        )
    if len(network.inputs) != 1 or len(network.outputs) != 1:
        raise ModelError(
            f"{name}: its network has {len(network.inputs)} inputs and {len(network.outputs)} "
            "outputs; it needs one of each"
        )
    # A Sequential saves its weights by other places than the same layers as a functional model.
    network = keras.Model(network.inputs[0], network.outputs[0], name=network.name)
    _check(network, name, spec)
    return network


def find_module(name: str, option: str) -> Path:
    """Return the file of the module of a module:function that the user gave by an option. Modules
    of the current folder can be found.

    Raises:
        ModelError: there is none.
    """
    module = name.partition(":")[0]
    folder = _add_current_folder()
    try:
        found = importlib.util.find_spec(module)
    except (ImportError, ValueError) as error:
        raise _no_module(name, option, folder, error) from error
    if found is None or not found.origin or not Path(found.origin).is_file():
        raise _no_module(name, option, folder, FileNotFoundError(f"{module}.py"))
    return Path(found.origin)


def import_function(name: str, option: str) -> Any:
    """Import the function of a module:function that the user gave by an option, see `find_module`.

    Raises:
        ModelError: the module or the function is missing, or the module fails.
    """
    module, _, function = name.partition(":")
    folder = _add_current_folder()
    try:
        found = importlib.import_module(module)
    except Exception as error:  # whatever the user's code raises
        raise _no_module(name, option, folder, error) from error
    build = getattr(found, function, None)
    if not callable(build):
        raise ModelError(f"{option} {name}: {found.__file__} has no function {function}")
    return build


def _add_current_folder() -> str:
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return folder


def _no_module(name: str, option: str, folder: str, error: Exception) -> ModelError:
    module = name.partition(":")[0]
    return ModelError(
        f"{option} {name}: the module {module} cannot be imported from {folder} "
        f"({type(error).__name__}: {error})"
    )


def _check(network: "keras.Model", name: str, spec: InputSpec) -> None:
    """Compare a network's shapes, and its output for two random patches, with the spec."""
    wanted = {"input": (None, *spec.shape), "output": (None, len(spec.classes))}
    for part, shape in wanted.items():
        found = getattr(network, f"{part}_shape")
        if found != shape:
            raise ModelError(
                f"{name}: the {part} of its network has the shape {found}, but {shape} is needed: "
                + (
                    "(patches, scales, rows, columns, RGB), as keras.Input(spec.shape) makes it"
                    if part == "input"
                    else f"(patches, classes), the probabilities of {', '.join(spec.classes)}"
                )
            )
    shape = (PROBES, *spec.shape)
    patches = np.random.default_rng(0).integers(0, 256, shape).astype(np.float32)
    scores = np.asarray(network(patches, training=False), np.float64)
    if not (np.abs(scores.sum(axis=1) - 1) < LARGEST_ERROR).all() or scores.min() < 0:
        raise ModelError(
            f"{name}: its network gives {scores[0].round(3).tolist()} for a patch of random "
            "pixels, but probabilities from 0 to 1 whose sum is 1 are needed; end it with a "
            'softmax, such as Dense(len(spec.classes), activation="softmax")'
        )
