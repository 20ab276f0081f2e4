"""A whole slide as a small picture, with what is known of its cells."""

from dataclasses import dataclass

import numpy as np

from ...models import CELL_PX

__all__ = ["UNKNOWN", "SlidePicture"]

UNKNOWN = -1


@dataclass(frozen=True, kw_only=True)
class SlidePicture:
    """A whole slide at a few µm/px. Its cells are squares of `CELL_PX` px."""

    image: np.ndarray
    """(H, W, 3) uint8 RGB; H and W are multiples of `CELL_PX`."""
    tissue: np.ndarray
    """(h, w) bool: cells with tissue, which count in the slide's score."""
    tumor: np.ndarray
    """(h, w) int8: 1 cells with outlined tumour, 0 without tumour, -1 unknown."""
    findings: np.ndarray
    """(F,) int8: 1 if the slide has the finding, 0 if not, -1 unknown; tumour is the first."""

    def __post_init__(self) -> None:
        grid = tuple(side // CELL_PX for side in self.image.shape[:2])
        if not self.image.shape[:2] == tuple(CELL_PX * side for side in grid):
            raise ValueError(f"a picture of {self.image.shape} is not of whole cells")
        if self.tissue.shape != grid or self.tumor.shape != grid:
            raise ValueError(
                f"cells {self.tissue.shape} and {self.tumor.shape} of a picture of {grid}"
            )

    @property
    def side_px(self) -> int:
        """Longer side of the picture."""
        return max(self.image.shape[:2])
