"""Numbers and units of length, as slide files write them."""

__all__ = ["parse_number", "to_um"]

UM_PER_UNIT = {
    "m": 1e6,
    "meter": 1e6,
    "cm": 1e4,
    "centimeter": 1e4,
    "mm": 1e3,
    "millimeter": 1e3,
    "µm": 1.0,
    "um": 1.0,
    "micrometer": 1.0,
    "micron": 1.0,
    "microns": 1.0,
    "nm": 1e-3,
    "nanometer": 1e-3,
    "Å": 1e-4,
    "angstrom": 1e-4,
    "in": 25_400.0,
    "inch": 25_400.0,
}


def parse_number(text: str) -> float:
    """Parse a number with a decimal point or comma, also with an exponent. Raises ValueError.

    Some programs write numbers in the style of their computer's language; OpenSlide reads them in
    the same way.
    """
    return float(text.replace(",", "."))


def to_um(length: float, unit: str | None) -> float | None:
    """Convert a length to µm; None if the unit is missing or is no unit of length."""
    # µ exists twice in Unicode: as the micro sign and as the Greek letter.
    factor = UM_PER_UNIT.get((unit or "").strip().replace("\u03bc", "\u00b5"))
    return None if factor is None else length * factor
