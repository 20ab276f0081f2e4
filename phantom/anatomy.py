"""Layout of one slide: tissue, lymphoid tissue with follicles, fat, lesions, and nests in
lesions."""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray
from shapely.geometry import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry

from .lattice import Floats, Grid, fractal, noise, scatter
from .lesions import IslandContent, Lesion, grow_decoys, grow_lesions
from .plan import PhantomSlide

Mask = NDArray[np.bool_]
_FOLLICLE_UM = (75.0, 210.0)
_SECTION_UM = 15_000.0


@dataclass(frozen=True, kw_only=True)
class Character:
    """Parameters in which the tissue of slides differs; none of them depends on the label."""

    lymphoid: float
    fat: float
    follicles: float
    cellularity: float
    stroma_eosin: float
    ducts: float
    nest_period_um: float
    septa: float
    lumens: float
    crowding: float

    @classmethod
    def of_slide(cls, plan: PhantomSlide) -> "Character":
        rng = plan.rng("character")
        return cls(
            lymphoid=rng.uniform(-0.7, 1.1),
            fat=rng.uniform(-1.8, -0.6),
            follicles=rng.uniform(0.45, 0.95),
            cellularity=rng.uniform(0.6, 1.1),
            stroma_eosin=rng.uniform(0.22, 0.38),
            ducts=rng.uniform(0.0, 0.7),
            nest_period_um=rng.uniform(60, 130),
            septa=rng.uniform(0.08, 0.4),
            lumens=rng.uniform(0.0, 0.6),
            crowding=rng.uniform(0.9, 1.1),
        )


@dataclass(frozen=True, kw_only=True)
class Compartments:
    """Tissue compartments at the samples of a grid (rows, columns)."""

    depth_um: Floats
    """Approximate distance to the tissue's edge; negative on glass."""
    lymphoid: Floats
    """Share of lymphoid tissue against fibrous stroma, 0 to 1."""
    follicle: Floats
    """Dense mantle of a follicle, 0 to 1."""
    germinal: Floats
    """Pale centre of a follicle, 0 to 1."""
    fat: Mask
    lesion: Mask
    """Tumour, and benign nests."""
    nest: Mask
    """Nests of cells; the rest of a lesion is septa."""
    benign: Mask
    """Nests whose cells are benign."""
    necrosis: Mask


