"""`gigaslide store`: info, verify and montage."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ...patching import (
    PatchStore,
    inventory,
    montage,
    save_montage,
    totals,
    verify_store,
)
from ...storage import parse_location
from ...wsi import StainMethod
from ..options.arguments import StoreLocation
from ..terminal.progress import print_line, progress_bar
from ..terminal.tables import print_table

__all__ = ["store"]

MAX_NAMES = 10


def show_info(store: StoreLocation) -> int:
    """Count the patches of each class by split, patient and slide."""
    opened = _open(store)
    table, settings = inventory(opened), opened.tile_settings
    scales = " and ".join(f"{mpp:g}" for mpp in settings.scales.values())
    copies = f", {settings.copies} augmented copies of each" if settings.copies else ""
    print_line(
        f"{opened.path}: patches of {settings.patch_px} px at {scales} µm/px, stored with a margin "
        f"of {settings.margin_px} px for augmentation{copies}"
    )
    if table.empty:
        print_line("no slide is finished yet; gigaslide tile continues with those that were begun")
        return 0
    print_line("\nby split")
    print_table(totals(table, ["split"]))
    print_line("\nby patient")
    print_table(totals(table, ["split", "patient"]))
    print_line("\nby slide")
    print_table(table)
    return 0


def verify(store: StoreLocation) -> int:
    """Read the whole store and compare every checksum.

    Prints a hash of the content, equal for stores of equal patches. Exit status 2: something is
    damaged.
    """
    opened = _open(store)
    rows = sum(sum(slide.counts.values()) + slide.unreadable for slide in opened.slides)
    with progress_bar("verify", rows, " patches") as progress:
        check = verify_store(opened, on_patches=progress.update)
    for damage in check.damaged:
        print_line(f"damaged: {damage.group}/{damage.array}: {damage.reason}")
    print_line(
        f"{opened.path}: read {rows} patches of {len(opened.slides)} slides; damaged arrays: "
        f"{len(check.damaged)}"
    )
    if check.absent:
        names = ", ".join(check.absent[:MAX_NAMES])
        more = ", …" if len(check.absent) > MAX_NAMES else ""
        print_line(
            f"listed without patches: {names}{more}; they failed, were not tiled yet, or are lost: "
            "run gigaslide tile again"
        )
    if check.damaged:
        return 2
    print_line(f"content {check.sha256}")
    return 0


def make_montage(
    store: StoreLocation,
    picture: Annotated[Path, Parameter(help="PNG to make.")] = Path("montage.png"),
    *,
    slides: Annotated[int, Parameter(help="Maximum slides to show, spread over the store.")] = 12,
    stain: Annotated[
        StainMethod | None, Parameter(help="Stain normalisation to apply; by default none.")
    ] = None,
) -> int:
    """Make a contact sheet of patches, framed by class."""
    image = montage(_open(store), slides=slides, stain=stain)
    save_montage(image, picture)
    print_line(f"{picture}: {image.shape[1]} × {image.shape[0]} px")
    return 0


def _open(store: str) -> PatchStore:
    return PatchStore(parse_location(store, Path()))


store = {"info": show_info, "verify": verify, "montage": make_montage}
