"""Readers that give a slide's pixels tile by tile, one module per kind of file."""

from .choose_reader import open_reader
from .open_tiff import open_tiff
from .pyramid import Pyramid, PyramidLevel, TileReader

__all__ = ["Pyramid", "PyramidLevel", "TileReader", "open_reader", "open_tiff"]
