"""Structures with an outline: fat cells, vessels, ducts, lumens of tumour glands, dirt on the
glass."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import Voronoi
from shapely.geometry import Polygon

from .anatomy import Anatomy, Compartments
from .lattice import Grid, Scatter, scatter
from .nuclei import StampSet

WIDE_STEP_PX = 16
"""Spacing of the samples of a grid that reaches beyond the block, for the centres of structures."""
REACH_UM = 160.0
"""Largest distance outside a block of the centre of a structure that reaches into it."""
_FAT_SPACING_UM = 56.0


@dataclass(frozen=True, kw_only=True)
class Canvas:
    """Layers of one block, all of one size; (x, y) is the top left, level-0 px."""

    x: int
    y: int
    amounts: NDArray[np.uint8]
    """Haematoxylin and eosin of the texture (rows, columns, 2)."""
    nuclei: NDArray[np.uint8]
    """Haematoxylin and opacity of the nuclei (rows, columns, 2)."""
    empty: NDArray[np.uint8]
    """255 where there is no tissue (rows, columns)."""


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """Compartments of a block and its neighbourhood, coarsely sampled."""

    grid: Grid
    compartments: Compartments

    def value(self, layer: NDArray, points: Scatter) -> NDArray:
        """Value of a layer at each point; points outside get the border's value."""
        return sample(layer, self.grid, points)


def sample(layer: NDArray, grid: Grid, points: Scatter) -> NDArray:
    """Value of the nearest sample for each point."""
    step = grid.x[1] - grid.x[0]
    columns = np.clip(np.rint((points.x - grid.x[0]) / step).astype(np.int64), 0, grid.x.size - 1)
    rows = np.clip(np.rint((points.y - grid.y[0]) / step).astype(np.int64), 0, grid.y.size - 1)
    return layer[rows, columns]


def paint_fat(anatomy: Anatomy, around: Surroundings, canvas: Canvas) -> None:
    """Paint fat cells: cells of a Voronoi diagram, rounded, empty except for their membranes."""
    if not around.compartments.fat.any():
        return
    spacing_px = anatomy.px(_FAT_SPACING_UM)
    points = scatter(
        anatomy.plan.key("fat cells"), around.grid, spacing_px=spacing_px, margin_px=0, jitter=0.75
    )
    diagram = Voronoi(np.stack([points.x, points.y], axis=1))
    is_fat = around.value(around.compartments.fat, points)
    thick_px = anatomy.px(1) * points.between(1, 0.5, 1.3)
    for index in np.flatnonzero(is_fat):
        region = diagram.regions[diagram.point_region[index]]
        if -1 in region or len(region) < 3:
            continue
        cell = Polygon(diagram.vertices[region])
        if cell.area > 2 * spacing_px**2:
            continue
        corner_px = anatomy.px(9)
        cell = cell.buffer(-thick_px[index] - corner_px, quad_segs=4).buffer(corner_px, quad_segs=4)
        if isinstance(cell, Polygon) and not cell.is_empty:
            _fill(canvas.empty, np.asarray(cell.exterior.coords) - [canvas.x, canvas.y], 255)


@dataclass(frozen=True, kw_only=True)
class _Tube:
    """A vessel or a duct in cross section; canvas px."""

    centre: tuple[float, float]
    inner_px: NDArray[np.float64]
    """Half axes of the bore."""
    wall_px: float
    angle: float
    is_duct: bool
    is_bloody: bool
    rng: np.random.Generator

    @property
    def bore(self) -> NDArray[np.float64]:
        return _ellipse(self.centre, self.inner_px, self.angle)

    @property
    def wall(self) -> NDArray[np.float64]:
        return _ellipse(self.centre, self.inner_px + self.wall_px, self.angle)


