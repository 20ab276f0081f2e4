"""Cells of a slide scored in the mode that the settings ask for."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ..models import DensePredictor, Predictor
from ..wsi import CellGrid, CellStatus, Slide, StainFit
from .dense_tiles import score_dense
from .score import WindowScores, score_windows
from .settings import PredictSettings

__all__ = ["FastScorer", "Networks"]

COARSE = 2  # cells along the side of a square that the coarse first pass scores as one
NEIGHBOURS = [(row, column) for row in (-1, 0, 1) for column in (-1, 0, 1)]


@dataclass(frozen=True, kw_only=True)
class Networks:
    """Functions that load a model; a fast mode may need only one of its two forms."""

    patches: Callable[[], Predictor]
    dense: Callable[[], DensePredictor]


@dataclass(frozen=True, kw_only=True)
class FastScorer:
    """Scores cells of one slide in a fast mode."""

    slide: Slide
    grid: CellGrid
    status: np.ndarray
    """Status of all cells of the slide before any is scored, (rows, columns) uint8."""
    networks: Networks
    settings: PredictSettings
    stain: StainFit | None = None
    threads: int = 1

    def score(self, cells: np.ndarray) -> WindowScores:
        """Score cells (N, 2) (row, column).

        In mode fast, neighbours count, also those that are not among the cells. So scores do not
        depend on what other cells are scored with them.
        """
        if self.settings.mode == "fastest":
            return _as_first_pass(self._first_pass(cells))
        find = self._find_peaks if self.settings.needs_dense else self._find_near_likely
        first, at = find(cells)
        scores = _as_first_pass(first)
        if at.any():
            _put(scores, at, self._score(cells[at], orientations=self.settings.orientations))
        return scores

    def _find_near_likely(self, cells: np.ndarray) -> tuple[WindowScores, np.ndarray]:
        """Return the first pass over cells (N, 2), and which of them are likely or have a likely
        neighbour, (N,) bool."""
        seen = np.concatenate([cells, _ring(cells, self.status)])
        first = self._first_pass(seen)
        near = _with_neighbours(seen, self._is_likely(first.probability), self.status.shape)
        return _pick(first, np.arange(len(cells))), near[: len(cells)]

    def _find_peaks(self, cells: np.ndarray) -> tuple[WindowScores, np.ndarray]:
        """Return the first pass over cells (N, 2), and which of them are likely and not clearly
        lower than a neighbour, (N,) bool.

        Neighbours that are not among the cells are scored only where they can change the answer.
        """
        first = self._first_pass(cells)
        probability = first.probability
        at = self._is_likely(probability) & ~self._is_lower(cells, probability)
        unseen = self.status.copy()
        unseen[tuple(cells.T)] = CellStatus.FIRST_PASS
        beyond = _ring(cells[at], unseen)
        if len(beyond):
            seen = np.concatenate([cells, beyond])
            probability = np.concatenate([probability, self._first_pass(beyond).probability])
            at &= ~self._is_lower(seen, probability)[: len(cells)]
        return first, at

    def _is_likely(self, probability: np.ndarray) -> np.ndarray:
        return ~(probability <= self.settings.exact_above)  # NaN too: it may succeed now

    def _is_lower(self, cells: np.ndarray, probability: np.ndarray) -> np.ndarray:
        """Tell which cells (N, 2) one of the others next to them clearly exceeds, (N,) bool; none
        that is NaN."""
        below = _highest_around(cells, probability, self.status.shape) - _log_odds(probability)
        return below > self.settings.exact_within

    def _first_pass(self, cells: np.ndarray) -> WindowScores:
        """Score cells quickly, in one orientation."""
        if self.settings.needs_dense:
            return score_dense(
                self.slide,
                self.grid,
                cells,
                self.networks.dense(),
                self.settings,
                stain=self.stain,
                threads=self.threads,
            )
        if self.settings.first_pass == "one-orientation":
            return self._score(cells, orientations=1)
        squares, square_of = np.unique(cells // COARSE, axis=0, return_inverse=True)
        scores = self._score(squares * COARSE + (COARSE - 1) / 2, orientations=1)
        return _pick(scores, square_of.reshape(-1))

    def _score(self, cells: np.ndarray, *, orientations: int) -> WindowScores:
        return score_windows(
            self.slide,
            self.grid.windows_xy(cells),
            self.networks.patches(),
            self.settings.model_copy(update={"orientations": orientations}),
            stain=self.stain,
            threads=self.threads,
        )


def _ring(cells: np.ndarray, status: np.ndarray) -> np.ndarray:
    """Neighbours of cells that are to be scored too and are not among them, (M, 2)."""
    inside = np.zeros(np.add(status.shape, 2), bool)
    for row, column in NEIGHBOURS:
        inside[cells[:, 0] + 1 + row, cells[:, 1] + 1 + column] = True
    inside = inside[1:-1, 1:-1] & (status == CellStatus.NOT_YET)
    inside[tuple(cells.T)] = False
    return np.argwhere(inside)


def _with_neighbours(
    cells: np.ndarray, is_likely: np.ndarray, shape: tuple[int, ...]
) -> np.ndarray:
    """Tell which cells (N, 2) are likely or have a likely neighbour, (N,) bool."""
    around = np.zeros(np.add(shape, 2), bool)
    likely = cells[is_likely]
    for row, column in NEIGHBOURS:
        around[likely[:, 0] + 1 + row, likely[:, 1] + 1 + column] = True
    return around[cells[:, 0] + 1, cells[:, 1] + 1]


def _log_odds(probability: np.ndarray) -> np.ndarray:
    inside = probability.astype(np.float64).clip(1e-6, 1 - 1e-6)
    return np.log(inside / (1 - inside))


def _highest_around(
    cells: np.ndarray, probability: np.ndarray, shape: tuple[int, ...]
) -> np.ndarray:
    """Return the highest log-odds of each of the cells (N, 2) and its neighbours, (N,) float64."""
    log_odds = np.full(np.add(shape, 2), -np.inf)
    log_odds[tuple(cells.T + 1)] = np.nan_to_num(_log_odds(probability), nan=-np.inf)
    rows, columns = cells.T + 1
    return np.max([log_odds[rows + row, columns + column] for row, column in NEIGHBOURS], axis=0)


def _as_first_pass(scores: WindowScores) -> WindowScores:
    status = np.where(scores.status == CellStatus.SCORED, CellStatus.FIRST_PASS, scores.status)
    return replace(scores, status=status.astype(np.uint8))


def _pick(scores: WindowScores, indices: np.ndarray) -> WindowScores:
    return WindowScores(
        probability=scores.probability[indices],
        status=scores.status[indices],
        spread=None if scores.spread is None else scores.spread[indices],
    )


def _put(scores: WindowScores, at: np.ndarray, others: WindowScores) -> None:
    scores.probability[at] = others.probability
    scores.status[at] = others.status
    if scores.spread is not None and others.spread is not None:
        scores.spread[at] = others.spread
