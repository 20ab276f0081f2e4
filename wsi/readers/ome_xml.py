"""OME-XML in a TIFF's first description, about one of the file's images."""

import tifffile
from defusedxml import DefusedXmlException, ElementTree

from .units import parse_number, to_um

__all__ = ["describe_unfit_pixels", "ome_mpp_xy", "read_ome_pixels"]


def read_ome_pixels(tiff: tifffile.TiffFile, page: tifffile.TiffPage) -> dict[str, str]:
    """Return the attributes of the Pixels element about a page; empty if there is none.

    A file may hold several images, and each has its own µm/px. Its size tells which one is
    described; among images of one size, the number of its directory does.
    """
    try:
        root = ElementTree.fromstring(tiff.pages.first.description)
    except (ElementTree.ParseError, DefusedXmlException, ValueError):
        return {}
    # Match by suffix, because the namespace changes with every version of the schema.
    every = [element for element in root.iter() if element.tag.endswith("}Pixels")]
    size = str(page.imagewidth), str(page.imagelength)
    same_size = [one for one in every if (one.get("SizeX"), one.get("SizeY")) == size]
    if not same_size:
        return every[0].attrib if len(every) == 1 else {}
    by_number = [
        one
        for one in same_size
        for data in one
        if data.tag.endswith("}TiffData") and data.get("IFD", "0") == str(page.index)
    ]
    return [*by_number, *same_size][0].attrib


def ome_mpp_xy(pixels: dict[str, str]) -> tuple[float, float] | None:
    """µm/px in x and in y that the attributes state."""
    try:
        x, y = (
            to_um(
                parse_number(pixels[f"PhysicalSize{axis}"]),
                pixels.get(f"PhysicalSize{axis}Unit", "µm"),
            )
            for axis in "XY"
        )
    except (KeyError, ValueError):
        return None
    return None if x is None or y is None else (x, y)


def describe_unfit_pixels(pixels: dict[str, str]) -> str | None:
    """Reason why it is no brightfield image; None if there is none."""
    if pixels.get("Type", "uint8") != "uint8":
        return f"its pixels are {pixels['Type']}, expected uint8"
    if pixels.get("SizeC", "3") != "3":
        return f"it has {pixels['SizeC']} channels, expected red, green and blue"
    for axis in "ZT":
        if pixels.get(f"Size{axis}", "1") != "1":
            return f"it is a stack of {pixels[f'Size{axis}']} planes in {axis}"
    return None
