"""Design of a study: its points and cells, and the pairs that it compares."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from .cell import ALL, Axis, Cell
from .settings import SampledSettings, StudySettings
from .splits import Split

__all__ = ["Design", "Point", "list_sizes", "make_design"]

SMALLEST = 6
Point = tuple[tuple[str, Axis], ...]
"""Axes of cells that differ in repeat, fold and seed only."""


@dataclass(frozen=True, kw_only=True)
class Design:
    """Trainings of a study, and the comparisons between them."""

    points: tuple[Point, ...]
    seeds: Mapping[Point, int]
    pairs: tuple[tuple[Point, Point], ...]
    """Points compared: the family of tests of the primary figure."""
    summaries: Mapping[Point, tuple[Point, ...]] = field(default_factory=dict)
    """Points whose figures are means over the trainings of several others, and these others."""

    def cells(self, splits: Sequence[Split]) -> list[Cell]:
        """List every cell, the first seed of every point first: a study that was stopped has whole
        seeds to show."""
        return [
            Cell(axes=point, repeat=split.repeat, fold=split.fold, seed=seed)
            for seed in range(max(self.seeds.values()))
            for point in self.points
            for split in splits
            if seed < self.seeds[point]
        ]


def list_sizes(given: Sequence[int], most: int) -> list[int | str]:
    """List sizes below all, and all; a size close to all says nothing new."""
    if given:
        return [*(size for size in given if size < most), ALL]
    return [*_double(SMALLEST, most), ALL]


def make_design(
    points: Sequence[Point],
    settings: StudySettings,
    pairs: Sequence[tuple[Point, Point]],
) -> Design:
    """Lay out points with the number of seeds that the settings give each."""

    def count(point: Point) -> int:
        if isinstance(settings, SampledSettings):
            size = point[1][1]
            return settings.count_seeds(size if isinstance(size, int) else ALL)
        return settings.seeds

    return Design(
        points=tuple(points),
        seeds={point: count(point) for point in points},
        pairs=tuple(pairs),
    )


def _double(first: int, most: int) -> Iterator[int]:
    size = first
    while size < 0.75 * most:
        yield size
        size *= 2
