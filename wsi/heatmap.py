"""Heatmap of a slide: a tumour probability per cell, on disk as a Zarr v3 group.

Format 1 has the arrays `probability` and `status`; format 2, of several models, also `spread`.
"""

import hashlib
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec

from ..storage import StoreError, atomic_folder

__all__ = ["CellStatus", "Heatmap"]

FORMAT, FORMAT_WITH_SPREAD = "gigaslide-heatmap/1", "gigaslide-heatmap/2"
ARRAYS = ("probability", "status")
SPREAD = "spread"
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
FURTHER = ("format", "content_sha256", "recipe", "counts")
"""Further attributes; whoever predicts writes the last two."""


class CellStatus(IntEnum):
    """Status of a cell. Only `SCORED` cells have a probability; all others are NaN, never 0."""

    NOT_YET = 0
    SCORED = 1
    BACKGROUND = 2
    UNREADABLE = 3
    FAILED = 4
    """Read, but the model returned NaN."""


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

    def __post_init__(self) -> None:
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
                    "set NaN where the status is not SCORED"
                )

    @property
    def arrays(self) -> tuple[str, ...]:
        """Names of the arrays that this heatmap has."""
        return ARRAYS if self.spread is None else (*ARRAYS, SPREAD)

    @property
    def scored(self) -> np.ndarray:
        """Cells that have a probability, (rows, columns) bool."""
        return self.status == CellStatus.SCORED

    def cell_centres(self, cells: np.ndarray) -> np.ndarray:
        """Centres of cells (N, 2) (row, column): (N, 2) float64 level-0 (x, y)."""
        return (np.asarray(cells)[:, ::-1] + 0.5) * self.stride_level0 + np.asarray(
            self.origin_level0
        )

    def count(self, status: CellStatus) -> int:
        """Count the cells of a status."""
        return int((self.status == status).sum())

    @property
    def slide_score(self) -> float:
        """Highest probability of the slide (Liu et al. 2017); 0.0 if no cell was scored."""
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
        form = FORMAT if self.spread is None else FORMAT_WITH_SPREAD
        return {"format": form, **fields, **lists, "content_sha256": self.content_sha256}

    @property
    def content_sha256(self) -> str:
        """SHA-256 of the arrays, hexadecimal."""
        digest = hashlib.sha256()
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
            if form not in (FORMAT, FORMAT_WITH_SPREAD):
                raise StoreError(
                    f"{path}: not a heatmap of format {FORMAT} or {FORMAT_WITH_SPREAD}; predict "
                    "this slide again"
                )
            if unknown := attributes.keys() - {*FIELDS, *FURTHER}:
                raise StoreError(f"{path}: unknown attributes {sorted(unknown)}; update gigaslide")
            fields: Any = {name: attributes[name] for name in FIELDS}
            for name in ("origin_level0", "slide_size"):
                fields[name] = tuple(fields[name])
            for name in ARRAYS if form == FORMAT else (*ARRAYS, SPREAD):
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
