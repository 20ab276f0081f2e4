"""`gigaslide store`."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from ..patching import (
    PatchStore,
    inventory,
    montage,
    save_montage,
    totals,
    verify_store,
)
from ..storage import parse_location
from ..wsi import StainMethod
from .show import bar, say, show_table

__all__ = ["store"]

SHOWN = 10


def store(
    what: Annotated[Literal["info", "verify", "montage"], Parameter(help="What to do.")],
    path: Annotated[str, Parameter(help="Patch store: a folder, s3://… or gs://….")],
    /,
    *,
    out: Annotated[
        Path | None, Parameter(help="montage: the PNG to write; by default montage.png.")
    ] = None,
    slides: Annotated[
        int, Parameter(help="montage: at most so many slides, spread over the store.")
    ] = 12,
    stain: Annotated[
        StainMethod | None, Parameter(help="montage: show patches normalised so.")
    ] = None,
) -> int:
    """Look at a patch store.

    info: patches of each class by split, patient and slide. verify: read everything and compare
    every checksum; exit status 2 where something is damaged, else the content's hash, which stores
    of equal patches share. montage: a contact sheet, framed by class.
    """
    opened = PatchStore(parse_location(path, Path()))
    if what == "info":
        return _info(opened)
    if what == "verify":
        return _verify(opened)
    image = montage(opened, slides=slides, stain=stain)
    save_montage(image, out or Path("montage.png"))
    say(f"{out or Path('montage.png')}: {image.shape[1]} × {image.shape[0]} px")
    return 0


def _info(opened: PatchStore) -> int:
    table, settings = inventory(opened), opened.tile_settings
    scales = " and ".join(f"{mpp:g}" for mpp in settings.scales.values())
    copies = f", {settings.copies} augmented copies of each" if settings.copies else ""
    say(
        f"{opened.path}: patches of {settings.patch_px} + 2 × {settings.margin_px} px at {scales} "
        f"µm/px{copies}"
    )
    if table.empty:
        say("no slide is finished yet; gigaslide tile goes on with what is begun")
        return 0
    say("\nby split")
    show_table(totals(table, ["split"]))
    say("\nby patient")
    show_table(totals(table, ["split", "patient"]))
    say("\nby slide")
    show_table(table)
    return 0


def _verify(opened: PatchStore) -> int:
    rows = sum(sum(slide.counts.values()) + slide.unreadable for slide in opened.slides)
    with bar("verify", rows, " patches") as progress:
        check = verify_store(opened, on_patches=progress.update)
    for damage in check.damaged:
        say(f"damaged: {damage.group}/{damage.array}: {damage.reason}")
    say(
        f"{opened.path}: {rows} patches of {len(opened.slides)} slides read, {len(check.damaged)} "
        "places damaged"
    )
    if check.absent:
        names = ", ".join(check.absent[:SHOWN]) + (", …" if len(check.absent) > SHOWN else "")
        say(
            f"listed, and no patches there: {names}; they failed, or were not tiled yet, or are "
            "lost: tile again"
        )
    if not check.damaged:
        say(f"content {check.sha256}")
    return 2 if check.damaged else 0
