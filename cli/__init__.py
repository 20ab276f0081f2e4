"""The command `gigaslide`, thin: it parses, makes settings, makes one call, and returns an exit
status."""

from .main import main

__all__ = ["main"]
