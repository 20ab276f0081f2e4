"""Figures formatted for people, on the terminal and on the page."""

__all__ = [
    "format_area",
    "format_bytes",
    "format_figure",
    "format_hours",
    "round_figure",
    "strip_control",
]


def round_figure(value: float) -> str:
    """Round to two significant figures, in plain digits: 12 345 → "12,000"."""
    if not value:
        return "0"
    rounded = float(f"{value:.2g}")
    return f"{rounded:,.0f}" if abs(rounded) >= 10 else f"{rounded:g}"


def format_bytes(value: float) -> str:
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= 0.995 * size:
            return f"{round_figure(value / size)} {unit}"
    return f"{round_figure(value)} bytes" if value else "–"


def format_hours(hours: float) -> str:
    if hours >= 48:
        return f"{round_figure(hours / 24)} days"
    for unit, size in (("h", 1.0), ("min", 60.0), ("s", 3600.0)):
        if hours * size >= 0.995:
            return f"{round_figure(hours * size)} {unit}"
    return "under 1 s" if hours else "–"


def format_figure(value: float | None, form: str = "") -> str:
    return "–" if value is None else format(value, form)


def format_area(mm2: float | None) -> str:
    return "<0.001" if mm2 and mm2 < 0.001 else format_figure(mm2, ".3g")


def strip_control(text: str) -> str:
    """Replace characters that would move a terminal's cursor or end a line."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
