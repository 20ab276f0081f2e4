"""Features of the windows of one slide, on disk as a Zarr v3 group: `features` and `xy`."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec

from ...storage import StoreError, atomic_folder

__all__ = ["SlideFeatures"]

FORMAT = "gigaslide-features/1"
ARRAYS = ("features", "xy")
FIELDS = (
    "slide",
    "patch_px",
    "mpp",
    "side_level0",
    "stride_level0",
    "slide_size",
    "slide_mpp",
    "encoder",
    "encoder_hash",
    "encoder_card",
)
"""Fields that are attributes of the Zarr group."""
FURTHER = ("format", "content_sha256", "recipe", "counts")
CHUNK_BYTES = 2**22


@dataclass(frozen=True, kw_only=True)
class SlideFeatures:
    """A feature vector for each of N windows of one slide. Every value is finite."""

    slide: str
    """The slide's id in its cohort."""
    features: np.ndarray
    """(N, D) float16."""
    xy: np.ndarray
    """(N, 2) int64, level-0 (x, y) of the windows' top left corners; negative where a window begins
    outside the slide."""
    patch_px: int
    """Side of a window, px at `mpp`."""
    mpp: float
    """µm per window px."""
    side_level0: float
    """Side of a window, level-0 px, possibly fractional."""
    stride_level0: float
    """Distance between neighbouring windows, level-0 px, possibly fractional."""
    slide_size: tuple[int, int]
    """(width, height) of the slide, level-0 px."""
    slide_mpp: float
    """µm per level-0 px."""
    encoder: str
    """Name of the encoder."""
    encoder_hash: str
    """SHA-256 of the encoder's weights, hexadecimal; empty if unknown."""
    encoder_card: Mapping[str, Any]
    """Facts about the encoder, plain JSON; empty if unknown."""

    def __post_init__(self) -> None:
        features, xy = self.features, self.xy
        if features.dtype != np.float16 or features.ndim != 2:
            raise StoreError(
                f"features of {self.slide}: are {features.dtype} of shape {features.shape}, not "
                "float16 (windows, length)"
            )
        if xy.dtype != np.int64 or xy.shape != (len(features), 2):
            raise StoreError(
                f"features of {self.slide}: xy is {xy.dtype} of shape {xy.shape}, but "
                f"{len(features)} windows need int64 ({len(features)}, 2)"
            )
        if not np.isfinite(features).all():
            wrong = int((~np.isfinite(features)).any(axis=1).sum())
            raise StoreError(
                f"features of {self.slide}: {wrong} of {len(features)} windows have values that "
                "are not finite in float16; use another encoder, or leave out these windows"
            )

    def __len__(self) -> int:
        return len(self.features)

    @property
    def content_sha256(self) -> str:
        """SHA-256 of the arrays, hexadecimal."""
        digest = hashlib.sha256()
        for name in ARRAYS:
            values = np.ascontiguousarray(getattr(self, name))
            digest.update(f"{values.dtype} {values.shape}".encode())
            digest.update(values.data.cast("B") if values.size else b"")
        return digest.hexdigest()

    @property
    def attributes(self) -> dict[str, Any]:
        """Attributes of the Zarr group, plain JSON."""
        fields = {name: getattr(self, name) for name in FIELDS}
        plain = {"slide_size": list(self.slide_size), "encoder_card": dict(self.encoder_card)}
        return {"format": FORMAT, **fields, **plain, "content_sha256": self.content_sha256}

    def save(self, path: Path) -> None:
        """Write a Zarr v3 group with checksums, whole or not at all."""
        with atomic_folder(path, known_by="zarr.json") as partial:
            self.save_arrays(partial)
            zarr.create_group(partial, zarr_format=3, attributes=dict(self.attributes))

    def save_arrays(self, folder: Path) -> None:
        """Write the arrays of the Zarr group, with checksummed chunks, but not its zarr.json.

        Replaces what an interrupted call left.
        """
        for name in ARRAYS:
            values = getattr(self, name)
            row_bytes = max(1, values.shape[1] * values.itemsize)
            rows = max(1, min(max(1, len(values)), CHUNK_BYTES // row_bytes))
            zarr.create_array(
                folder / name,
                data=values,
                chunks=(rows, max(1, values.shape[1])),
                compressors=[BloscCodec(cname="zstd"), Crc32cCodec()],
                fill_value=0,
                config={"write_empty_chunks": True},
                zarr_format=3,
                overwrite=True,
            )

    @classmethod
    def load(cls, path: Path) -> "SlideFeatures":
        """Read saved features.

        Raises:
            StoreError: no features, damaged ones, or of another format.
        """
        try:
            group: Any = zarr.open_group(path, mode="r")
            attributes: Any = dict(group.attrs)
            if attributes.get("format") != FORMAT:
                raise StoreError(
                    f"{path}: not features of format {FORMAT}; run gigaslide features again"
                )
            if unknown := attributes.keys() - {*FIELDS, *FURTHER}:
                raise StoreError(f"{path}: unknown attributes {sorted(unknown)}; update gigaslide")
            fields: Any = {name: attributes[name] for name in FIELDS}
            fields["slide_size"] = tuple(fields["slide_size"])
            for name in ARRAYS:
                # Zarr reads a missing chunk as zeros.
                if group[name].nchunks_initialized < group[name].nchunks:
                    raise StoreError(
                        f"{path}: chunks of {name} are missing; run gigaslide features again"
                    )
                fields[name] = group[name][:]
            found = cls(**fields)
        except StoreError:
            raise
        except (OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
            raise StoreError(
                f"{path}: features that cannot be read ({error}); run gigaslide features again"
            ) from error
        if found.content_sha256 != attributes["content_sha256"]:
            raise StoreError(f"{path}: damaged, another content than was written; run it again")
        return found
