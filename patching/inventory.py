"""What a store holds, and whether all of it can be read back."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..wsi import StoreError
from .contents import CLASSES, Part
from .store import PatchStore
from .write import METADATA_ARRAYS

__all__ = ["Damage", "inventory", "totals", "verify_store"]

ROWS_AT_ONCE = 64
LATER = "of these later"
NUMBERS = [*CLASSES, LATER, "unreadable"]


@dataclass(frozen=True, kw_only=True)
class Damage:
    """One array that cannot be read back whole."""

    group: str
    array: str
    reason: str


def inventory(store: PatchStore) -> pd.DataFrame:
    """One row a slide: slide, patient, split, label, then numbers of patches.

    Those are the readable ones of each class, how many of these came later, and the unreadable ones.
    """
    rows = [
        {
            "slide": slide.id,
            "patient": slide.patient,
            "split": slide.split,
            "label": slide.label,
            **slide.counts,
            LATER: sum(part.count for parts in slide.parts.values() for part in parts[1:]),
            "unreadable": slide.unreadable,
        }
        for slide in store.slides
    ]
    return pd.DataFrame(rows, columns=["slide", "patient", "split", "label", *NUMBERS])


def totals(table: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Sums of an inventory's numbers, and how many slides and patients they come from, by some of its columns."""
    groups = {**dict.fromkeys(NUMBERS, "sum"), "slide": "nunique", "patient": "nunique"}
    summed = table.groupby(list(by), sort=False, as_index=False).agg(
        **{f"{name}s" if how == "nunique" else name: (name, how) for name, how in groups.items()}
    )
    return summed.reindex(columns=[*by, "slides", *([] if "patient" in by else ["patients"]), *NUMBERS])


def verify_store(store: PatchStore, *, on_patches: Callable[[int], object] | None = None) -> list[Damage]:
    """Read every patch and every number, which compares every checksum; on_patches hears how many rows were read.

    Raises:
        StoreError: no store there.
    """
    arrays = store.tile_settings.arrays
    found = []
    for slide in store.slides:
        for part in (part for parts in slide.parts.values() for part in parts):
            found += _numbers(store, part)
            for name in arrays:
                found += _pixels(store, part, name)
            if on_patches is not None:
                on_patches(part.rows)
    return found


def _numbers(store: PatchStore, part: Part) -> Iterator[Damage]:
    for name in METADATA_ARRAYS:
        try:
            values = store.read_rows(part, name, slice(None))
        except StoreError as error:
            yield Damage(group=part.group, array=name, reason=str(error))
            continue
        if len(values) != part.rows:
            reason = f"{len(values)} rows, {part.rows} were written"
            yield Damage(group=part.group, array=name, reason=reason)
        elif name == "unreadable" and int(np.sum(values)) != part.unreadable:
            reason = f"{int(np.sum(values))} patches are marked, {part.unreadable} were told"
            yield Damage(group=part.group, array=name, reason=reason)


def _pixels(store: PatchStore, part: Part, name: str) -> Iterator[Damage]:
    # Part by part, for a damaged shard must not hide the others.
    for first in range(0, part.rows, ROWS_AT_ONCE):
        wanted = slice(first, min(first + ROWS_AT_ONCE, part.rows))
        try:
            store.read_rows(part, name, wanted)
        except StoreError as error:
            yield Damage(group=part.group, array=f"{name}, rows {wanted.start} to {wanted.stop}", reason=str(error))
