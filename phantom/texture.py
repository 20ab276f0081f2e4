"""Texture between the nuclei (fibres, cytoplasm, ground substance), as amounts of both stains."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .anatomy import Anatomy, Compartments
from .lattice import Floats, Grid, noise
from .stain import AMOUNT_PER_OD

_FIBRE_SIDE_PX = 1024
_MOTTLE_SIDE_PX = 503  # a prime, so that its period never aligns with blocks
FINE_STEP_PX = 4
"""Spacing of the samples of compartments; a block's corner and size are multiples of it."""


@dataclass(frozen=True, kw_only=True)
class Flow:
    """Direction of the fibres: texture coordinates and angle at the samples of a grid (rows,
    columns)."""

    u: Floats
    v: Floats
    angle: Floats


def fibre_flow(anatomy: Anatomy, grid: Grid) -> Flow:
    """Bend straight fibres by smooth displacements of the plane."""
    plan = anatomy.plan
    angle = plan.rng("flow").uniform(0, np.pi)
    u = grid.x[None, :] * np.cos(angle) + grid.y[:, None] * np.sin(angle)
    v = grid.y[:, None] * np.cos(angle) - grid.x[None, :] * np.sin(angle)
    for period_um, sway_um in ((1300, 380), (320, 70), (34, 5)):
        u = u + anatomy.px(sway_um) * noise(
            plan.key("flow u", period_um), grid, period_px=anatomy.px(period_um)
        )
        v = v + anatomy.px(sway_um) * noise(
            plan.key("flow v", period_um), grid, period_px=anatomy.px(period_um)
        )
    step = grid.x[1] - grid.x[0]
    down, across = np.gradient(v, step)
    return Flow(
        u=u.astype(np.float32),
        v=v.astype(np.float32),
        angle=np.arctan2(-across, down).astype(np.float32),
    )


class TissueTexture:
    """Paints the texture of one slide from textures that are made once."""

    def __init__(self, anatomy: Anatomy) -> None:
        self.anatomy = anatomy
        rng = anatomy.plan.rng("ground")
        self._fibres = _make_texture(
            rng, _FIBRE_SIDE_PX, along_px=anatomy.px(22), across_px=anatomy.px(1.1)
        )
        self._fibres += 0.7 * _make_texture(
            rng, _FIBRE_SIDE_PX, along_px=anatomy.px(60), across_px=anatomy.px(4.5)
        )
        self._mottle = _make_texture(
            rng, _MOTTLE_SIDE_PX, along_px=anatomy.px(1.0), across_px=anatomy.px(1.0)
        )
        self._mottle += _make_texture(
            rng, _MOTTLE_SIDE_PX, along_px=anatomy.px(2.6), across_px=anatomy.px(2.6)
        )
        self._mottle /= self._mottle.std()
        self._tumor_eosin = rng.uniform(0.18, 0.32)
        self._tumor_haze = rng.uniform(0.07, 0.15)

    def paint(self, at: Compartments, flow: Flow, grid: Grid) -> NDArray[np.uint8]:
        """Amounts (rows, columns, 2) at full resolution for a grid sampled every FINE_STEP_PX."""
        eosin, haze, fibre_weight, mottle_weight = (
            _enlarge(layer) for layer in self._layers(at, grid)
        )
        fibres = self._fibres_at(flow)
        mottle = self._mottle_at(grid, eosin.shape)
        # Collagen splits into bundles: deep troughs between fibres are empty clefts.
        eosin += (
            fibre_weight * (0.10 * fibres - 0.8 * np.maximum(-1.6 - fibres, 0))
            + mottle_weight * 0.06 * mottle
        )
        haze += mottle_weight * 0.03 * mottle + fibre_weight * 0.015 * fibres
        depth_px = _enlarge(at.depth_um) / np.float32(self.anatomy.plan.mpp)
        edge = np.clip(depth_px * 0.6 + 0.5 + 0.5 * mottle, 0, 1)
        amounts = np.stack([haze, eosin], axis=-1) * (edge * np.float32(AMOUNT_PER_OD))[..., None]
        return np.clip(amounts, 0, 255).astype(np.uint8)

    def _layers(self, at: Compartments, grid: Grid) -> tuple[Floats, Floats, Floats, Floats]:
        """Mean eosin, mean haematoxylin, and the weights of fibres and mottle, at the grid's
        samples."""
        plan, character = self.anatomy.plan, self.anatomy.character
        clouds = noise(plan.key("clouds"), grid, period_px=self.anatomy.px(180))
        septa = at.lesion & ~at.nest
        collagen = (1 - at.lymphoid) * ~(at.nest | at.fat | at.necrosis)
        capsule = np.exp(-np.maximum(at.depth_um - 6, 0) / 22) * ~at.lesion
        eosin = (character.stroma_eosin + 0.07 * clouds + 0.15 * capsule) * collagen
        eosin += (0.17 + 0.04 * clouds) * at.lymphoid
        eosin += (0.05 * at.germinal + 0.04 * septa).astype(np.float32)
        eosin += (self._tumor_eosin + 0.06 * clouds) * at.nest
        eosin += (0.40 + 0.08 * clouds) * at.necrosis + 0.24 * at.fat
        haze = 0.045 * collagen + (0.10 + 0.03 * at.germinal) * at.lymphoid
        haze = haze + self._tumor_haze * at.nest + 0.06 * at.necrosis + 0.03 * at.fat
        mottle = 0.5 + at.lymphoid * 0.9 + at.nest * 1.0 + at.necrosis * 2.2
        return tuple(np.asarray(layer, np.float32) for layer in (eosin, haze, collagen, mottle))  # pyright: ignore[reportReturnType]

    def _fibres_at(self, flow: Flow) -> Floats:
        # Wrapped onto the texture first, because cv2.remap stores positions as 16-bit integers.
        u, v = (_wrap(_enlarge(coordinate), _FIBRE_SIDE_PX) for coordinate in (flow.u, flow.v))
        return np.asarray(
            cv2.remap(self._fibres, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP), np.float32
        )

    def _mottle_at(self, grid: Grid, shape: tuple[int, ...]) -> Floats:
        corner_x, corner_y = (
            round(grid.x[0] - FINE_STEP_PX / 2),
            round(grid.y[0] - FINE_STEP_PX / 2),
        )
        rows = (corner_y + np.arange(shape[0])) % _MOTTLE_SIDE_PX
        columns = (corner_x + np.arange(shape[1])) % _MOTTLE_SIDE_PX
        return np.take(self._mottle[rows], columns, axis=1)


def _enlarge(samples: Floats) -> Floats:
    size = (samples.shape[1] * FINE_STEP_PX, samples.shape[0] * FINE_STEP_PX)
    return np.asarray(cv2.resize(samples, size, interpolation=cv2.INTER_LINEAR), np.float32)


def _wrap(values: Floats, period_px: int) -> Floats:
    """Values modulo the period; NumPy's modulo is ten times slower on floats."""
    return values - np.float32(period_px) * np.floor(values * np.float32(1 / period_px))


def _make_texture(
    rng: np.random.Generator, side_px: int, *, along_px: float, across_px: float
) -> Floats:
    """Random texture that tiles, mean 0, standard deviation 1, with these correlation lengths in x
    and y."""
    frequency = np.fft.fftfreq(side_px)
    keep = np.exp(
        -2 * (np.pi * frequency[None, :] * along_px) ** 2
        - 2 * (np.pi * frequency[:, None] * across_px) ** 2
    )
    texture = np.fft.ifft2(np.fft.fft2(rng.standard_normal((side_px, side_px))) * keep).real
    return (texture / texture.std()).astype(np.float32)
