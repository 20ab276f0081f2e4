"""Stamps of nuclei: each kind in many shapes, made once per slide.

A stamp is uint8 (rows, columns, 2): amount of haematoxylin (see `stain`), and opacity, 255 where
the nucleus hides everything below it.
"""

from dataclasses import asdict, dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .lattice import Scatter
from .stain import AMOUNT_PER_OD

Stamp = NDArray[np.uint8]
ANGLES = 16
"""Number of directions of elongated stamps, over half a turn."""


@dataclass(frozen=True, kw_only=True)
class NucleusKind:
    """Appearance of the nuclei of one kind of cell. Lengths in µm, densities in units of pure
    haematoxylin."""

    length_um: float
    width_um: float
    spread: float
    """Relative standard deviation of the size."""
    density: float = 0.72
    density_spread: float
    irregularity: float
    """Relative standard deviation of the outline's radius."""
    chromatin: float = 0.2
    """Relative contrast of the grain inside."""
    vesicular: float
    """Paleness of the inside relative to the rim, 0 to 1."""
    nucleoli: float = 0
    """Mean number of nucleoli."""


LYMPHOCYTE = NucleusKind(
    length_um=6.6,
    width_um=6.2,
    spread=0.07,
    density=0.86,
    density_spread=0.14,
    irregularity=0.05,
    chromatin=0.42,
    vesicular=0.12,
)
CENTROBLAST = NucleusKind(
    length_um=9.4,
    width_um=8.6,
    spread=0.08,
    density=0.58,
    density_spread=0.10,
    irregularity=0.04,
    chromatin=0.25,
    vesicular=0.35,
    nucleoli=0.8,
)
FIBROBLAST = NucleusKind(
    length_um=15.0, width_um=3.2, spread=0.18, density_spread=0.16, irregularity=0.06, vesicular=0.1
)
DUCT_CELL = NucleusKind(
    length_um=9.5,
    width_um=6.4,
    spread=0.07,
    density_spread=0.08,
    irregularity=0.035,
    vesicular=0.15,
    nucleoli=0.2,
)


LIKENESS = (0.3, 0.75)
"""Least and most likeness of benign nuclei to those of tumour, 0 to 1."""


def tumor_nucleus(rng: np.random.Generator) -> NucleusKind:
    """Nuclei of one slide's tumour: larger than normal ones, uneven, more or less vesicular."""
    length_um = rng.uniform(11.0, 14.0)
    return NucleusKind(
        length_um=length_um,
        width_um=length_um * rng.uniform(0.7, 0.85),
        spread=rng.uniform(0.14, 0.22),
        density=rng.uniform(0.52, 0.72),
        density_spread=0.24,
        irregularity=rng.uniform(0.07, 0.11),
        chromatin=0.35,
        vesicular=rng.uniform(0.35, 0.6),
        nucleoli=rng.uniform(0.8, 1.6),
    )


def benign_nucleus(rng: np.random.Generator, tumor: NucleusKind) -> NucleusKind:
    """Nuclei of one slide's benign nests: between those of ducts and those of its tumour."""
    likeness = rng.uniform(*LIKENESS)
    duct, other = asdict(DUCT_CELL), asdict(tumor)
    return NucleusKind(
        **{name: (1 - likeness) * duct[name] + likeness * other[name] for name in duct}
    )


@dataclass(frozen=True, kw_only=True)
class StampSet:
    """Stamps of one kind: `variants` for each of ANGLES directions."""

    stamps: tuple[Stamp, ...]
    variants: int

    @classmethod
    def of_kind(
        cls, kind: NucleusKind, rng: np.random.Generator, *, mpp: float, variants: int
    ) -> "StampSet":
        """Draw the stamps of a kind at a resolution."""
        angles = np.pi * np.arange(ANGLES) / ANGLES
        stamps = tuple(
            _stamp(kind, rng, angle=angle, mpp=mpp) for angle in angles for _ in range(variants)
        )
        return cls(stamps=stamps, variants=variants)

    def place(
        self, canvas: NDArray[np.uint8], x: NDArray, y: NDArray, angle: NDArray, variant: NDArray
    ) -> None:
        """Stamp nuclei onto a canvas (rows, columns, 2); where they overlap, the darker one wins.

        Args:
            canvas: Changed in place.
            x: Centres, canvas px.
            y: Centres, canvas px.
            angle: Direction of the long axis, radians clockwise from x.
            variant: Uniform in [0, 1); chooses the shape.
        """
        turn = np.rint(angle / np.pi * ANGLES).astype(np.int64) % ANGLES
        chosen = turn * self.variants + np.floor(variant * self.variants).astype(np.int64)
        height, width = canvas.shape[:2]
        for which, column, row in zip(
            chosen.tolist(),
            np.rint(x).astype(int).tolist(),
            np.rint(y).astype(int).tolist(),
            strict=True,
        ):
            stamp = self.stamps[which]
            reach = stamp.shape[0] // 2
            if reach <= column < width - reach and reach <= row < height - reach:
                under = canvas[row - reach : row + reach + 1, column - reach : column + reach + 1]
                np.maximum(under, stamp, out=under)


def place_points(
    stamps: StampSet, canvas: NDArray[np.uint8], points: Scatter, *, x: int, y: int
) -> None:
    """Stamp a nucleus on every point in a random direction; (x, y) is the canvas's top left,
    level-0 px."""
    stamps.place(canvas, points.x - x, points.y - y, points.mark(90) * np.pi, points.mark(91))


def _stamp(kind: NucleusKind, rng: np.random.Generator, *, angle: float, mpp: float) -> Stamp:
    size = max(0.55, 1 + kind.spread * rng.standard_normal())
    half_length_px, half_width_px = size * kind.length_um / 2 / mpp, size * kind.width_um / 2 / mpp
    reach = int(np.ceil(half_length_px * (1 + 3 * kind.irregularity))) + 2
    dy, dx = np.mgrid[-reach : reach + 1, -reach : reach + 1] + rng.uniform(-0.5, 0.5, (2, 1, 1))
    along, across = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
    radius = np.hypot(along / half_length_px, across / half_width_px)
    theta = np.arctan2(across, along)
    for harmonic in (2, 3, 4, 5):
        amplitude = kind.irregularity * rng.standard_normal() * (2 / harmonic)
        radius = radius * (1 + amplitude * np.cos(harmonic * theta + rng.uniform(0, 2 * np.pi)))
    depth_px = (1 - radius) * half_width_px
    cover = np.clip(depth_px + 0.5, 0, 1)
    rim = np.exp(-np.maximum(depth_px * mpp, 0) / 0.8)  # the membrane is about 0.8 µm wide
    grain = cv2.GaussianBlur(rng.standard_normal(radius.shape), (0, 0), max(0.5 / mpp, 0.5))
    grain /= grain.std() + 1e-6
    density = kind.density * max(0.4, 1 + kind.density_spread * rng.standard_normal())
    inside = (1 - kind.vesicular * (1 - rim)) * (1 + 0.5 * kind.chromatin * grain)
    for _ in range(rng.poisson(kind.nucleoli)):
        at = rng.uniform(-0.5, 0.5, 2)
        dot_px = np.hypot(along - at[0] * half_length_px, across - at[1] * half_width_px)
        inside += 0.55 * np.clip(rng.uniform(0.7, 1.2) / mpp - dot_px + 0.5, 0, 1)
    amount = np.clip(density * inside * cover * AMOUNT_PER_OD, 0, 255)
    return np.stack([amount, cover * 255], axis=-1).astype(np.uint8)
