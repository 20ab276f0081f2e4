"""Randomness that depends on position: noise and scattered points.

Every value is a hash of a key and of integer lattice coordinates. So neighbouring blocks agree at
their border, and the order of drawing changes no pixel.

Frame: level-0 px of the slide, x to the right, y down.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_B_SPLINE_NOISE_GAIN = 3.6  # restores a standard deviation of about 1 after interpolation


def key_of(*parts: object) -> int:
    """64-bit key of a purpose, e.g. `key_of(seed, slide, "follicles")`; equal on every machine."""
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def uniform(
    key: int, column: NDArray[np.int64], row: NDArray[np.int64], *, mark: int = 0
) -> Floats:
    """One number in [0, 1) per lattice node (broadcast of column and row); mark numbers independent
    draws."""
    mixed = column.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    mixed = mixed ^ (row.astype(np.uint64) * np.uint64(0xC2B2AE3D27D4EB4F))
    mixed = mixed ^ np.uint64((key + mark * 0xD6E8FEB86659FD93) & 0xFFFFFFFFFFFFFFFF)
    # The finaliser of SplitMix64 (Steele et al. 2014).
    for multiplier in (0xBF58476D1CE4E5B9, 0x94D049BB133111EB):
        mixed = (mixed ^ (mixed >> np.uint64(31))) * np.uint64(multiplier)
    return ((mixed >> np.uint64(40)).astype(np.float32)) * np.float32(2.0**-24)


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Sample centres of a regular raster: `x` of its columns, `y` of its rows."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]

    @classmethod
    def over(cls, *, x: int, y: int, width: int, height: int, step: int) -> "Grid":
        """Samples `step` px apart whose footprints tile a rectangle; width and height are multiples
        of `step`."""
        return cls(
            x=x + step * (np.arange(width // step, dtype=np.float64) + 0.5),
            y=y + step * (np.arange(height // step, dtype=np.float64) + 0.5),
        )


def noise(key: int, grid: Grid, *, period_px: float) -> Floats:
    """Smooth noise (rows, columns), mean 0, standard deviation about 1: a cubic B-spline over a
    random lattice."""
    first_column, columns, across = _spline_taps(grid.x, period_px=period_px)
    first_row, rows, down = _spline_taps(grid.y, period_px=period_px)
    lattice_columns = first_column + np.arange(columns[-1] + 4)
    lattice_rows = first_row + np.arange(rows[-1] + 4)
    values = uniform(key, lattice_columns[None, :], lattice_rows[:, None]) * 2 - 1
    tall = np.zeros((rows.size, lattice_columns.size), np.float32)
    for tap in range(4):
        tall += down[tap][:, None] * values[rows + tap]
    wide = np.zeros((rows.size, columns.size), np.float32)
    for tap in range(4):
        wide += across[tap][None, :] * tall[:, columns + tap]
    return wide * np.float32(_B_SPLINE_NOISE_GAIN)


def fractal(key: int, grid: Grid, *, longest_px: float, shortest_px: float) -> Floats:
    """Octaves of noise from the longest period to the shortest; each has a third of the period and
    0.42 of the amplitude of the one before.

    The unit is the standard deviation of the longest octave.
    """
    total = np.zeros((grid.y.size, grid.x.size), np.float32)
    period_px, octave = longest_px, 0
    while period_px >= shortest_px:
        total += noise(key + octave, grid, period_px=period_px) * np.float32(0.42**octave)
        period_px, octave = period_px / 3, octave + 1
    return total


def _spline_taps(
    positions: NDArray[np.float64], *, period_px: float
) -> tuple[int, NDArray[np.int64], list[Floats]]:
    """First lattice node, index of the first of four taps relative to it, and the four weights per
    position."""
    scaled = positions / period_px
    cell = np.floor(scaled).astype(np.int64)
    t = scaled - cell
    weights = [
        (1 - t) ** 3 / 6,
        (3 * t**3 - 6 * t**2 + 4) / 6,
        (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6,
        t**3 / 6,
    ]
    first = int(cell[0]) - 1
    return first, cell - cell[0], [weight.astype(np.float32) for weight in weights]


@dataclass(frozen=True, kw_only=True)
class Scatter:
    """Points, one per lattice node; their marks decide everything else about them."""

    key: int
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    column: NDArray[np.int64]
    row: NDArray[np.int64]

    def __len__(self) -> int:
        return self.x.size

    def mark(self, number: int) -> Floats:
        """The points' independent draw with that number, uniform in [0, 1)."""
        return uniform(self.key, self.column, self.row, mark=number + 3)

    def between(self, number: int, low: float, high: float) -> Floats:
        """The points' draw with that number, uniform in [low, high)."""
        return low + (high - low) * self.mark(number)

    def only(self, chosen: NDArray[np.bool_]) -> "Scatter":
        """Select points, with their marks."""
        return Scatter(
            key=self.key,
            x=self.x[chosen],
            y=self.y[chosen],
            column=self.column[chosen],
            row=self.row[chosen],
        )


def scatter(key: int, grid: Grid, *, spacing_px: float, margin_px: float, jitter: float) -> Scatter:
    """Points of a jittered hexagonal lattice over the grid's rectangle and margin_px around it.

    Args:
        key: Key of the lattice.
        grid: Grid whose rectangle is covered.
        spacing_px: Distance between neighbours before the jitter.
        margin_px: Distance outside the rectangle up to which points are included.
        jitter: Width of the displacement, as a share of the spacing.
    """
    rise_px = spacing_px * 0.8660254
    reach_px = margin_px + spacing_px
    columns = np.arange(
        np.floor((grid.x[0] - reach_px) / spacing_px), np.ceil((grid.x[-1] + reach_px) / spacing_px)
    )
    rows = np.arange(
        np.floor((grid.y[0] - reach_px) / rise_px), np.ceil((grid.y[-1] + reach_px) / rise_px)
    )
    column, row = (
        axis.ravel() for axis in np.meshgrid(columns.astype(np.int64), rows.astype(np.int64))
    )
    x = (column + 0.5 * (row % 2) + jitter * (uniform(key, column, row, mark=1) - 0.5)) * spacing_px
    y = (row + jitter * (uniform(key, column, row, mark=2) - 0.5)) * rise_px
    return Scatter(key=key, x=x.astype(np.float64), y=y.astype(np.float64), column=column, row=row)
