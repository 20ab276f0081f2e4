"""Deal of slides between ways to annotate, at random by a seed, so that minutes can be compared."""

import hashlib
from typing import Literal

from pydantic import Field

from ..storage import Settings

__all__ = ["AnnotationMode", "Deal"]

AnnotationMode = Literal["scratch", "corrected"]
"""scratch: the annotator sees neither proposal nor heatmap. corrected: starts from the proposal."""


class Deal(Settings):
    """Shares of the slides by mode of annotation."""

    scratch: float = Field(default=0.0, ge=0, le=1)
    """Share of slides that are drawn from scratch, without the model, to compare the minutes."""
    blind: float = Field(default=0.0, ge=0, le=1)
    """Share of slides that a second annotator draws without sight of other outlines, to measure
    agreement."""
    seed: int = Field(default=0, ge=0)
    """Seed of the deal; each slide's part depends on this and its id alone."""

    def mode_of(self, slide: str) -> AnnotationMode:
        """Return how a slide is annotated."""
        return "scratch" if self._number(slide, "mode") < self.scratch else "corrected"

    def is_blind(self, slide: str) -> bool:
        """Tell whether a second annotator draws the slide too, blind."""
        return self._number(slide, "blind") < self.blind

    def _number(self, slide: str, what: str) -> float:
        """A number in [0, 1), as if drawn at random."""
        digest = hashlib.sha256(f"{self.seed} {what} {slide}".encode()).digest()
        return int.from_bytes(digest[:8], "big") / 2**64
