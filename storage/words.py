"""Counts as a sentence has them."""

__all__ = ["counted", "noun_of"]


def counted(count: int, noun: str, plural: str = "") -> str:
    """A count and what it counts: "1 slide", "0 slides"; the plural where it is not the noun with
    an s."""
    return f"{count} {noun_of(count, noun, plural)}"


def noun_of(count: float, noun: str, plural: str = "") -> str:
    """The noun as it stands behind that count."""
    return noun if count == 1 else plural or f"{noun}s"
