"""Counts of a store's patches, and a check that all of it can be read."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..storage import StoreError
from ..wsi import CLASSES
from .metadata import Part, SlidePatches, is_corrected
from .store import PatchStore
from .write import METADATA_ARRAYS

__all__ = ["Damage", "StoreCheck", "inventory", "totals", "verify_store"]

ROWS_AT_ONCE = 64
LATER, OF_CORRECTIONS = "hard negatives", "of corrections"
NUMBERS = [*CLASSES, LATER, OF_CORRECTIONS, "unreadable"]


@dataclass(frozen=True, kw_only=True)
class StoreCheck:
    """Result of reading a whole store."""

    damaged: tuple["Damage", ...]
    sha256: str
    """Digest of all values of all patches, in the order of slide ids: equal for equal patches,
    whoever wrote them and in whatever order. Empty if something is damaged."""
    absent: tuple[str, ...]
    """Slides that are listed but have no patches: they failed, were not tiled yet, or are lost."""


@dataclass(frozen=True, kw_only=True)
class Damage:
    """Array that cannot be read whole."""

    group: str
    array: str
    reason: str


def inventory(store: PatchStore) -> pd.DataFrame:
    """Count patches, one row a slide: slide, patient, split, label, readable patches of each class,
    hard negatives and patches of corrections among them, unreadable patches."""
    rows = [
        {
            "slide": slide.id,
            "patient": slide.patient,
            "split": slide.split,
            "label": slide.label,
            **slide.counts,
            LATER: sum(part.count for part in _later(slide) if not is_corrected(part)),
            OF_CORRECTIONS: sum(part.count for part in _later(slide) if is_corrected(part)),
            "unreadable": slide.unreadable,
        }
        for slide in store.slides
    ]
    table = pd.DataFrame(rows, columns=["slide", "patient", "split", "label", *NUMBERS])
    return table if bool(table[OF_CORRECTIONS].any()) else table.drop(columns=OF_CORRECTIONS)


def _later(slide: SlidePatches) -> Iterator[Part]:
    """Yield the groups of patches that were added to a slide's own."""
    for parts in slide.parts.values():
        yield from (part for part in parts if part.group.count("/") > 1)


def totals(table: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Sum an inventory by some of its columns, with the numbers of slides and patients."""
    numbers = [name for name in NUMBERS if name in table]
    groups = {**dict.fromkeys(numbers, "sum"), "slide": "nunique", "patient": "nunique"}
    summed = table.groupby(list(by), sort=False, as_index=False).agg(
        **{f"{name}s" if how == "nunique" else name: (name, how) for name, how in groups.items()}
    )
    return summed.reindex(
        columns=[*by, "slides", *([] if "patient" in by else ["patients"]), *numbers]
    )


def verify_store(
    store: PatchStore, *, on_patches: Callable[[int], object] | None = None
) -> StoreCheck:
    """Read every value and so compare every checksum; on_patches receives the number of rows read.

    Raises:
        StoreError: no store is there.
    """
    found, digest = [], hashlib.sha256()
    for slide in sorted(store.slides, key=lambda slide: slide.id):
        for part in (part for parts in slide.parts.values() for part in parts):
            for name in (*METADATA_ARRAYS, *store.tile_settings.arrays):
                for rows in _read(store, part, name):
                    if isinstance(rows, Damage):
                        found.append(rows)
                    else:
                        digest.update(rows)
            if on_patches is not None:
                on_patches(part.rows)
    there = {slide.id for slide in store.slides}
    absent = tuple(sorted(set(store.attributes["slides"]) - there))
    return StoreCheck(
        damaged=tuple(found), sha256="" if found else digest.hexdigest(), absent=absent
    )


def _read(store: PatchStore, part: Part, name: str) -> Iterator[bytes | Damage]:
    """Yield name, dtype and shape of one array, then its values part by part; `Damage` in place of
    an unreadable part."""
    head = f"{part.group}/{name} {part.rows} "
    if name in METADATA_ARRAYS:
        try:
            values = store.read_rows(part, name, slice(None))
        except StoreError as error:
            yield Damage(group=part.group, array=name, reason=str(error))
            return
        yield (
            f"{head}{values.dtype} {values.shape[1:]}".encode()
            + np.ascontiguousarray(values).tobytes()
        )
        yield from _miscounted(part, name, values)
        return
    yield f"{head}uint8 {store.tile_settings.arrays[name]}".encode()
    # Part by part, because a damaged shard must not hide the others.
    for first in range(0, part.rows, ROWS_AT_ONCE):
        wanted = slice(first, min(first + ROWS_AT_ONCE, part.rows))
        try:
            yield store.read_rows(part, name, wanted).tobytes()
        except StoreError as error:
            yield Damage(
                group=part.group,
                array=f"{name}, rows {wanted.start} to {wanted.stop}",
                reason=str(error),
            )


def _miscounted(part: Part, name: str, values: np.ndarray) -> Iterator[Damage]:
    if len(values) != part.rows:
        yield Damage(
            group=part.group, array=name, reason=f"{len(values)} rows, {part.rows} were written"
        )
    elif name == "unreadable" and int(np.sum(values)) != part.unreadable:
        reason = f"{int(np.sum(values))} patches are marked, {part.unreadable} are recorded"
        yield Damage(group=part.group, array=name, reason=reason)
