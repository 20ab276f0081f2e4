"""Windows that a network takes, and the classes it gives: one record from the patch store to the
heatmap."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ..storage import Settings

__all__ = ["CLASSES", "InputSpec", "StainMethod"]

CLASSES = ("normal", "tumor")
"""Names of the classes; the position is the label."""

StainMethod = Literal["macenko", "reinhard", "hsd"]
"""Methods of stain normalisation."""

Mpp = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class InputSpec(Settings):
    """Input and output of a network: the geometry of its windows, their colours, its classes.

    A patch store is tiled for one, a model card holds one, and prediction reads windows by one.
    """

    patch_px: int = Field(ge=1)
    """Side of a window at each scale (px)."""
    centre_px: int = Field(ge=1)
    """Side of the centre square that label and score refer to (px at the finest scale)."""
    mpps: tuple[Mpp, ...] = Field(min_length=1)
    """Scales of a patch (µm/px), the finest first; its windows share one centre."""
    stain: StainMethod | None = None
    """Stain normalisation of the pixels; None = pixels as scanned."""
    classes: tuple[str, ...] = CLASSES
    """Names of the classes, in the order of the network's outputs."""

    @property
    def mpp(self) -> float:
        """The finest scale (µm/px)."""
        return self.mpps[0]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of one patch: (scales, rows, columns, RGB)."""
        return (len(self.mpps), self.patch_px, self.patch_px, 3)

    @property
    def tumor(self) -> int:
        """Position of the tumour class among the outputs."""
        return self.classes.index("tumor")

    @property
    def finest(self) -> "InputSpec":
        """The spec with the finest scale only."""
        return self.model_copy(update={"mpps": self.mpps[:1]})

    @model_validator(mode="after")
    def _is_consistent(self) -> "InputSpec":
        if self.centre_px > self.patch_px:
            raise ValueError(f"centre_px {self.centre_px} is larger than patch_px {self.patch_px}")
        if any(fine >= coarse for fine, coarse in zip(self.mpps, self.mpps[1:], strict=False)):
            raise ValueError(f"mpps {self.mpps} must rise, each scale once")
        if "tumor" not in self.classes or len(set(self.classes)) < len(self.classes):
            raise ValueError(f"classes {self.classes} must be distinct and contain tumor")
        return self
