"""Parser of OME-XML, the description inside an OME-TIFF."""

from dataclasses import dataclass

from defusedxml import DefusedXmlException, ElementTree

from .units import to_um

__all__ = ["OmeImage", "parse_ome_xml"]


@dataclass(frozen=True, kw_only=True)
class OmeImage:
    """The first image of an OME-TIFF."""

    mpp_xy: tuple[float, float] | None
    unfit: str | None
    """Reason why it is no brightfield image; None if there is none."""


def parse_ome_xml(xml: str) -> OmeImage:
    """Parse the first image of a description; both fields are None if the text is no OME-XML."""
    try:
        root = ElementTree.fromstring(xml)
    except (ElementTree.ParseError, DefusedXmlException, ValueError):
        return OmeImage(mpp_xy=None, unfit=None)
    # Match by suffix, because the namespace changes with every version of the schema.
    pixels = next(
        (element.attrib for element in root.iter() if element.tag.endswith("}Pixels")), {}
    )
    sizes = [_um(pixels, axis) for axis in "XY"]
    mpp_xy = None if sizes[0] is None or sizes[1] is None else (sizes[0], sizes[1])
    return OmeImage(mpp_xy=mpp_xy, unfit=_unfit(pixels))


def _um(pixels: dict[str, str], axis: str) -> float | None:
    try:
        return to_um(
            float(pixels[f"PhysicalSize{axis}"]), pixels.get(f"PhysicalSize{axis}Unit", "µm")
        )
    except (KeyError, ValueError):
        return None


def _unfit(pixels: dict[str, str]) -> str | None:
    if pixels.get("Type", "uint8") != "uint8":
        return f"its pixels are {pixels['Type']}, expected uint8"
    if pixels.get("SizeC", "3") != "3":
        return f"it has {pixels['SizeC']} channels, expected red, green and blue"
    for axis in "ZT":
        if pixels.get(f"Size{axis}", "1") != "1":
            return f"it is a stack of {pixels[f'Size{axis}']} planes in {axis}"
    return None
