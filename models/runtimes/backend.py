"""Keras with the settings that our networks need, whatever the user's own Keras settings are."""

import gc
import importlib.util
import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from ...storage import ModelError

__all__ = ["choose_backend", "prepare_keras"]

logger = logging.getLogger(__name__)

STARTUP_NOISE = re.compile(
    rb"WARNING: All log messages before absl|[IW]\d{4} |\d{4}-\d\d-\d\d .*: [IW] "
)
"""Beginnings of lines that TensorFlow's C++ writes to standard error while it is imported: which
instructions the CPU has, and that there is no GPU."""
NEEDED = {"image_data_format": "channels_last", "floatx": "float32", "epsilon": 1e-7}


def choose_backend() -> str:
    """Choose the library below Keras and return its name, before Keras is imported.

    The environment variable KERAS_BACKEND chooses it; without it the choice is TensorFlow, also
    where the user's keras.json names another. Nothing changes where Keras is imported already.

    Raises:
        ModelError: the backend is not installed.
    """
    backend = os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    if importlib.util.find_spec(backend) is None:
        raise ModelError(
            f"KERAS_BACKEND is {backend}, which is not installed here; install it, or unset "
            "KERAS_BACKEND to use TensorFlow"
        )
    return backend


def prepare_keras() -> None:
    """Import Keras, and set the float type, the epsilon and the order of axes to our networks'.

    A warning names a setting of the user that is changed.

    Raises:
        ModelError: the backend is not installed.
    """
    backend = choose_backend()
    with _without_collections(), _without_startup_noise():
        from keras import config  # slow

    if config.backend() == backend == "tensorflow":
        _shorten_start_of_tensorflow()

    for name, value in NEEDED.items():
        found = getattr(config, name)()
        if found != value:
            logger.warning("Keras's setting %s is %s; it is set to %s here", name, found, value)
            getattr(config, f"set_{name}")(value)
    if config.dtype_policy().name != "float32":
        logger.warning(
            "Keras's dtype policy is %s; it is set to float32 here", config.dtype_policy().name
        )
        config.set_dtype_policy("float32")


@contextmanager
def _without_collections() -> Iterator[None]:
    """Import without garbage collections, and keep later ones from searching what was imported: a
    fifth of the time of importing Keras."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.freeze()
            gc.enable()


def _shorten_start_of_tensorflow() -> None:
    """Run graphs as they are built, where there is no GPU.

    TensorFlow's graph optimiser takes a quarter of the time to the first step of
    `inception_v3_small` and makes no step of our networks faster (benchmarks/training/steps.py).
    """
    import tensorflow

    if not tensorflow.config.list_physical_devices("GPU"):
        tensorflow.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


@contextmanager
def _without_startup_noise() -> Iterator[None]:
    """Import without the lines of `STARTUP_NOISE`, which no setting of Python's logging reaches;
    what else came to standard error follows afterwards."""
    if "tensorflow" in sys.modules:
        yield
        return
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as hidden:
        os.dup2(hidden.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            hidden.seek(0)
            for line in hidden:
                if not STARTUP_NOISE.match(line):
                    os.write(2, line)
