"""Size classes of lesions by their longest axis, as in TNM's stages of lymph nodes."""

import numpy as np

__all__ = ["ITC_UM", "LESION_SIZES", "MACRO_UM", "classify_size"]

LESION_SIZES = ("itc", "micro", "macro")
"""From small to large: isolated tumour cells, micrometastasis, macrometastasis."""
ITC_UM, MACRO_UM = 200.0, 2000.0


def classify_size(longest_um: np.ndarray | float) -> np.ndarray:
    """Return the class of each longest axis (µm), str of `LESION_SIZES`: itc below 0.2 mm, micro up
    to 2 mm, macro above; "" for NaN."""
    longest_um = np.asarray(longest_um, np.float64)
    size = np.where(longest_um > MACRO_UM, "macro", np.where(longest_um < ITC_UM, "itc", "micro"))
    return np.where(np.isnan(longest_um), "", size)
