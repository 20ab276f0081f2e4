"""The library and device that run a network here, in words."""

import sys
from pathlib import Path

from .backend import prepare_keras

__all__ = ["describe_device", "has_gpu"]

LIBRARIES = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}


def describe_device(*, openvino: bool = False) -> str:
    """Describe what runs a network, such as "TensorFlow on CPU".

    openvino: the network may run in OpenVINO, which it does where Keras sees no GPU.
    """
    if openvino and not has_gpu():
        return "OpenVINO on CPU"
    prepare_keras()
    import keras

    gpus = _count_gpus()
    backend = keras.config.backend()
    device = "CPU" if not gpus else "GPU" if gpus == 1 else f"{gpus} GPUs"
    return f"{LIBRARIES.get(backend, backend)} on {device}"


def has_gpu() -> bool:
    """Tell whether Keras sees a GPU; Linux without a driver's device file is answered without
    loading Keras."""
    drivers = ("nvidia*", "kfd", "dxg")  # NVIDIA, AMD, Windows Subsystem for Linux
    if sys.platform == "linux" and not any(any(Path("/dev").glob(name)) for name in drivers):
        return False
    prepare_keras()
    return _count_gpus() > 0


def _count_gpus() -> int:
    import keras

    backend = keras.config.backend()
    if backend == "torch":  # of which Keras lists no devices
        import torch  # pyright: ignore[reportMissingImports]

        return torch.cuda.device_count()
    if backend == "jax":  # which fails where a kind is asked for that is not there
        return sum(name.startswith("gpu") for name in keras.distribution.list_devices())
    return len(keras.distribution.list_devices("gpu"))
