"""Figures as a person reads them, on the terminal and on the page."""

__all__ = ["about", "about_bytes", "about_hours", "area", "figure", "format_count", "printable"]


def about(value: float) -> str:
    """Two significant figures, in plain digits: 12 345 → "12,000"."""
    if not value:
        return "0"
    rounded = float(f"{value:.2g}")
    return f"{rounded:,.0f}" if abs(rounded) >= 10 else f"{rounded:g}"


def about_bytes(value: float) -> str:
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= 0.995 * size:
            return f"{about(value / size)} {unit}"
    return f"{about(value)} bytes" if value else "–"


def about_hours(hours: float) -> str:
    if hours >= 48:
        return f"{about(hours / 24)} days"
    for unit, size in (("h", 1.0), ("min", 60.0), ("s", 3600.0)):
        if hours * size >= 0.995:
            return f"{about(hours * size)} {unit}"
    return "under 1 s" if hours else "–"


def figure(value: float | None, form: str = "") -> str:
    return "–" if value is None else format(value, form)


def area(mm2: float | None) -> str:
    return "<0.001" if mm2 and mm2 < 0.001 else figure(mm2, ".3g")


def format_count(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def printable(text: str) -> str:
    """Without characters that would move a terminal's cursor or end a line."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
