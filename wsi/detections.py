"""Detections: points with a tumour probability, which FROC scores."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ..storage import ScoreError, atomic_file

__all__ = ["Detections"]

COLUMNS = ("slide", "x", "y", "probability")


@dataclass(frozen=True, kw_only=True)
class Detections:
    """Detections of any number of slides, as four columns of equal length."""

    slide: np.ndarray
    """(N,) str, the slide's id in its cohort."""
    x: np.ndarray
    """(N,) float64, level-0 px."""
    y: np.ndarray
    """(N,) float64, level-0 px."""
    probability: np.ndarray
    """(N,) float64 in [0, 1]."""

    def __post_init__(self) -> None:
        lengths = {len(getattr(self, name)) for name in COLUMNS}
        if len(lengths) != 1:
            raise ScoreError(f"detections: columns of unequal length, {sorted(lengths)} rows")
        bad = ~((self.probability >= 0) & (self.probability <= 1))
        if bad.any():
            raise ScoreError(
                f"detections of {self.slide[bad][0]}: probability {self.probability[bad][0]} is "
                f"not in [0, 1]; correct {int(bad.sum())} such rows"
            )
        if not (np.isfinite(self.x).all() and np.isfinite(self.y).all()):
            raise ScoreError("detections: a coordinate is not finite; give level-0 px")

    def __len__(self) -> int:
        return len(self.x)

    @classmethod
    def of_slide(cls, slide: str, xy: np.ndarray, probability: np.ndarray) -> "Detections":
        """Make the detections of one slide from (N, 2) level-0 (x, y) and (N,) probabilities."""
        x, y = np.asarray(xy, np.float64).reshape(-1, 2).T
        return cls(
            slide=np.full(len(x), slide, object),
            x=x,
            y=y,
            probability=np.asarray(probability, np.float64),
        )

    def on(self, slide: str) -> "Detections":
        """Select the detections of one slide."""
        chosen = self.slide == slide
        return Detections(**{name: getattr(self, name)[chosen] for name in COLUMNS})

    @classmethod
    def concatenate(cls, parts: list["Detections"]) -> "Detections":
        empty = cls.of_slide("", np.zeros((0, 2)), np.zeros(0))
        return cls(
            **{
                name: np.concatenate([getattr(part, name) for part in [empty, *parts]])
                for name in COLUMNS
            }
        )

    def save(self, path: Path) -> None:
        """Write a CSV with a header; equal detections give equal bytes."""
        table = pd.DataFrame({name: getattr(self, name) for name in COLUMNS})
        with atomic_file(path) as partial:
            table.to_csv(partial, index=False, lineterminator="\n")

    @classmethod
    def load(cls, path: Path) -> "Detections":
        """Read a CSV that `save` wrote.

        Raises:
            ScoreError: not such a table, or values out of range.
        """
        try:
            table = pd.read_csv(
                path.absolute(),  # pandas would expand a leading ~
                dtype={"slide": str},
                keep_default_na=False,
                na_values={"probability": ["nan"]},
            )
            numbers = {name: table[name].to_numpy(np.float64) for name in COLUMNS[1:]}
            return cls(slide=table["slide"].to_numpy(object), **numbers)
        except ScoreError as error:
            raise ScoreError(f"{path}: {error}") from error
        except (OSError, KeyError, ValueError, pd.errors.ParserError) as error:
            columns = ", ".join(COLUMNS)
            raise ScoreError(f"{path}: not a table of detections ({columns}): {error}") from error
