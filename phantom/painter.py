"""Pixels of any rectangle of one slide, at full resolution.

Blocks of BLOCK_PX on a lattice fixed to the slide are painted with a margin that is cut off, so a
px is the same in every rectangle.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from .anatomy import Anatomy, Compartments
from .lattice import Grid, Scatter, noise, scatter
from .nuclei import (
    CENTROBLAST,
    DUCT_CELL,
    FIBROBLAST,
    LYMPHOCYTE,
    NucleusKind,
    StampSet,
    benign_nucleus,
    place_points,
    tumor_nucleus,
)
from .plan import PhantomSlide
from .stain import Stain
from .structures import (
    REACH_UM,
    WIDE_STEP_PX,
    Canvas,
    Surroundings,
    dirt,
    paint_fat,
    paint_lumens,
    paint_tubes,
    sample,
)
from .texture import FINE_STEP_PX, Flow, TissueTexture, fibre_flow

BLOCK_PX = 1024
_MARGIN_UM = 24.0


class Painter:
    """Paints one slide."""

    def __init__(self, plan: PhantomSlide) -> None:
        self.plan = plan
        self.anatomy = Anatomy(plan)
        self._stain = Stain.of_slide(plan)
        self._texture = TissueTexture(self.anatomy)
        rng = plan.rng("nuclei")
        self._tumor = tumor_nucleus(rng)

        def stamps(kind: NucleusKind, variants: int) -> StampSet:
            return StampSet.of_kind(kind, rng, mpp=plan.mpp, variants=variants)

        self._lymphocytes, self._centroblasts = stamps(LYMPHOCYTE, 3), stamps(CENTROBLAST, 4)
        self._fibroblasts, self._duct_cells = stamps(FIBROBLAST, 5), stamps(DUCT_CELL, 4)
        self._tumor_cells = stamps(self._tumor, 14)
        benign = benign_nucleus(plan.rng("benign nuclei"), self._tumor)
        self._benign_cells = stamps(benign, 14) if self.anatomy.decoys else self._tumor_cells

    def region(self, *, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        """RGB (height, width, 3) of a rectangle, level-0 px."""
        rgb = np.empty((height, width, 3), np.uint8)
        for row in range(y // BLOCK_PX, -(-(y + height) // BLOCK_PX)):
            for column in range(x // BLOCK_PX, -(-(x + width) // BLOCK_PX)):
                block_x, block_y = column * BLOCK_PX, row * BLOCK_PX
                left, top = max(x, block_x), max(y, block_y)
                right, bottom = (
                    min(x + width, block_x + BLOCK_PX),
                    min(y + height, block_y + BLOCK_PX),
                )
                block = self.block(x=block_x, y=block_y, side_px=BLOCK_PX)
                rgb[top - y : bottom - y, left - x : right - x] = block[
                    top - block_y : bottom - block_y, left - block_x : right - block_x
                ]
        return rgb

    def block(self, *, x: int, y: int, side_px: int) -> NDArray[np.uint8]:
        """RGB of a square painted in one go; corner and side are multiples of WIDE_STEP_PX."""
        margin_px = _ceil_to(self.anatomy.px(_MARGIN_UM), FINE_STEP_PX)
        side = side_px + 2 * margin_px
        left, top = x - margin_px, y - margin_px
        grid = Grid.over(x=left, y=top, width=side, height=side, step=FINE_STEP_PX)
        at = self.anatomy.at(grid)
        amounts = np.zeros((side, side, 2), np.uint8)
        if (at.depth_um > -4).any():
            amounts = self._tissue(at, grid, x=left, y=top)
        inner = slice(margin_px, margin_px + side_px)
        rgb = self._stain.develop(np.ascontiguousarray(amounts[inner, inner]), x=x, y=y)
        shade = dirt(self.anatomy, grid, amounts.shape[:2], x=left, y=top)
        if shade is not None:
            light = 255 - shade[inner, inner]
            rgb = cv2.multiply(rgb, cv2.merge([light, light, light]), scale=1 / 255)
        return np.asarray(rgb, np.uint8)

    def _tissue(self, at: Compartments, grid: Grid, *, x: int, y: int) -> NDArray[np.uint8]:
        """Amounts of both stains, (rows, columns, 2), blurred by the optics."""
        flow = fibre_flow(self.anatomy, grid)
        amounts = self._texture.paint(at, flow, grid)
        side = amounts.shape[0]
        canvas = Canvas(
            x=x,
            y=y,
            amounts=amounts,
            nuclei=np.zeros_like(amounts),
            empty=np.zeros((side, side), np.uint8),
        )
        around = self._surroundings(x, y, side)
        paint_fat(self.anatomy, around, canvas)
        paint_tubes(
            self.anatomy, around, canvas, lining=self._fibroblasts, epithelium=self._duct_cells
        )
        paint_lumens(self.anatomy, around, canvas)
        self._scatter_nuclei(canvas, at, flow, grid)
        filled = cv2.multiply(amounts, cv2.merge([255 - canvas.empty] * 2), scale=1 / 255)
        haematoxylin = np.maximum(filled[..., 0], canvas.nuclei[..., 0])
        uncovered = 255 - cv2.convertScaleAbs(canvas.nuclei[..., 1], alpha=0.45)
        eosin = cv2.multiply(filled[..., 1], uncovered, scale=1 / 255)
        blurred = cv2.GaussianBlur(cv2.merge([haematoxylin, eosin]), (0, 0), self._stain.blur_px)
        return np.asarray(blurred, np.uint8)

    def _surroundings(self, x: int, y: int, side: int) -> Surroundings:
        reach_px = _ceil_to(self.anatomy.px(REACH_UM), WIDE_STEP_PX)
        left, top = (corner // WIDE_STEP_PX * WIDE_STEP_PX - reach_px for corner in (x, y))
        wide = _ceil_to(side + WIDE_STEP_PX, WIDE_STEP_PX) + 2 * reach_px
        grid = Grid.over(x=left, y=top, width=wide, height=wide, step=WIDE_STEP_PX)
        return Surroundings(grid=grid, compartments=self.anatomy.at(grid))

    def _scatter_nuclei(self, canvas: Canvas, at: Compartments, flow: Flow, grid: Grid) -> None:
        """Place every nucleus outside of structures, by kind and density."""
        cells = self.anatomy.character.cellularity
        tissue = (at.depth_um > 3) & ~at.fat
        outside = tissue & ~at.lesion & ~at.necrosis
        stroma = outside * (1 - at.lymphoid)
        septa = tissue & at.lesion & ~at.nest
        clouds = 0.75 + 0.22 * noise(self.plan.key("crowds"), grid, period_px=self.anatomy.px(110))
        diffuse = outside * np.clip(at.lymphoid - at.follicle - at.germinal, 0, 1) * clouds
        lymphocytes = 0.04 * stroma + 0.8 * diffuse + 0.97 * at.follicle + 0.2 * at.germinal
        lymphocytes = lymphocytes + 0.1 * septa + 0.015 * at.nest + 0.05 * at.necrosis
        fibroblasts = cells * (0.55 * stroma + 0.6 * septa) + 0.1 * diffuse
        centroblasts = 0.85 * at.germinal + 0.06 * diffuse
        tumor = at.nest & ~at.benign
        tumor_spacing_um = self._tumor.length_um * self.anatomy.character.crowding
        for name, stamps, share, spacing_um, jitter in (
            ("lymphocytes", self._lymphocytes, lymphocytes, 7.6, 0.55),
            ("centroblasts", self._centroblasts, centroblasts, 9.6, 0.5),
            ("tumor", self._tumor_cells, 0.94 * (tumor & tissue), tumor_spacing_um, 0.65),
            ("benign", self._benign_cells, 0.94 * (at.benign & tissue), tumor_spacing_um, 0.65),
        ):
            points = self._points(name, share, grid, canvas, spacing_um=spacing_um, jitter=jitter)
            place_points(stamps, canvas.nuclei, points, x=canvas.x, y=canvas.y)
        points = self._points("fibroblasts", fibroblasts, grid, canvas, spacing_um=13.0, jitter=0.9)
        angle = sample(flow.angle, grid, points) + 0.5 * (points.mark(92) - 0.5)
        self._fibroblasts.place(
            canvas.nuclei, points.x - canvas.x, points.y - canvas.y, angle, points.mark(91)
        )

    def _points(
        self,
        name: str,
        share: NDArray,
        grid: Grid,
        canvas: Canvas,
        *,
        spacing_um: float,
        jitter: float,
    ) -> Scatter:
        """Positions of one kind of nucleus, none in a hole or outside the canvas."""
        spacing_px = self.anatomy.px(spacing_um)
        if not share.any():
            spacing_px = self.anatomy.px(1000)  # no point will be kept, so make few
        points = scatter(
            self.plan.key(name), grid, spacing_px=spacing_px, margin_px=0, jitter=jitter
        )
        side = canvas.empty.shape[0]
        column, row = (
            np.rint(points.x - canvas.x).astype(int),
            np.rint(points.y - canvas.y).astype(int),
        )
        inside = (column >= 0) & (column < side) & (row >= 0) & (row < side)
        hole = canvas.empty[np.clip(row, 0, side - 1), np.clip(column, 0, side - 1)] > 60
        return points.only(inside & ~hole & (points.mark(0) < sample(share, grid, points)))


def _ceil_to(value: float, step: int) -> int:
    return int(-(-value // step)) * step