def paint_tubes(
    anatomy: Anatomy,
    around: Surroundings,
    canvas: Canvas,
    *,
    lining: StampSet,
    epithelium: StampSet,
) -> None:
    """Paint vessels (thin wall, flat nuclei, sometimes blood) and ducts (tall even epithelium: the
    benign decoy)."""
    for tube in _tubes(anatomy, around, canvas):
        _fill_amounts(canvas, tube.wall, (14, 30) if tube.is_duct else (6, 52))
        _fill(canvas.empty, tube.bore, 255)
        if tube.is_bloody:
            _paint_blood(anatomy, canvas, tube)
        if tube.is_duct:
            _line_wall(canvas, epithelium, tube, spacing_px=anatomy.px(5.6))
        else:
            _line_wall(canvas, lining, tube, spacing_px=anatomy.px(16))


def _tubes(anatomy: Anatomy, around: Surroundings, canvas: Canvas) -> Iterator[_Tube]:
    points = scatter(
        anatomy.plan.key("tubes"), around.grid, spacing_px=anatomy.px(150), margin_px=0, jitter=0.8
    )
    at = around.compartments
    collagen = (around.value(at.lymphoid, points) < 0.35) & (around.value(at.depth_um, points) > 70)
    free = ~around.value(at.fat | at.lesion | at.necrosis, points)
    points = points.only(collagen & free & (points.mark(0) < 0.5))
    is_duct = points.mark(1) < anatomy.character.ducts
    wide = points.mark(2) ** 2
    inner_um = np.where(is_duct, 8 + 30 * wide, 5 + 38 * wide)
    wall_um = np.where(is_duct, 15 + 6 * points.mark(3), 2.5 + 7 * points.mark(3))
    flat, angle, is_bloody = (
        points.between(4, 0.5, 1.0),
        points.mark(5) * np.pi,
        points.mark(6) < 0.45,
    )
    for n, seed in enumerate(points.mark(7)):
        yield _Tube(
            centre=(points.x[n] - canvas.x, points.y[n] - canvas.y),
            inner_px=np.array([inner_um[n], inner_um[n] * flat[n]]) / anatomy.plan.mpp,
            wall_px=anatomy.px(wall_um[n]),
            angle=angle[n],
            is_duct=bool(is_duct[n]),
            is_bloody=bool(is_bloody[n] and not is_duct[n]),
            rng=np.random.default_rng(int(seed * 2**24)),
        )


def _paint_blood(anatomy: Anatomy, canvas: Canvas, tube: _Tube) -> None:
    """Paint red cells in the bore with pale plasma between them."""
    _fill(canvas.empty, tube.bore, 110)
    count = int(np.prod(tube.inner_px) * anatomy.plan.mpp**2 / 9)
    radius = np.sqrt(tube.rng.uniform(0, 0.8, count)) * tube.inner_px.min()
    turn = tube.rng.uniform(0, 2 * np.pi, count)
    for x, y in zip(
        tube.centre[0] + radius * np.cos(turn), tube.centre[1] + radius * np.sin(turn), strict=True
    ):
        cell = _ellipse((x, y), np.array([3.2, 2.8]) / anatomy.plan.mpp, 0.0)
        _fill_amounts(canvas, cell, (2, int(tube.rng.integers(70, 95))))
        _fill(canvas.empty, cell, 0)


def _line_wall(canvas: Canvas, stamps: StampSet, tube: _Tube, *, spacing_px: float) -> None:
    """Place nuclei in the wall: along it in a vessel, across it in a duct."""
    middle = tube.inner_px + tube.wall_px * (0.62 if tube.is_duct else 0.5)
    count = max(3, round(np.pi * middle.sum() / spacing_px))
    turn = 2 * np.pi * (np.arange(count) + tube.rng.uniform(-0.25, 0.25, count)) / count
    along, beside = middle[0] * np.cos(turn), middle[1] * np.sin(turn)
    x = tube.centre[0] + along * np.cos(tube.angle) - beside * np.sin(tube.angle)
    y = tube.centre[1] + along * np.sin(tube.angle) + beside * np.cos(tube.angle)
    direction = np.arctan2(middle[1] * np.cos(turn), -middle[0] * np.sin(turn)) + tube.angle
    stamps.place(
        canvas.nuclei, x, y, direction + (np.pi / 2 if tube.is_duct else 0), tube.rng.random(count)
    )


