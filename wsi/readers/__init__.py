"""Readers that give a slide's pixels tile by tile, one module per kind of file."""

from .choose_reader import open_reader
from .pyramid import Pyramid, PyramidLevel, TileReader

__all__ = ["Pyramid", "PyramidLevel", "TileReader", "open_reader"]
