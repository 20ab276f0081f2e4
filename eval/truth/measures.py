"""What lesions measure, and what their size makes of them."""

from dataclasses import dataclass

import numpy as np

__all__ = ["MACRO_UM", "SIZES", "LesionMeasures", "LesionRule"]

SIZES = ("itc", "micro", "macro")
"""From small to large: isolated tumour cells, micrometastasis (from 0.2 mm), macrometastasis (over
2 mm)."""
MACRO_UM = 2000.0


@dataclass(frozen=True, kw_only=True)
class LesionRule:
    """What makes tumour a lesion that counts; CAMELYON16's numbers."""

    growth_um: float = 37.5
    """Tumour grows by this on each side."""
    itc_um: float = 275.0
    """Lesions whose longest axis, growth included, is shorter are isolated tumour cells."""
    has_phantom: bool = False
    """An empty mask has a lesion all the same, in its corner, as in the official programs."""


@dataclass(frozen=True, kw_only=True)
class LesionMeasures:
    """One row a lesion, in the order of the labels 1..N."""

    area_um2: np.ndarray
    """(N,) float64, growth and filled holes included."""
    drawn_um2: np.ndarray
    """(N,) float64, as annotated."""
    major_axis_um: np.ndarray
    """(N,) float64, 4 √(largest eigenvalue of the second central moments), growth included."""
    centre_level0: np.ndarray
    """(N, 2) float64 level-0 (x, y), centre of mass."""
    rule: LesionRule
    raster_um: float
    """µm per px of the mask they were measured in; 0: exact, from outlines."""

    def __len__(self) -> int:
        return len(self.area_um2)

    @property
    def is_itc(self) -> np.ndarray:
        """(N,) bool: isolated tumour cells, too small to count as found or missed."""
        return self.major_axis_um < self.rule.itc_um

    @property
    def itc_words(self) -> str:
        """Why isolated tumour cells are neither found nor missed."""
        return f"isolated tumour cells: longest axis below {self.rule.itc_um:g} µm, growth included"

    @property
    def drawn_mm2(self) -> np.ndarray:
        return self.drawn_um2 / 1e6

    @property
    def size(self) -> np.ndarray:
        """(N,) str of `SIZES`, by the longest axis less the growth (Bándi et al. 2019,
        CAMELYON17)."""
        is_macro = self.major_axis_um - 2 * self.rule.growth_um > MACRO_UM
        return np.where(self.is_itc, "itc", np.where(is_macro, "macro", "micro"))
