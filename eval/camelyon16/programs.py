"""The choices by which the two official programs differ."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..truth.mask_lesions import Raster

__all__ = ["DOWNSAMPLE", "PROGRAMS", "Program"]

DOWNSAMPLE = 32.0  # level 5


@dataclass(frozen=True, kw_only=True)
class Program:
    """One official program."""

    name: str
    mpp: float | None
    """µm per level-0 px; None: of the mask or the slide."""
    downsample: float | None
    """Level-0 px per px of level 5; None: of the mask."""
    rounds: bool
    """True: points are cut to whole px, divided and rounded half to even. False: truncated."""
    drops: Literal["smallest", "zero"]
    """Threshold that is not an operating point."""
    hits: type[np.floating]
    """Type that holds the probabilities of found lesions. As float32 a hit of 0.3 lies above a
    false positive of 0.3, one of 0.9 below; thresholds compare with hits in this type."""
    interpolates: bool
    """True: the curve is interpolated at f. False: read at its first point with at least f."""
    description: str

    def raster(self, *, downsample: float, mask_mpp: float) -> Raster:
        """Px of level 5 as the program takes them, for a mask's own downsample and µm/px."""
        pixel_level0 = self.downsample or downsample
        return Raster(pixel_level0=pixel_level0, pixel_um=pixel_level0 * (self.mpp or mask_mpp))

    def find_cells(self, xy: np.ndarray, raster: Raster) -> np.ndarray:
        """Px (N, 2) (row, column) of the mask at points (N, 2) level-0 (x, y), whole float64."""
        points = np.asarray(xy, np.float64).reshape(-1, 2)[:, ::-1]
        if self.rounds:
            return np.rint(np.floor(points) / raster.pixel_level0)
        return np.floor(points / raster.pixel_level0)


E1 = Program(
    name="camelyon16-e1",
    mpp=0.243,
    downsample=DOWNSAMPLE,
    rounds=False,
    drops="smallest",
    hits=np.float32,
    interpolates=True,
    description="Evaluation_FROC.py (2016): level-5 mask, 0.243 µm/px for every slide, smallest "
    "threshold dropped, hits held as float32; interpolated, as in NCRF and MONAI",
)
E2 = Program(
    name="camelyon16-e2",
    mpp=None,
    downsample=None,
    rounds=True,
    drops="zero",
    hits=np.float64,
    interpolates=False,
    description="script shipped with the public data: level-5 mask, its own µm/px; first point "
    "with at least f, else the last",
)
PROGRAMS = {program.name: program for program in (E1, E2)}
