"""Heatmap of a slide: a tumour probability per cell, on disk as a Zarr v3 group.

Format 1 has the arrays `probability` and `status`; format 2, of several models, also `spread`.
Formats 3 and 4 are the same with cells of the status `FIRST_PASS`, which older versions do not
know.
"""

import hashlib
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec

from ...storage import StoreError, atomic_folder

__all__ = ["CellStatus", "Heatmap"]

ARRAYS = ("probability", "status")
SPREAD = "spread"
WITH_SPREAD = (*ARRAYS, SPREAD)
FORMATS = {
    "gigaslide-heatmap/1": ARRAYS,
    "gigaslide-heatmap/2": WITH_SPREAD,
    "gigaslide-heatmap/3": ARRAYS,
    "gigaslide-heatmap/4": WITH_SPREAD,
}
"""Arrays by format."""
FIELDS = (
    "slide",
    "stride_level0",
    "centre_level0",
    "centre_px",
    "slide_mpp",
    "model_hash",
    "origin_level0",
    "slide_size",
)
"""Fields of a heatmap that are attributes of its Zarr group."""
FURTHER = (
    "format",
    "content_sha256",
    "recipe",
    "counts",
    "mode",
    "first_pass_precision",
    "runtime",
    "runtime_difference",
    "localise",
    "attention",
    "whole_slide_score",
)
"""Further attributes; whoever predicts writes all but the first two."""


class CellStatus(IntEnum):
    """Status of a cell. Only `SCORED` and `FIRST_PASS` cells have a probability; all others are
    NaN, never 0."""

    NOT_YET = 0
    SCORED = 1
    BACKGROUND = 2
    UNREADABLE = 3
    FAILED = 4
    """Read, but the model returned NaN."""
    FIRST_PASS = 5
    """Scored by the quick first pass of a fast mode only."""


