"""Features in the HDF5 files of TRIDENT, CLAM and STAMP; writing in TRIDENT's layout.

TRIDENT  features (N, D), coords (N, 2) level-0 px, its attributes say the size of the patches
CLAM     features (N, D), coords (N, 2) level-0 px, without attributes; those of the patches are in
         another file of the same name
STAMP    feats or patch_embeddings (N, D), coords (N, 2) µm, attributes of the file
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...storage import StoreError, atomic_file
from .h5_file import H5Contents, read_h5
from .slide_features import SlideFeatures

__all__ = ["SlideFacts", "read_foreign_features", "trident_folder", "write_trident"]

NAMES = ("features", "feats", "patch_embeddings", "coords")
OURS = ("encoder_hash", "encoder_card", "side_level0", "stride_level0")
"""Attributes of coords that we add to TRIDENT's, so that nothing is lost on the way back."""
LEVEL0_MAGNIFICATION = 10.0
"""µm/px times magnification: 40 × is 0.25 µm/px."""


@dataclass(frozen=True, kw_only=True)
class SlideFacts:
    """Facts about a slide that its foreign features lack."""

    id: str
    mpp: float
    """µm per level-0 px."""
    size: tuple[int, int] | None = None
    """(width, height), level-0 px; None: the file must tell."""
    level_downsamples: tuple[float, ...] = ()
    patch_level0: float | None = None
    """Side of a patch, level-0 px, where no file tells."""


class _Grid(NamedTuple):
    """Size and distance of the windows of a file."""

    patch_px: int
    side_level0: float
    stride_level0: float


def read_foreign_features(
    path: Path, slide: SlideFacts, *, patches: Path | None = None
) -> SlideFeatures:
    """Read a file of TRIDENT, CLAM or STAMP, told apart by what it holds. Links to other files are
    not followed, and only numbers are read.

    patches: CLAM's file of the slide's patches.

    Raises:
        StoreError: another layout, with a list of what was found; a damaged file; or features that
            are not finite.
    """
    found = read_h5(path, NAMES)
    for is_layout, read in LAYOUTS:
        if is_layout(found):
            return read(found, slide, patches)
    raise StoreError(
        f"{path}: not a file of TRIDENT or CLAM (features, coords) nor of STAMP (feats, coords, "
        f"unit um); it holds {found.found}"
    )


def _is_stamp(found: H5Contents) -> bool:
    has_features = bool({"feats", "patch_embeddings"} & found.arrays.keys())
    return has_features and "coords" in found.arrays and found.attributes[""].get("unit") == "um"


def _is_trident_or_clam(found: H5Contents) -> bool:
    return {"features", "coords"} <= found.arrays.keys()


def _read_stamp(found: H5Contents, slide: SlideFacts, _patches: Path | None) -> SlideFeatures:
    attributes = found.attributes[""]
    name = "feats" if "feats" in found.arrays else "patch_embeddings"
    side_um = _number(found, "", "tile_size_um", "tile_size")
    patch_px = round(_number(found, "", "tile_size_px", default=224))
    side = side_um / slide.mpp
    return _make(
        found.arrays[name],
        np.asarray(found.arrays["coords"], np.float64) / slide.mpp,
        found,
        slide,
        _Grid(patch_px, side_level0=side, stride_level0=side),
        encoder=str(attributes.get("extractor", "")),
    )


def _read_trident_or_clam(
    found: H5Contents, slide: SlideFacts, patches: Path | None
) -> SlideFeatures:
    attributes = found.attributes["coords"]
    if "patch_size_level0" in attributes:
        patch_px = round(_number(found, "coords", "patch_size"))
        side = _number(found, "coords", "side_level0", "patch_size_level0")
        overlap = _number(found, "coords", "overlap", default=0, least=-1e9) * side / patch_px
        stride = _number(found, "coords", "stride_level0", default=side - overlap)
    else:
        patch_px, side = _clam_patch(found, slide, patches)
        stride = _usual_step(found.arrays["coords"]) or side
    named = found.attributes["features"].get("encoder")
    folder = found.path.parent.name
    by_folder = folder.removeprefix("features_") if folder.startswith("features_") else ""
    return _make(
        found.arrays["features"],
        found.arrays["coords"],
        found,
        slide,
        _Grid(patch_px, side_level0=side, stride_level0=stride),
        encoder=str(named or by_folder),
    )


LAYOUTS: tuple[
    tuple[
        Callable[[H5Contents], bool],
        Callable[[H5Contents, SlideFacts, Path | None], SlideFeatures],
    ],
    ...,
] = (
    (_is_stamp, _read_stamp),
    (_is_trident_or_clam, _read_trident_or_clam),
)
"""A new layout is added here: how it is told, how it is read."""


def _clam_patch(found: H5Contents, slide: SlideFacts, patches: Path | None) -> tuple[int, float]:
    """Side of CLAM's patches in px and in level-0 px."""
    given = read_h5(patches, ("coords",)) if patches is not None else found
    attributes = given.attributes.get("coords", {})
    if "patch_size" in attributes:
        patch_px = _number(given, "coords", "patch_size")
        level = _number(given, "coords", "patch_level", least=0)
        downsample = attributes.get("downsample")
        if downsample is None and level < len(slide.level_downsamples):
            downsample = slide.level_downsamples[round(level)]
        if isinstance(downsample, list | tuple):
            downsample = downsample[0]
        if isinstance(downsample, int | float):
            return round(patch_px), float(patch_px * downsample)
    if slide.patch_level0 is None:
        raise StoreError(
            f"{found.path}: the size of its patches is unknown: it holds {found.found}; give "
            "CLAM's folder of patches with --patches, or their side with --patch-level0"
        )
    return round(slide.patch_level0), slide.patch_level0


