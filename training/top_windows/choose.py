"""Choice of a slide's windows with the highest scores, in memory that does not grow with the
slide."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

__all__ = ["TopWindows", "choose_top"]


@dataclass(frozen=True, kw_only=True, eq=False)
class TopWindows:
    """Windows of a slide with the highest scores, the highest first."""

    indices: np.ndarray
    """(k,) int64."""
    scores: np.ndarray
    """(k,) float32 tumour probabilities."""
    pixels: np.ndarray
    """(k, …) uint8."""

    def __len__(self) -> int:
        return len(self.indices)


def choose_top(
    windows: Iterable[tuple[int, np.ndarray]],
    score: Callable[[np.ndarray], np.ndarray],
    *,
    top_k: int,
    batch_size: int,
) -> TopWindows | None:
    """Score windows, given as (index, pixels), and keep those with the highest scores; at a tie,
    those with the lowest index. None if there is no window.

    score: (batch_size, …) uint8 → (batch_size,); a short batch is filled with the last window, so
    that a network is compiled once. No more than batch_size + top_k windows are in memory.
    """
    best: TopWindows | None = None
    indices: list[int] = []
    pixels: list[np.ndarray] = []

    def merge() -> TopWindows:
        filled = pixels + pixels[-1:] * (batch_size - len(pixels))
        found = TopWindows(
            indices=np.array(indices, np.int64),
            scores=np.asarray(score(np.stack(filled)), np.float32)[: len(pixels)],
            pixels=np.stack(pixels),
        )
        return _keep_highest(found if best is None else _join(best, found), top_k)

    for index, window in windows:
        indices.append(index)
        pixels.append(np.array(window))  # a copy: it shares memory with its neighbours
        if len(pixels) == batch_size:
            best = merge()
            indices, pixels = [], []
    return merge() if pixels else best


def _join(one: TopWindows, other: TopWindows) -> TopWindows:
    return TopWindows(
        indices=np.concatenate([one.indices, other.indices]),
        scores=np.concatenate([one.scores, other.scores]),
        pixels=np.concatenate([one.pixels, other.pixels]),
    )


def _keep_highest(found: TopWindows, count: int) -> TopWindows:
    order = np.lexsort((found.indices, -found.scores))[:count]
    return TopWindows(
        indices=found.indices[order], scores=found.scores[order], pixels=found.pixels[order]
    )
