"""Difficulty of a phantom slide: what makes its tumour hard to find."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["GRADES", "Difficulty", "Grade", "grades_of"]

Grade = Literal["plain", "micro", "isolated", "decoys", "faint", "hard"]
LesionSize = Literal["any", "micro", "isolated"]


@dataclass(frozen=True, kw_only=True)
class Difficulty:
    """Properties that the slides of one grade have, with tumour or without."""

    lesions: LesionSize = "any"
    """Longest axis of the lesions: any, with one of at least 0.32 mm where it fits; micro: 0.2 to
    0.6 mm; isolated: clusters of fewer than 0.2 mm."""
    has_decoys: bool = False
    """True for nests of benign cells that look partly like tumour."""
    is_faint: bool = False
    """True for a stain that is paler than that of other slides, and of another hue."""


GRADES: dict[Grade, Difficulty] = {
    "plain": Difficulty(),
    "micro": Difficulty(lesions="micro"),
    "isolated": Difficulty(lesions="isolated"),
    "decoys": Difficulty(has_decoys=True),
    "faint": Difficulty(is_faint=True),
    "hard": Difficulty(lesions="micro", has_decoys=True, is_faint=True),
}


def grades_of(difficulty: Grade | Literal["graded"], slides: int) -> tuple[Grade, ...]:
    """Return the grade of each of some slides: that one, or all in turn if difficulty is
    graded."""
    chosen: tuple[Grade, ...] = tuple(GRADES) if difficulty == "graded" else (difficulty,)
    return tuple(chosen[number % len(chosen)] for number in range(slides))
