"""Measures of lesions, and the size class that follows from them."""

from dataclasses import dataclass

import numpy as np

from ...wsi import LESION_SIZES, MACRO_UM

__all__ = ["CLASSES", "LesionMeasures", "LesionRule"]

CLASSES = ("negative", *LESION_SIZES)
"""Classes of a slide by its largest metastasis."""


@dataclass(frozen=True, kw_only=True)
class LesionRule:
    """The CAMELYON16 rule that turns annotated tumour into countable lesions."""

    growth_um: float = 37.5
    """Growth of tumour on each side."""
    itc_um: float = 275.0
    """Lesions with a shorter longest axis, growth included, are isolated tumour cells."""


@dataclass(frozen=True, kw_only=True)
class LesionMeasures:
    """Measures of L lesions, in the order of their labels 1..L."""

    area_um2: np.ndarray
    """(L,) float64, growth and filled holes included."""
    drawn_um2: np.ndarray
    """(L,) float64, as annotated."""
    major_axis_um: np.ndarray
    """(L,) float64, 4 √(largest eigenvalue of the second central moments), growth included."""
    centre_level0: np.ndarray
    """(L, 2) float64 level-0 (x, y), centre of mass."""
    rule: LesionRule
    raster_um: float
    """µm per px of the mask that was measured; 0 for outlines."""

    def __len__(self) -> int:
        return len(self.area_um2)

    @property
    def is_itc(self) -> np.ndarray:
        """(L,) bool: isolated tumour cells, which count neither as found nor as missed."""
        return self.major_axis_um < self.rule.itc_um

    @property
    def itc_reason(self) -> str:
        """The reason why isolated tumour cells are excluded."""
        return f"isolated tumour cells: longest axis below {self.rule.itc_um:g} µm, growth included"

    @property
    def drawn_mm2(self) -> np.ndarray:
        return self.drawn_um2 / 1e6

    @property
    def size(self) -> np.ndarray:
        """(L,) str of `LESION_SIZES`, by the longest axis less the growth (Bándi et al. 2019)."""
        is_macro = self.major_axis_um - 2 * self.rule.growth_um > MACRO_UM
        return np.where(self.is_itc, "itc", np.where(is_macro, "macro", "micro"))
