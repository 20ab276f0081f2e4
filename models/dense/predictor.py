"""A trained network, or several, on tiles: pixels around many cells in, a probability a cell
out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ...storage import ModelError
from ..tile_predictor import TileMember, TilePredictor
from .layout import DenseLayout, shrink_pixels

__all__ = ["DenseMember", "DensePredictor"]

TILES_AT_ONCE = 2


@dataclass(frozen=True, kw_only=True)
class DenseMember(TileMember):
    """Dense form of one network."""

    layout: DenseLayout


@dataclass(frozen=True, kw_only=True)
class DensePredictor(TilePredictor[DenseMember]):
    """Probabilities of rectangles of cells, each computed once over a tile around it."""

    steps_px: tuple[int, ...]
    """Distance of neighbouring cells at each scale, window px."""

    @property
    def tiles_at_once(self) -> int:
        """Tiles that may be scored at the same time by threads, and are faster so."""
        return TILES_AT_ONCE if self.runtime == "openvino" else 1

    @property
    def margin_px(self) -> int:
        """Px around the patches of a square of cells that a tile has on each side."""
        return max(member.layout.margin_px for member in self.members)

    @property
    def shrink(self) -> int:
        """Least factor by which its networks first shrink their pixels."""
        return min(member.layout.shrink for member in self.members)

    @property
    def takes_rectangles(self) -> bool:
        """True if tiles need not be squares. Rectangles hold fewer cells that nobody asked for, but
        the network is compiled for each shape: seconds where it is deep, as those with a wide
        margin are."""
        return self.runtime == "openvino" and 2 * self.margin_px < self.spec.patch_px

    def tile_px(self, cells: int, scale: int = 0) -> int:
        """Side of a tile with that many cells along it at a scale: all their patches, and the
        margin."""
        patches_px = self.spec.patch_px + self.steps_px[scale] * (cells - 1)
        return patches_px + 2 * self.margin_px

    def score_members(
        self,
        tiles: Sequence[np.ndarray],
        cells: int | tuple[int, int],
        *,
        normalise: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> np.ndarray:
        """Score a square of cells × cells cells, or a rectangle of (rows, columns): tiles
        (height, width, 3) uint8 RGB, one a scale, with sides from `tile_px` → (members, rows,
        columns, classes) float32 in [0, 1].

        normalise changes the colours of pixels after they are shrunk, which is shrink² times faster
        than before.

        Raises:
            ModelError: tiles of other shapes.
        """
        shape = (cells, cells) if isinstance(cells, int) else cells
        wanted = [
            (*(self.tile_px(side, scale) for side in shape), 3)
            for scale in range(len(self.steps_px))
        ]
        if [tile.shape for tile in tiles] != wanted:
            raise ModelError(
                f"{shape[0]} × {shape[1]} cells need tiles of shape {wanted} (rows, columns, RGB), "
                f"these have {[tile.shape for tile in tiles]}"
            )
        same = normalise or (lambda pixels: pixels)
        return np.stack([self._score(member, tiles, shape, same) for member in self.members])

    def _score(
        self,
        member: DenseMember,
        tiles: Sequence[np.ndarray],
        shape: tuple[int, int],
        normalise: Callable[[np.ndarray], np.ndarray],
    ) -> np.ndarray:
        layout = member.layout
        first = self.margin_px + layout.shift_px - layout.halo_features * layout.stride_px
        parts = []
        for tile, step_px in zip(tiles, self.steps_px, strict=True):
            down, right = (first + layout.tile_px(side, step_px) for side in shape)
            parts.append(
                normalise(shrink_pixels(tile[first:down, first:right], layout.shrink))[None]
            )
        return np.asarray(member.started.forward(parts), np.float32)[0]
