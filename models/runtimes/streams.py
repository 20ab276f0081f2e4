"""A network in OpenVINO that computes the parts of a batch at the same time, one on each core."""

import os
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
import openvino

__all__ = ["StreamedNetwork", "count_cores"]

AT_ONCE = 4
"""Windows that one stream computes together. A fixed number: with shapes that are known when it is
compiled, OpenVINO takes two thirds of the time. The share of a core does not depend on it."""
MOST_STREAMS = 16
"""A batch of 64 has no more parts, and each stream holds activations of its own. Further cores
share in them."""


class StreamedNetwork:
    """Forward pass of a network on batches of any size.

    One layer of a small network is too short to be shared between cores: two streams of one thread
    take half to three quarters of the time of one stream of two.
    """

    def __init__(
        self, model: openvino.Model, config: Mapping[str, Any], threads: int, *, output: int = 0
    ) -> None:
        """output: number of the one that is returned."""
        fixed = model.clone()
        shapes = [AT_ONCE, *(side.get_length() for side in model.input(0).partial_shape[1:])]
        fixed.reshape(shapes)
        streams = min(threads, MOST_STREAMS)
        # Two processes on one machine would be pinned to the same cores.
        how = {**config, "NUM_STREAMS": streams, "ENABLE_CPU_PINNING": False}
        self._requests = openvino.AsyncInferQueue(
            openvino.Core().compile_model(fixed, "CPU", how), streams
        )
        self._requests.set_callback(_keep_output)
        self._output = output
        self._turns = threading.Lock()

    def __call__(self, patches: np.ndarray) -> np.ndarray:
        """Compute a batch; threads take turns."""
        parts: list[Any] = [None] * -(-len(patches) // AT_ONCE)
        with self._turns:
            for number in range(len(parts)):
                given = patches[number * AT_ONCE : (number + 1) * AT_ONCE]
                if len(given) < AT_ONCE:
                    given = np.concatenate([given, given[-1:].repeat(AT_ONCE - len(given), 0)])
                where = parts, number, self._output
                self._requests.start_async({0: np.ascontiguousarray(given)}, where)
            self._requests.wait_all()
        return np.concatenate(parts)[: len(patches)]


def count_cores() -> int:
    """Number of cores that this process may use."""
    has_affinity = hasattr(os, "sched_getaffinity")  # Linux
    return len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1


def _keep_output(request: Any, where: tuple[list[Any], int, int]) -> None:
    parts, number, output = where
    parts[number] = request.get_output_tensor(output).data.copy()