def paint_lumens(anatomy: Anatomy, around: Surroundings, canvas: Canvas) -> None:
    """Paint small irregular lumens in tumour nests."""
    if not around.compartments.nest.any():
        return
    points = scatter(
        anatomy.plan.key("lumens"), around.grid, spacing_px=anatomy.px(58), margin_px=0, jitter=0.6
    )
    points = points.only(
        around.value(around.compartments.nest, points) & (points.mark(0) < anatomy.character.lumens)
    )
    length_um, flat, angle = (
        points.between(1, 5, 17),
        points.between(2, 0.35, 0.9),
        points.mark(3) * np.pi,
    )
    for n in range(len(points)):
        axes = np.array([length_um[n], length_um[n] * flat[n]]) / anatomy.plan.mpp
        _fill(
            canvas.empty,
            _ellipse((points.x[n] - canvas.x, points.y[n] - canvas.y), axes, angle[n]),
            235,
        )


def dirt(
    anatomy: Anatomy, grid: Grid, shape: tuple[int, ...], *, x: int, y: int
) -> NDArray[np.uint8] | None:
    """Light absorbed by dirt on the glass (rows, columns), of 255; None if there is no dirt.

    Dirt is specks, blurred shadows of dust above the focus, and sometimes a fibre.
    """
    points = scatter(
        anatomy.plan.key("dirt"),
        grid,
        spacing_px=anatomy.px(240),
        margin_px=anatomy.px(150),
        jitter=0.9,
    )
    points = points.only(points.mark(0) < 0.14)
    if not len(points):
        return None
    shade = np.zeros(shape, np.uint8)
    kind, size_um, grey = points.mark(1), points.between(2, 0.8, 4.0), points.between(3, 25, 150)
    for n in range(len(points)):
        centre = np.array([points.x[n] - x, points.y[n] - y])
        rng = np.random.default_rng(int(points.mark(4)[n] * 2**24))
        if kind[n] < 0.12:  # a fibre: a bent line of constant width
            turns = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, 0.35, 14))
            steps = np.stack([np.cos(turns), np.sin(turns)], axis=1) * anatomy.px(9)
            line = np.rint((centre + np.cumsum(steps, axis=0)) * 16).astype(np.int32)
            cv2.polylines(
                shade,
                [line],
                False,
                float(grey[n] * 0.8),
                max(1, round(anatomy.px(1.2))),
                cv2.LINE_AA,
                4,
            )
        else:
            axes = np.array([size_um[n], size_um[n] * rng.uniform(0.4, 1)]) / anatomy.plan.mpp
            is_shadow = kind[n] > 0.8
            _fill(
                shade,
                _ellipse(centre, axes * (3 if is_shadow else 1), rng.uniform(0, np.pi)),
                grey[n] * (0.15 if is_shadow else 1),
            )
    return np.asarray(cv2.GaussianBlur(shade, (0, 0), max(0.6, anatomy.px(0.6))), np.uint8)


def _ellipse(centre: Sequence[float] | NDArray, axes: NDArray, angle: float) -> NDArray[np.float64]:
    turn = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    # Slightly wavy, because nothing in tissue is an exact ellipse.
    wave = (
        1
        + 0.06 * np.cos(3 * turn + 7 * angle + axes[0])
        + 0.04 * np.cos(5 * turn + 9 * angle + axes[1])
    )
    along, beside = axes[0] * wave * np.cos(turn), axes[1] * wave * np.sin(turn)
    return np.stack(
        [
            centre[0] + along * np.cos(angle) - beside * np.sin(angle),
            centre[1] + along * np.sin(angle) + beside * np.cos(angle),
        ],
        axis=1,
    )


def _fill(layer: NDArray[np.uint8], outline: NDArray[np.float64], value: float) -> None:
    cv2.fillPoly(layer, [np.rint(outline * 16).astype(np.int32)], float(value), cv2.LINE_AA, 4)


def _fill_amounts(canvas: Canvas, outline: NDArray[np.float64], amounts: tuple[int, int]) -> None:
    cv2.fillPoly(canvas.amounts, [np.rint(outline * 16).astype(np.int32)], amounts, cv2.LINE_AA, 4)
