"""The library and device that run a network here, in words."""

from .backend import count_gpus, prepare_keras

__all__ = ["describe_device"]

LIBRARIES = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}


def describe_device(*, openvino: bool = False) -> str:
    """Describe what runs a network, such as "TensorFlow on CPU".

    openvino: the network may run in OpenVINO, which it does where Keras sees no GPU.
    """
    prepare_keras()
    import keras

    gpus = count_gpus()
    if openvino and not gpus:
        return "OpenVINO on CPU"
    backend = keras.config.backend()
    device = "CPU" if not gpus else "GPU" if gpus == 1 else f"{gpus} GPUs"
    return f"{LIBRARIES.get(backend, backend)} on {device}"
