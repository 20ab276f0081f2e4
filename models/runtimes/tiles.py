"""A dense network in OpenVINO: compiled for each side of its tiles, small tiles several at once."""

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
"""Weights of all compiled sides; each has its own, 85 MB for InceptionV3."""
SMALL_BYTES = 2**25
"""Largest array inside the network for a tile that is computed beside others. On larger tiles the
cores share a layer well, and each tile would hold its own gigabyte. Sides of small tiles keep
their memory: given back and taken again for each slide, it grew by 1 MB a slide."""
MOST_AT_ONCE = 4


@dataclass(eq=False)
class _Side:
    """The network for tiles of one side."""

    compiled: Any
    free: threading.Semaphore
    """Tiles that may begin."""
    is_small: bool
    requests: deque[Any] = field(default_factory=deque)
    """Those that no thread uses."""
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
    """Forward pass of a dense network on tiles of any side; threads may call it at the same
    time."""

    def __init__(self, model: openvino.Model, config: Mapping[str, Any], threads: int) -> None:
        self._model, self._config, self._threads = model, dict(config), threads
        constants = (op for op in model.get_ops() if op.get_type_name() == "Constant")
        self._weights_bytes = sum(op.data.nbytes for op in constants)
        self._sides: dict[int, _Side] = {}
        self._lock = threading.Lock()
        self._turns = threading.Lock()  # of large tiles
        self._last_large: _Side | None = None

    @property
    def compiled_sides(self) -> tuple[int, ...]:
        """Sides for which it is compiled, the last one used last."""
        return tuple(self._sides)

    def __call__(self, tiles: Sequence[np.ndarray]) -> np.ndarray:
        """Compute tiles (1, T, T, 3), one a scale."""
        given = [np.ascontiguousarray(tile) for tile in tiles]
        with self._lock:
            side = self._take(given)
        try:
            with nullcontext() if side.is_small else self._turns:
                if not side.is_small:
                    self._release_other_large(side)
                return side.compute(given)
        finally:
            with self._lock:
                side.running -= 1

    def _take(self, tiles: list[np.ndarray]) -> _Side:
        """Return the network for these tiles. It is compiled once: fixed shapes are faster."""
        side_px = tiles[0].shape[1]
        found = self._sides.pop(side_px, None) or self._compile(tiles)
        found.running += 1
        idle = [px for px, side in self._sides.items() if not side.running]
        for px in idle:
            if (len(self._sides) + 1) * self._weights_bytes > KEPT_BYTES:
                del self._sides[px]
        self._sides[side_px] = found
        return found

    def _release_other_large(self, side: _Side) -> None:
        if self._last_large not in (None, side):
            self._last_large.compiled.release_memory()
        self._last_large = side

    def _compile(self, tiles: list[np.ndarray]) -> _Side:
        fixed = self._model.clone()
        fixed.reshape({number: tile.shape for number, tile in enumerate(tiles)})
        is_small = _largest_array(fixed) <= SMALL_BYTES
        at_once = min(self._threads, MOST_AT_ONCE) if is_small else 1
        how = {**self._config, "NUM_STREAMS": at_once, "ENABLE_CPU_PINNING": False}
        compiled = openvino.Core().compile_model(fixed, "CPU", how)
        return _Side(compiled=compiled, free=threading.Semaphore(at_once), is_small=is_small)


def _largest_array(model: openvino.Model) -> int:
    """Bytes of the largest array between two layers of a network of fixed shapes, in float32."""
    layers = (op for op in model.get_ops() if op.get_type_name() != "Constant")
    shapes = (output.get_shape() for op in layers for output in op.outputs())
    return 4 * max(prod(shape) for shape in shapes)
