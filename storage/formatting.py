"""Counts as a sentence has them."""

__all__ = ["format_count", "pluralise"]


def format_count(count: int, noun: str, plural: str = "") -> str:
    """A count and what it counts: "1 slide", "0 slides"; the plural where it is not the noun with
    an s."""
    return f"{count} {pluralise(count, noun, plural)}"


def pluralise(count: float, noun: str, plural: str = "") -> str:
    """The noun as it stands behind that count."""
    return noun if count == 1 else plural or f"{noun}s"
