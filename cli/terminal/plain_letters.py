"""Output on terminals without Unicode: µ becomes u, × becomes x, and so on."""

import codecs
import io
import sys

__all__ = ["use_plain_letters"]

PLAIN = str.maketrans(
    {
        "µ": "u",
        "×": "x",
        "±": "+-",
        "²": "2",
        "…": "...",
        "–": "-",
        "→": "->",
        "≤": "<=",
        "≥": ">=",
        "≈": "~",
        "’": "'",
    }
)


def use_plain_letters() -> None:
    """Write the letters that the terminal's encoding lacks in ASCII, instead of raising."""
    codecs.register_error("gigaslide.plain", _replace)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and "utf" not in stream.encoding.lower():
            stream.reconfigure(errors="gigaslide.plain")


def _replace(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    text = error.object[error.start : error.end].translate(PLAIN)
    return text.encode("ascii", "replace").decode(), error.end