def _usual_step(coords: np.ndarray) -> float:
    """Most frequent distance between neighbouring windows of one row or column; 0 if none has a
    neighbour.

    CLAM lays a grid of its own over each piece of tissue, so distances between rows, or columns, of
    two pieces mean nothing.
    """
    xy, steps = np.asarray(coords, np.float64).reshape(-1, 2), []
    for axis in (0, 1):
        ordered = xy[np.lexsort((xy[:, axis], xy[:, 1 - axis]))]
        step, across = np.diff(ordered, axis=0)[:, [axis, 1 - axis]].T
        steps.append(step[(across == 0) & (step > 0)])
    found, counts = np.unique(np.concatenate(steps), return_counts=True)
    return float(found[counts.argmax()]) if len(found) else 0.0


def _number(
    found: H5Contents,
    array: str,
    *names: str,
    default: float | None = None,
    least: float = 1e-9,
) -> float:
    """The first of these attributes that is there, and is a number of at least `least`."""
    attributes = found.attributes[array]
    for name in names:
        value = attributes.get(name)
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if isinstance(value, int | float) and least <= value < 1e9:
            return float(value)
    if default is None:
        where = f" of {array}" if array else ""
        raise StoreError(
            f"{found.path}: no usable attribute {' or '.join(names)}{where}; it holds {found.found}"
        )
    return default


def _make(
    features: np.ndarray,
    xy: np.ndarray,
    found: H5Contents,
    slide: SlideFacts,
    grid: _Grid,
    *,
    encoder: str,
) -> SlideFeatures:
    if features.ndim == 3 and len(features) == 1:
        features = features[0]
    if xy.ndim != 2 or xy.shape[1] != 2 or features.ndim != 2 or len(features) != len(xy):
        raise StoreError(f"{found.path}: features and coords do not go together: {found.found}")
    if (
        min(grid.patch_px, grid.side_level0) <= 0
        or not np.isfinite(xy).all()
        or (abs(xy) > 2**40).any()
    ):
        raise StoreError(f"{found.path}: coords or the size of the patches are not possible")
    added = found.attributes.get("coords", {})
    with np.errstate(over="ignore"):
        narrow = features.astype(np.float16)
    return SlideFeatures(
        slide=slide.id,
        features=narrow,
        xy=np.rint(xy).astype(np.int64),
        patch_px=grid.patch_px,
        mpp=slide.mpp * grid.side_level0 / grid.patch_px,
        side_level0=grid.side_level0,
        stride_level0=grid.stride_level0,
        slide_size=slide.size or _size(found),
        slide_mpp=slide.mpp,
        encoder=encoder,
        encoder_hash=str(added.get("encoder_hash", "")),
        encoder_card=_card(added.get("encoder_card")),
    )


def _size(found: H5Contents) -> tuple[int, int]:
    width, height = (_number(found, "coords", f"level0_{side}") for side in ("width", "height"))
    return round(width), round(height)


def _card(text: Any) -> Mapping[str, Any]:
    try:
        card = json.loads(text) if isinstance(text, str) else {}
    except ValueError:
        return {}
    return card if isinstance(card, dict) else {}


def trident_folder(features: SlideFeatures) -> str:
    """Name of the folder in which TRIDENT keeps such features, of all slides of one encoder."""
    magnification = max(1, round(LEVEL0_MAGNIFICATION / features.mpp))
    safe = "".join(one if one.isalnum() or one in "-_." else "_" for one in features.encoder)
    overlap = _overlap_px(features)
    return (
        f"{magnification}x_{features.patch_px}px_{overlap}px_overlap/features_{safe or 'unknown'}"
    )


def _overlap_px(features: SlideFeatures) -> int:
    stride_px = features.stride_level0 * features.patch_px / features.side_level0
    return round(features.patch_px - stride_px)


def write_trident(features: SlideFeatures, path: Path) -> None:
    """Write a file as TRIDENT does: `features` (N, D) float32, `coords` (N, 2) int64 level-0 px."""
    import h5py

    width, height = features.slide_size
    attributes = {
        "patch_size": features.patch_px,
        "patch_size_level0": round(features.side_level0),
        "level0_magnification": max(1, round(LEVEL0_MAGNIFICATION / features.slide_mpp)),
        "target_magnification": max(1, round(LEVEL0_MAGNIFICATION / features.mpp)),
        "overlap": _overlap_px(features),
        "name": features.slide,
        "savetodir": "",
        "level0_width": width,
        "level0_height": height,
        **{name: getattr(features, name) for name in OURS if name != "encoder_card"},
        "encoder_card": json.dumps(dict(features.encoder_card)),
    }
    with atomic_file(path) as partial, h5py.File(partial, "w") as file:
        numbers = file.create_dataset("features", data=features.features.astype(np.float32))
        numbers.attrs["encoder"] = features.encoder
        coords = file.create_dataset("coords", data=features.xy)
        for name, value in attributes.items():
            coords.attrs[name] = value
