"""Exact polygons along the edges of px. Lattice points are the corners of px, (0, 0) the top left
one."""

import numpy as np
import shapely

__all__ = ["corners_of", "polygonise", "trace_mask"]


def trace_mask(mask: np.ndarray) -> list[shapely.Polygon]:
    """Outline the px that are True, (rows, columns) bool: one polygon with holes for each
    4-connected piece, in px (x, y)."""
    corners = corners_of(np.pad(mask, 1))
    return polygonise(corners, (1.0, 1.0)) if corners.size else []


def corners_of(inside: np.ndarray) -> np.ndarray:
    """(4, N) int64: row and column of lattice points, is_double, is_inside.

    is_double is 1 where two px of the value meet diagonally, so that two outlines turn there;
    is_inside is 1 where the px right of and below the point has the value.
    """
    a, b, c, d = inside[:-1, :-1], inside[:-1, 1:], inside[1:, :-1], inside[1:, 1:]
    double = (a == d) & (b == c) & (a != b)
    row, column = np.nonzero((a ^ b ^ c ^ d) | double)
    return np.stack([row, column, double[row, column], d[row, column]]).astype(np.int64)


def polygonise(corners: np.ndarray, scale: tuple[float, float]) -> list[shapely.Polygon]:
    """Polygonise the corners of one value; edges join corners in pairs, along rows and along
    columns."""
    corner_row, corner_column, is_double, is_inside = corners
    row, column = np.repeat(corners[:2], 1 + is_double, axis=1)
    points = np.stack([column, row], axis=1).astype(np.float64)
    edges = [points[np.lexsort(keys)].reshape(-1, 2, 2) for keys in ((column, row), (row, column))]
    lines = np.asarray(shapely.linestrings(np.concatenate(edges)), object)
    faces = shapely.get_parts(shapely.polygonize(lines))
    # A face is a piece or a hole; the px below right of its topmost, leftmost corner decides.
    vertex, face = shapely.get_coordinates(shapely.get_exterior_ring(faces), return_index=True)
    order = np.lexsort((vertex[:, 0], vertex[:, 1], face))
    x, y = vertex[order[np.unique(face[order], return_index=True)[1]]].astype(np.int64).T
    wide = int(column.max()) + 1
    key = corner_row * wide + corner_column
    sorting = np.argsort(key)
    is_piece = is_inside[sorting[np.searchsorted(key, y * wide + x, sorter=sorting)]] > 0
    return list(shapely.transform(faces[is_piece], lambda xy: xy * scale))
