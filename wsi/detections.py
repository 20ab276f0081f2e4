"""Detections: points with a tumour probability, which FROC scores."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ..storage import ScoreError, atomic_file
from .lesion_size import classify_size

__all__ = ["Detections"]

COLUMNS = ("slide", "x", "y", "probability")
SIZES = ("area_um2", "longest_um")
"""Further columns, which tables of other programs and of older versions lack."""


@dataclass(frozen=True, kw_only=True)
class Detections:
    """Detections of any number of slides, as columns of equal length."""

    slide: np.ndarray
    """(N,) str, the slide's id in its cohort."""
    x: np.ndarray
    """(N,) float64, level-0 px."""
    y: np.ndarray
    """(N,) float64, level-0 px."""
    probability: np.ndarray
    """(N,) float64 in [0, 1]."""
    area_um2: np.ndarray | None = None
    """(N,) float64: area of the region that each detection lies in; NaN where it is not known."""
    longest_um: np.ndarray | None = None
    """(N,) float64: longest axis of that region; NaN where it is not known."""

    def __post_init__(self) -> None:
        lengths = {len(getattr(self, name)) for name in self.columns}
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

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that these detections have."""
        return (*COLUMNS, *(name for name in SIZES if getattr(self, name) is not None))

    @property
    def size_class(self) -> np.ndarray:
        """(N,) str: itc, micro or macro, see `classify_size`; "" where the size is not known."""
        unknown = np.full(len(self), np.nan)
        return classify_size(unknown if self.longest_um is None else self.longest_um)

    @classmethod
    def of_slide(
        cls, slide: str, xy: np.ndarray, probability: np.ndarray, **sizes: np.ndarray
    ) -> "Detections":
        """Make the detections of one slide from (N, 2) level-0 (x, y) and (N,) probabilities;
        sizes: area_um2 and longest_um."""
        x, y = np.asarray(xy, np.float64).reshape(-1, 2).T
        return cls(
            slide=np.full(len(x), slide, object),
            x=x,
            y=y,
            probability=np.asarray(probability, np.float64),
            **sizes,
        )

    def on(self, slide: str) -> "Detections":
        """Select the detections of one slide."""
        chosen = self.slide == slide
        return Detections(**{name: getattr(self, name)[chosen] for name in self.columns})

    @classmethod
    def concatenate(cls, parts: list["Detections"]) -> "Detections":
        """Join detections; where only some parts know their sizes, those of the others are NaN."""
        parts = [cls.of_slide("", np.zeros((0, 2)), np.zeros(0)), *parts]
        return cls(
            **{
                name: np.concatenate([_column(part, name) for part in parts])
                for name in (*COLUMNS, *SIZES)
                if any(name in part.columns for part in parts)
            }
        )

    def save(self, path: Path) -> None:
        """Write a CSV with a header; equal detections give equal bytes."""
        table = pd.DataFrame({name: getattr(self, name) for name in self.columns})
        if self.longest_um is not None:
            table["size_class"] = self.size_class
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
                na_values={"probability": ["nan"]} | {name: [""] for name in SIZES},
            )
            numbers = {name: table[name].to_numpy(np.float64) for name in COLUMNS[1:]}
            sizes = {name: table[name].to_numpy(np.float64) for name in SIZES if name in table}
            return cls(slide=table["slide"].to_numpy(object), **numbers, **sizes)
        except ScoreError as error:
            raise ScoreError(f"{path}: {error}") from error
        except (OSError, KeyError, ValueError, pd.errors.ParserError) as error:
            columns = ", ".join(COLUMNS)
            raise ScoreError(f"{path}: not a table of detections ({columns}): {error}") from error


def _column(part: Detections, name: str) -> np.ndarray:
    column = getattr(part, name)
    return np.full(len(part), np.nan) if column is None else column
