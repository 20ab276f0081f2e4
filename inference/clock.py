"""Time of a block in parts: loading the network, computing it, waiting for pixels; and that of
reading and decoding tiles beside it."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from ..models import DensePredictor, Encoder, Predictor, RegionPredictor
from ..wsi import Slide

__all__ = ["BlockClock"]

TilesT = TypeVar("TilesT", DensePredictor, RegionPredictor)


@dataclass
class _Meter:
    """Divides the time in which the network computes between the blocks that are in it.

    Threads of several blocks take turns inside the network, which from here looks as if they all
    computed. Divided, their times add up to the time in which any of them did.
    """

    lock: threading.Lock = field(default_factory=threading.Lock)
    clocks: list["BlockClock"] = field(default_factory=list)
    """Clocks of the blocks whose network computes now."""
    since: float = 0.0

    def begin(self, clock: "BlockClock") -> None:
        with self.lock:
            self._divide()
            if not clock.computing:
                self.clocks.append(clock)
            clock.computing += 1

    def end(self, clock: "BlockClock") -> None:
        with self.lock:
            self._divide()
            clock.computing -= 1
            if not clock.computing:
                self.clocks.remove(clock)

    def _divide(self) -> None:
        now = time.perf_counter()
        for clock in self.clocks:
            share = (now - self.since) / len(self.clocks)
            clock.network += share
            clock.turns += now - self.since - share
        self.since = now


METER = _Meter()
"""That of this process."""


@dataclass(eq=False)
class BlockClock:
    """Clock of one block of a slide, from its first use to `parts`."""

    slide: Slide
    loading: float = 0.0
    """Time in which models were loaded (s)."""
    network: float = 0.0
    """Time in which at least one thread computed, divided between blocks of this process (s)."""
    begun: float = field(default_factory=time.perf_counter)
    tiles_before: dict[str, float] = field(init=False)
    turns: float = 0.0
    """Time in which its threads waited for the network while those of other blocks computed."""
    computing: int = 0
    """Number of threads that compute, or wait for their turn."""

    def __post_init__(self) -> None:
        self.tiles_before = self.slide.tile_seconds

    @contextmanager
    def load(self) -> Iterator[None]:
        """Count the time inside as loading."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.loading += time.perf_counter() - start

    def watch(self, predictor: Predictor) -> Predictor:
        """Return the same predictor; its time is counted."""
        return replace(
            predictor,
            forward=self._timed(predictor.forward),
            members=tuple(map(self._timed, predictor.members)),
        )

    def watch_tiles(self, predictor: TilesT) -> TilesT:
        """Return the same predictor; its time is counted."""
        return replace(
            predictor,
            members=tuple(
                replace(
                    member,
                    started=member.started._replace(forward=self._timed(member.started.forward)),
                )
                for member in predictor.members
            ),
        )

    def watch_encoder(self, encoder: Encoder) -> Encoder:
        """Return the same encoder; its time is counted."""
        watched = replace(encoder, encode=self._timed(encoder.encode))
        vars(watched)["length"] = encoder.length  # else the copy would encode to find it
        return watched

    @property
    def parts(self) -> dict[str, float]:
        """Seconds since the clock began: network, its turns of other blocks, loading, and waiting
        for pixels, which is the rest: what the network had to wait for. "read" and "decode" are
        seconds of other threads, most of them beside the network."""
        tiles = {
            name: seconds - self.tiles_before[name]
            for name, seconds in self.slide.tile_seconds.items()
        }
        pixels = time.perf_counter() - self.begun - self.loading - self.network - self.turns
        return {
            "network": self.network,
            "turns": self.turns,
            "loading": self.loading,
            "pixels": max(0.0, pixels),
            **tiles,
        }

    def _timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any) -> Any:
            METER.begin(self)
            try:
                return function(*arguments)
            finally:
                METER.end(self)

        return timed