@dataclass(frozen=True, kw_only=True)
class Heatmap:
    """Tumour probability per cell of one slide.

    Cell (row, column) covers level-0 x in origin + stride × [column, column + 1), and likewise y.
    """

    slide: str
    """The slide's id in its cohort."""
    probability: np.ndarray
    """(rows, columns) float32 in [0, 1]; NaN for cells without a score."""
    status: np.ndarray
    """(rows, columns) uint8, values of `CellStatus`."""
    origin_level0: tuple[float, float]
    """(x, y) of the top left corner of cell (0, 0), level-0 px."""
    stride_level0: float
    """Side of a cell, level-0 px, possibly fractional."""
    centre_level0: float
    """Side of the square that each score refers to, concentric with its cell, level-0 px."""
    centre_px: int
    """Side of that square, window px."""
    slide_size: tuple[int, int]
    """(width, height) of the slide, level-0 px."""
    slide_mpp: float
    """µm per level-0 px."""
    model_hash: str
    """Identity of the network's weights."""
    spread: np.ndarray | None = None
    """Standard deviation of the probability between the members of an ensemble (population: divided
    by their number), (rows, columns) float32; NaN for cells without a score. None: one model."""

    whole_slide_score: float | None = None
    """Tumour probability that the model gave the slide as a whole; None: models of single windows,
    whose highest probability is the slide's score."""

    def __post_init__(self) -> None:
        if self.whole_slide_score is not None and not 0 <= self.whole_slide_score <= 1:
            raise StoreError(
                f"heatmap of {self.slide}: whole_slide_score is {self.whole_slide_score}, not in "
                "[0, 1]"
            )
        if self.probability.ndim != 2:
            raise StoreError(
                f"heatmap of {self.slide}: the shape of probability is {self.probability.shape}, "
                "not (rows, columns)"
            )
        for name in self.arrays:
            if getattr(self, name).shape != self.probability.shape:
                raise StoreError(
                    f"heatmap of {self.slide}: the shapes of probability {self.probability.shape} "
                    f"and {name} {getattr(self, name).shape} differ; both are (rows, columns)"
                )
        for name in (name for name in self.arrays if name != "status"):
            values = getattr(self, name)
            if np.isnan(values[self.scored]).any() or not np.isnan(values[~self.scored]).all():
                raise StoreError(
                    f"heatmap of {self.slide}: scored cells without a {name}, or others with one; "
                    "set NaN where the status is neither SCORED nor FIRST_PASS"
                )

    @property
    def arrays(self) -> tuple[str, ...]:
        """Names of the arrays that this heatmap has."""
        return ARRAYS if self.spread is None else WITH_SPREAD

    @property
    def scored(self) -> np.ndarray:
        """Cells that have a probability, (rows, columns) bool."""
        return np.isin(self.status, (CellStatus.SCORED, CellStatus.FIRST_PASS))

    def cell_centres(self, cells: np.ndarray) -> np.ndarray:
        """Centres of cells (N, 2) (row, column): (N, 2) float64 level-0 (x, y)."""
        return (np.asarray(cells)[:, ::-1] + 0.5) * self.stride_level0 + np.asarray(
            self.origin_level0
        )

    def cell_areas_um2(self) -> np.ndarray:
        """Area of each cell on the slide, (rows, columns) float64; border cells may reach past its
        edges."""
        sides = []
        for count, origin, limit in zip(
            self.status.shape, self.origin_level0[::-1], self.slide_size[::-1], strict=True
        ):
            edges = np.clip(origin + np.arange(count + 1) * self.stride_level0, 0, limit)
            sides.append(np.diff(edges) * self.slide_mpp)
        return np.outer(*sides)

    def count(self, status: CellStatus) -> int:
        """Count the cells of a status."""
        return int((self.status == status).sum())

    @property
    def slide_score(self) -> float:
        """Score that the model gave the whole slide; without one, its highest probability (Liu et
        al. 2017), and 0.0 if no cell was scored."""
        if self.whole_slide_score is not None:
            return self.whole_slide_score
        scored = self.probability[self.scored]
        return float(scored.max()) if scored.size else 0.0

    def save(self, path: Path) -> None:
        """Write a Zarr v3 group with checksums, whole or not at all."""
        with atomic_folder(path, known_by="zarr.json") as partial:
            self.save_arrays(partial)
            zarr.create_group(partial, zarr_format=3, attributes=dict(self.attributes))

    def save_arrays(self, folder: Path) -> None:
        """Write the arrays of the Zarr group, with checksummed chunks, but not its zarr.json.

        Replaces what an interrupted call left.
        """
        for name in self.arrays:
            zarr.create_array(
                folder / name,
                data=getattr(self, name),
                chunks=(512, 512),
                compressors=[BloscCodec(cname="zstd"), Crc32cCodec()],
                fill_value=0 if name == "status" else np.nan,
                config={"write_empty_chunks": True},
                zarr_format=3,
                overwrite=True,
            )

    @property
    def attributes(self) -> dict[str, Any]:
        """Attributes of the Zarr group, plain JSON."""
        fields: dict[str, Any] = {name: getattr(self, name) for name in FIELDS}
        lists = {name: list(value) for name, value in fields.items() if isinstance(value, tuple)}
        score = self.whole_slide_score
        whole = {} if score is None else {"whole_slide_score": score}
        number = 1 + (self.spread is not None) + 2 * (self.count(CellStatus.FIRST_PASS) > 0)
        return {
            "format": f"gigaslide-heatmap/{number}",
            **fields,
            **lists,
            **whole,
            "content_sha256": self.content_sha256,
        }

    @property
    def content_sha256(self) -> str:
        """SHA-256 of the arrays, and of the whole slide's score, hexadecimal."""
        digest = hashlib.sha256()
        if self.whole_slide_score is not None:
            digest.update(repr(float(self.whole_slide_score)).encode())
        for name in self.arrays:
            values = np.ascontiguousarray(getattr(self, name))
            digest.update(f"{values.dtype} {values.shape}".encode() + values.tobytes())
        return digest.hexdigest()

    @classmethod
    def load(cls, path: Path) -> "Heatmap":
        """Read a saved heatmap.

        Raises:
            StoreError: no heatmap, a damaged one, or one of another format.
        """
        try:
            group: Any = zarr.open_group(path, mode="r")
            attributes: Any = dict(group.attrs)
            form = attributes.get("format")
            if form not in FORMATS:
                raise StoreError(
                    f"{path}: not a heatmap of format {', '.join(FORMATS)}; predict this slide "
                    "again"
                )
            if unknown := attributes.keys() - {*FIELDS, *FURTHER}:
                raise StoreError(f"{path}: unknown attributes {sorted(unknown)}; update gigaslide")
            fields: Any = {name: attributes[name] for name in FIELDS}
            fields["whole_slide_score"] = attributes.get("whole_slide_score")
            for name in ("origin_level0", "slide_size"):
                fields[name] = tuple(fields[name])
            for name in FORMATS[form]:
                # Zarr reads a missing chunk as fill values, which mean "not yet scored".
                if group[name].nchunks_initialized < group[name].nchunks:
                    raise StoreError(
                        f"{path}: chunks of {name} are missing; predict this slide again"
                    )
                fields[name] = group[name][:]
            return cls(**fields)
        except StoreError:
            raise
        except (OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
            raise StoreError(
                f"{path}: not a readable heatmap ({error}); predict this slide again"
            ) from error
