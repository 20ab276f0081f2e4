"""A dense network in OpenVINO: small tiles several at once; a deep network is compiled for each
shape of its tiles, a small one for any."""

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import openvino

__all__ = ["TileNetwork"]

KEPT_BYTES = 2**28
"""Weights of all compiled shapes; each has its own, 85 MB for InceptionV3."""
SMALL_BYTES = 2**25
"""Largest array inside the network for a tile that is computed beside others. On larger tiles the
cores share a layer well, and each tile would hold its own gigabyte. Shapes of small tiles keep
their memory: given back and taken again for each slide, it grew by 1 MB a slide."""
MOST_AT_ONCE = 4
ANY_SHAPE_BYTES = 2**22
"""Weights of a network that is compiled for any shape. The compact one takes 5 % more time so, and
no 50 ms and no activations for each new shape."""


@dataclass(eq=False)
class _Compiled:
    """The network for tiles of one shape, or of any."""

    compiled: Any
    free: threading.Semaphore
    """Tiles that may begin."""
    is_small: bool
    requests: deque[Any] = field(default_factory=deque)
    """Inference requests that no thread uses."""
    running: int = 0

    def compute(self, tiles: list[np.ndarray]) -> np.ndarray:
        with self.free:
            request = self._take_request()
            try:
                return request.infer(tiles)[0].copy()
            finally:
                self.requests.append(request)

    def _take_request(self) -> Any:
        try:
            return self.requests.pop()
        except IndexError:  # at first; or an interrupted thread has not given one back
            return self.compiled.create_infer_request()


class TileNetwork:
    """Forward pass of a dense network on tiles of any shape; threads may call it at the same
    time."""

    def __init__(self, model: openvino.Model, config: Mapping[str, Any], threads: int) -> None:
        self._model, self._config, self._threads = model, dict(config), threads
        constants = (op for op in model.get_ops() if op.get_type_name() == "Constant")
        self._weights_bytes = sum(op.data.nbytes for op in constants)
        self._takes_any_shape = self._weights_bytes <= ANY_SHAPE_BYTES
        self._shapes: dict[tuple[int, ...], _Compiled] = {}
        self._small_shapes: dict[tuple[int, ...], bool] = {}
        self._lock = threading.Lock()
        self._turns = threading.Lock()  # of large tiles
        self._last_large: _Compiled | None = None

    @property
    def compiled_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes for which it is compiled, the last one used last."""
        return tuple(self._shapes)

    def __call__(self, tiles: Sequence[np.ndarray]) -> np.ndarray:
        """Compute tiles (1, height, width, 3), one a scale."""
        given = [np.ascontiguousarray(tile) for tile in tiles]
        with self._lock:
            network = self._take(given)
        try:
            with nullcontext() if network.is_small else self._turns:
                if not network.is_small:
                    self._release_other_large(network)
                return network.compute(given)
        finally:
            with self._lock:
                network.running -= 1

    def _take(self, tiles: list[np.ndarray]) -> _Compiled:
        """Return the network for these tiles. It is compiled once."""
        shape = tiles[0].shape
        if shape not in self._small_shapes:
            fixed = self._with_shape(tiles)
            self._small_shapes[shape] = _largest_array(fixed) <= SMALL_BYTES
        is_small = self._small_shapes[shape]
        key = (int(is_small),) if self._takes_any_shape else shape
        found = self._shapes.pop(key, None) or self._compile(tiles, is_small)
        found.running += 1
        idle = [shape for shape, other in self._shapes.items() if not other.running]
        for shape in idle:
            if (len(self._shapes) + 1) * self._weights_bytes > KEPT_BYTES:
                del self._shapes[shape]
        self._shapes[key] = found
        return found

    def _release_other_large(self, network: _Compiled) -> None:
        if self._last_large not in (None, network):
            self._last_large.compiled.release_memory()
        self._last_large = network

    def _with_shape(self, tiles: list[np.ndarray]) -> openvino.Model:
        fixed = self._model.clone()
        fixed.reshape({number: tile.shape for number, tile in enumerate(tiles)})
        return fixed

    def _compile(self, tiles: list[np.ndarray], is_small: bool) -> _Compiled:
        model = self._model if self._takes_any_shape else self._with_shape(tiles)
        at_once = min(self._threads, MOST_AT_ONCE) if is_small else 1
        how = {**self._config, "NUM_STREAMS": at_once, "ENABLE_CPU_PINNING": False}
        compiled = openvino.Core().compile_model(model, "CPU", how)
        return _Compiled(compiled=compiled, free=threading.Semaphore(at_once), is_small=is_small)


def _largest_array(model: openvino.Model) -> int:
    """Bytes of the largest array between two layers of a network of fixed shapes, in float32."""
    layers = (op for op in model.get_ops() if op.get_type_name() != "Constant")
    shapes = (output.get_shape() for op in layers for output in op.outputs())
    return 4 * max(prod(shape) for shape in shapes)
