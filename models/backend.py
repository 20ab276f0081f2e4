"""Keras with the settings that our networks need, whatever the user's own Keras settings are."""

import importlib.util
import logging
import os

from ..storage import ModelError

__all__ = ["choose_backend", "count_gpus", "prepare_keras"]

logger = logging.getLogger(__name__)

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
    choose_backend()
    from keras import config  # slow

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


def count_gpus() -> int:
    """Count the GPUs that the backend of Keras sees."""
    import keras

    backend = keras.config.backend()
    if backend == "torch":  # of which Keras lists no devices
        import torch  # pyright: ignore[reportMissingImports]

        return torch.cuda.device_count()
    if backend == "jax":  # which fails where a kind is asked for that is not there
        return sum(name.startswith("gpu") for name in keras.distribution.list_devices())
    return len(keras.distribution.list_devices("gpu"))