@dataclass(frozen=True)
class Anatomy:
    """Layout of one slide. Lengths in µm are converted to level-0 px at the slide's µm/px."""

    plan: PhantomSlide

    @cached_property
    def character(self) -> Character:
        return Character.of_slide(self.plan)

    def px(self, length_um: float) -> float:
        """Convert a length to level-0 px."""
        return length_um / self.plan.mpp

    @cached_property
    def lesions(self) -> tuple[Lesion, ...]:
        room_um, step_px = self._room
        return grow_lesions(self.plan, room_um=room_um, step_px=step_px)

    @cached_property
    def decoys(self) -> tuple[Lesion, ...]:
        """Benign nests, which no annotation outlines."""
        room_um, step_px = self._room
        return grow_decoys(self.plan, room_um=room_um, step_px=step_px, apart_from=self.lesions)

    @cached_property
    def _room(self) -> tuple[Floats, int]:
        """Distance to the tissue's edge, µm, negative outside, and the step of its samples,
        level-0 px."""
        step_px = max(8, max(self.plan.width_px, self.plan.height_px) // 1500)
        columns, rows = (-(-side // step_px) for side in (self.plan.width_px, self.plan.height_px))
        grid = Grid.over(x=0, y=0, width=columns * step_px, height=rows * step_px, step=step_px)
        tissue = np.pad((self.depth_um(grid) > 0).astype(np.uint8), 1)
        room = cv2.distanceTransform(tissue, cv2.DIST_L2, 5)[1:-1, 1:-1]
        return room * np.float32(step_px * self.plan.mpp), step_px

    @cached_property
    def _sections(self) -> list[tuple[float, float, float, float, float]]:
        """Pieces of tissue: centre x, y, half axes (level-0 px), and angle."""
        rng = self.plan.rng("sections")
        width, height = self.plan.width_px, self.plan.height_px
        columns = max(1, round(width / self.px(_SECTION_UM)))
        rows = max(1, round(height / self.px(_SECTION_UM)))
        cell_w, cell_h = width / columns, height / rows
        return [
            (
                cell_w * (column + rng.uniform(0.46, 0.54)),
                cell_h * (row + rng.uniform(0.46, 0.54)),
                min(cell_w, cell_h) * rng.uniform(0.38, 0.46),
                min(cell_w, cell_h) * rng.uniform(0.32, 0.42),
                rng.uniform(0, np.pi),
            )
            for row in range(rows)
            for column in range(columns)
            if columns * rows == 1 or rng.random() < 0.85
        ]

    def depth_um(self, grid: Grid) -> Floats:
        """Approximate distance to the tissue's edge: ellipses, roughened at every scale."""
        depth_px = np.full((grid.y.size, grid.x.size), -np.inf, np.float32)
        for x, y, long_px, short_px, angle in self._sections:
            dx, dy = (grid.x - x)[None, :], (grid.y - y)[:, None]
            along, across = (
                dx * np.cos(angle) + dy * np.sin(angle),
                dy * np.cos(angle) - dx * np.sin(angle),
            )
            inside = 1 - np.hypot(along / long_px, across / short_px)
            depth_px = np.maximum(depth_px, (inside * short_px).astype(np.float32))
        longest_px = min(self.plan.width_px, self.plan.height_px, self.px(_SECTION_UM)) / 2.5
        # Octaves finer than the grid are invisible, and cost gigabytes on a whole slide.
        shortest_px = max(self.px(6), float(grid.x[1] - grid.x[0]))
        rough = fractal(
            self.plan.key("outline"), grid, longest_px=longest_px, shortest_px=shortest_px
        )
        depth_px = depth_px + rough * np.float32(0.16 * longest_px)
        # Keep tissue away from the slide's border, without a straight edge.
        across = np.minimum(grid.x, self.plan.width_px - grid.x)[None, :]
        down = np.minimum(grid.y, self.plan.height_px - grid.y)[:, None]
        near_px = np.maximum(0.1 * longest_px - np.minimum(across, down), 0).astype(np.float32)
        return (depth_px - 2 * near_px) * np.float32(self.plan.mpp)

    def at(self, grid: Grid) -> Compartments:
        """Compartments at the samples of a grid with equal steps in x and y."""
        plan, character = self.plan, self.character
        depth_um = self.depth_um(grid)
        lymph = fractal(
            plan.key("lymphoid"), grid, longest_px=self.px(800), shortest_px=self.px(60)
        )
        lymphoid = np.clip(
            0.5 + 1.4 * (lymph + character.lymphoid - np.exp(-np.maximum(depth_um, 0) / 60)), 0, 1
        )
        fat = (
            fractal(plan.key("fat"), grid, longest_px=self.px(700), shortest_px=self.px(60))
            + character.fat
            > 0
        )
        follicle, germinal = self._follicles(grid, lymphoid)
        lesion, nest = self._nests(grid, self.lesions)
        benign = np.zeros_like(nest)
        if self.decoys:
            decoy, benign = self._nests(grid, self.decoys)
            lesion, nest = lesion | decoy, nest | benign
        necrosis = self._islands(grid, "necrosis")
        fat = (fat | self._islands(grid, "fat")) & (depth_um > 0) & ~lesion & ~necrosis
        normal = (depth_um > 0) & ~(fat | lesion | necrosis)
        return Compartments(
            depth_um=depth_um,
            lymphoid=lymphoid * normal,
            follicle=follicle * normal,
            germinal=germinal * normal,
            fat=fat,
            lesion=lesion,
            nest=nest,
            benign=benign,
            necrosis=necrosis,
        )

    def _follicles(self, grid: Grid, lymphoid: Floats) -> tuple[Floats, Floats]:
        plan, (low_um, high_um) = self.plan, _FOLLICLE_UM
        centres = scatter(
            plan.key("follicles"),
            grid,
            spacing_px=self.px(430),
            margin_px=self.px(1.3 * high_um),
            jitter=0.7,
        )
        centres = centres.only(centres.mark(0) < self.character.follicles)
        radii_px = self.px(1) * centres.between(1, low_um, high_um)
        nearest_squared = np.full((grid.y.size, grid.x.size), 81.0, np.float32)
        for x, y, radius_px, flat in zip(
            centres.x, centres.y, radii_px, centres.between(2, 0.75, 1.0), strict=True
        ):
            across = ((grid.x - x) / radius_px).astype(np.float32) ** 2
            down = ((grid.y - y) / (radius_px * flat)).astype(np.float32) ** 2
            np.minimum(nearest_squared, across[None, :] + down[:, None], out=nearest_squared)
        nearest = np.sqrt(nearest_squared)
        nearest += 0.13 * noise(plan.key("follicle outline"), grid, period_px=self.px(70))
        # A follicle thins out at the edge of the lymphoid tissue around it.
        within = np.clip((1 - nearest) * 6, 0, 1) * np.clip(lymphoid * 2.5, 0, 1)
        germinal = np.clip((0.58 - nearest) * 7, 0, 1) * within
        return (within - germinal).astype(np.float32), germinal.astype(np.float32)

    def _nests(self, grid: Grid, lesions: tuple[Lesion, ...]) -> tuple[Mask, Mask]:
        """Tell which samples lie in lesions, and which in their nests of cells."""
        lesion = np.zeros((grid.y.size, grid.x.size), bool)
        nest = np.zeros_like(lesion)
        near = [found for found in lesions if _overlaps(found.polygon, grid)]
        if not near:
            return lesion, nest
        period_px = self.px(self.character.nest_period_um)
        cords = (
            np.abs(noise(self.plan.key("nests"), grid, period_px=period_px)) > self.character.septa
        )
        for found in near:
            mask = rasterise(found.drawn, grid)
            lesion |= mask
            # Septa would erase a cluster of a few cells.
            nest |= mask & cords if found.length_um > 250 else mask
        return lesion, nest

    def _islands(self, grid: Grid, content: IslandContent) -> Mask:
        rings = [
            Polygon(ring)
            for found in (*self.lesions, *self.decoys)
            if _overlaps(found.polygon, grid)
            for held, ring in zip(found.islands, found.polygon.interiors, strict=True)
            if held == content
        ]
        return rasterise(MultiPolygon(rings), grid)


def rasterise(shape: BaseGeometry, grid: Grid) -> Mask:
    """Tell which samples of a regular grid lie in polygons, given in level-0 px."""
    mask = np.zeros((grid.y.size, grid.x.size), np.uint8)
    step = grid.x[1] - grid.x[0]
    parts = shape.geoms if isinstance(shape, MultiPolygon) else [shape]
    for part in parts:
        if isinstance(part, Polygon) and not part.is_empty:
            rings = [np.asarray(ring.coords)[:, :2] for ring in (part.exterior, *part.interiors)]
            # cv2 counts from px centres, here in sixteenths; its even-odd fill leaves holes empty.
            points = [
                np.rint((ring - [grid.x[0], grid.y[0]]) / step * 16).astype(np.int32)
                for ring in rings
            ]
            cv2.fillPoly(mask, points, 1, lineType=cv2.LINE_8, shift=4)
    return mask.astype(bool)


def _overlaps(shape: Polygon, grid: Grid) -> bool:
    low_x, low_y, high_x, high_y = shape.bounds
    return bool(
        low_x <= grid.x[-1] and high_x >= grid.x[0] and low_y <= grid.y[-1] and high_y >= grid.y[0]
    )
