"""Made data that the tests share: slides whose every pixel is known, on disk as OpenSlide reads
them.

Sizes are odd and unlike in x and y, so that no swapped axis and no tile one pixel off goes unseen.
"""

import logging
import math
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from gigaslide.cohort import Cohort, CohortSlide
from gigaslide.wsi import open_slide

pytest_plugins = (
    "tiling",
    "plain_networks",
    "predictions",
    "bucket",
    "checkups",
    "schedulers",
    "command_lines",
    "serving",
    "viewing",
    "qupath",
)  # fixtures of one stage each

os.environ["GIGASLIDE_CACHE"] = ""  # tests keep nothing in the home of the user


@pytest.fixture(autouse=True)
def hear_every_level(caplog: pytest.LogCaptureFixture) -> None:
    """Undo what Dask did in another test: it silences the handlers that it finds, caplog's too."""
    caplog.handler.setLevel(logging.NOTSET)


WIDTH, HEIGHT, MPP = 1531, 1127, 0.5
REAL_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def position_coded(width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """Red is x mod 256, green y mod 256, blue tells which 256: no two pixels of up to 4096 × 4096
    are alike."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x % 256, y % 256, x // 256 + 16 * (y // 256)], axis=2).astype(np.uint8)


def wave(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A smooth colour of a place in level-0 px, different in x and y: float64, channels last."""
    red = 128 + 100 * np.sin(x / 97)
    green = 128 + 100 * np.cos(y / 61)
    blue = 128 + 100 * np.sin(x / 233 + y / 171)
    return np.stack([red, green, blue], axis=-1)


def wave_slide(width: int, height: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width] + 0.5
    return np.rint(wave(x, y)).astype(np.uint8)


def block_means(pixels: np.ndarray, *, columns: int, rows: int) -> np.ndarray:
    """Area average to (rows, columns), written out as sums: pixels may belong to two blocks in
    part."""
    small = pixels.astype(np.float64)
    for axis, count in ((0, rows), (1, columns)):
        length = small.shape[axis]
        total = np.insert(np.cumsum(small, axis=axis), 0, 0, axis=axis)
        edges = np.arange(count + 1) * length / count
        low = np.minimum(np.floor(edges).astype(int), length)
        high = np.minimum(low + 1, length)
        part = (edges - low).reshape([-1 if a == axis else 1 for a in range(3)])
        at_edges = np.take(total, low, axis) * (1 - part) + np.take(total, high, axis) * part
        small = np.diff(at_edges, axis=axis) * count / length
    return np.rint(small).astype(np.uint8)


def write_tiff(
    path: Path,
    pixels: np.ndarray,
    *,
    mpp: float | tuple[float, float] | None = MPP,
    level_sizes: tuple[tuple[int, int], ...] = (),
    tile_px: int = 256,
    jpeg: bool = False,
) -> Path:
    """A tiled TIFF with the reduced levels of those (width, height); lossless unless jpeg."""
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"photometric": "rgb", "tile": (tile_px, tile_px), "metadata": None}
    options |= (
        {"compression": "jpeg", "compressionargs": {"level": 90}}
        if jpeg
        else {"compression": "deflate"}
    )
    if mpp is not None:
        across, down = mpp if isinstance(mpp, tuple) else (mpp, mpp)
        options |= {"resolution": (1e4 / across, 1e4 / down), "resolutionunit": "CENTIMETER"}
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(pixels, **options)
        for columns, rows in level_sizes:
            tiff.write(block_means(pixels, columns=columns, rows=rows), subfiletype=1, **options)
    return path


def windows_of(
    path: Path, xy, *, size: int, mpp: float = MPP, **options
) -> list[np.ndarray | None]:
    """Windows of the slide in that file, in the order asked for; None where one cannot be read."""
    with open_slide(path, **options) as slide:
        found = dict(slide.read_windows(np.asarray(xy), size=size, mpp=mpp))
    assert sorted(found) == list(range(len(xy)))
    return [found[index] for index in range(len(xy))]


def offset_level0(
    window: np.ndarray, *, x: float, y: float, px_level0: float
) -> tuple[float, float]:
    """By how many level-0 px (x, y) a window of the wave lies off its place: least squares on the
    wave's slopes."""
    rows, columns = np.mgrid[: window.shape[0], : window.shape[1]] + 0.5
    at_x, at_y = x + columns * px_level0, y + rows * px_level0
    slope_x = (wave(at_x + 0.5, at_y) - wave(at_x - 0.5, at_y)).ravel()
    slope_y = (wave(at_x, at_y + 0.5) - wave(at_x, at_y - 0.5)).ravel()
    matrix = np.stack([slope_x, slope_y, np.ones_like(slope_x)], axis=1)
    (dx, dy, _), *_ = np.linalg.lstsq(matrix, (window - wave(at_x, at_y)).ravel(), rcond=None)
    return float(dx), float(dy)


def tile_place(path: Path, index: int, *, page: int = 0) -> tuple[int, int]:
    """(offset, length) in the file of one tile."""
    with tifffile.TiffFile(path) as tiff:
        return tiff.pages[page].dataoffsets[index], tiff.pages[page].databytecounts[index]


def stained_slide(seed: int, *, tissue: bool = True) -> np.ndarray:
    """Glass with two pieces of noisy pink: no two patches of it are alike."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(240, 250, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    if tissue:
        y, x = np.mgrid[:HEIGHT, :WIDTH]
        inside = ((x - 560) / 470) ** 2 + ((y - 520) / 410) ** 2 < 1
        inside |= ((x - 1290) / 170) ** 2 + ((y - 800) / 260) ** 2 < 1
        pink = np.clip(rng.normal((190, 110, 160), 25, (int(inside.sum()), 3)), 0, 255)
        pixels[inside] = pink.astype(np.uint8)
    return pixels


TUMOR_RINGS = [
    # x, y: a slanted outline with a hole, and a far smaller one on the other piece of tissue.
    (
        [(300.5, 250.25), (820, 330), (760, 700.75), (520, 640), (350, 780)],
        [(500, 400), (640, 420), (580, 560)],
    ),
    ([(1240, 700), (1300, 690.5), (1330, 760), (1251, 775)], []),
]


def geojson(rings: list[tuple[list, list]] = TUMOR_RINGS, *, group: str = "Tumor") -> dict:
    """QuPath's form of polygons, each an outer ring and at most one hole, rings not yet closed."""
    features = []
    for number, (shell, hole) in enumerate(rings):
        coordinates = [[*ring, ring[0]] for ring in (shell, hole) if ring]
        features.append(
            {
                "type": "Feature",
                "geometry": {"type": "Polygon", "coordinates": coordinates},
                "properties": {
                    "objectType": "annotation",
                    "name": f"lesion {number}",
                    "classification": {"name": group, "color": [200, 0, 0]},
                },
            }
        )
    return {"type": "FeatureCollection", "features": features}


def asap_xml(
    shapes: list[tuple[str, str, list[tuple[float, float]]]], *, kind: str = "Polygon"
) -> str:
    """ASAP's XML of (name, group, ring) shapes, written by hand."""
    drawn = "".join(
        f'<Annotation Name="{name}" Type="{kind}" PartOfGroup="{group}" '
        'Color="#F4FA58"><Coordinates>'
        + "".join(f'<Coordinate Order="{i}" X="{x}" Y="{y}" />' for i, (x, y) in enumerate(ring))
        + "</Coordinates></Annotation>"
        for name, group, ring in shapes
    )
    groups = "".join(
        f'<Group Name="{group}" PartOfGroup="None" Color="#00ff00"><Attributes /></Group>'
        for group in sorted({group for _, group, _ in shapes})
    )
    return (
        f'<?xml version="1.0"?><ASAP_Annotations><Annotations>{drawn}</Annotations>'
        f"<AnnotationGroups>{groups}</AnnotationGroups></ASAP_Annotations>"
    )


def even_odd(rings: list[tuple[list, list]], x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Which points lie inside, by counting the edges that a ray to the right crosses; holes
    included."""
    inside = np.zeros(np.shape(x), bool)
    for shell, hole in rings:
        for ring in (shell, hole):
            for (x0, y0), (x1, y1) in zip(ring, [*ring[1:], *ring[:1]], strict=True):
                if y0 != y1:
                    crosses = ((y0 <= y) != (y1 <= y)) & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
                    inside ^= crosses
    return inside


def brute_fraction(
    rings: list[tuple[list, list]], corner: tuple[float, float], *, side_level0: float, side_px: int
) -> float:
    """Share of the pixels of a square whose centre lies inside, one row of points after another."""
    centres = (np.arange(side_px) + 0.5) * side_level0 / side_px
    counts = [
        even_odd(rings, corner[0] + centres, np.full(side_px, corner[1] + dy)).sum()
        for dy in centres
    ]
    return float(sum(counts)) / side_px**2


def as_cohort(*rows: CohortSlide) -> Cohort:
    return Cohort.of_rows(list(rows))


def halved(size: tuple[int, int], times: int) -> tuple[tuple[int, int], ...]:
    """Sizes of the reduced levels of a pyramid by 2, rounded up."""
    return tuple(
        (math.ceil(size[0] / 2**k), math.ceil(size[1] / 2**k)) for k in range(1, times + 1)
    )


@pytest.fixture(scope="session")
def coded_slide(tmp_path_factory) -> Path:
    """Position-coded, 1531 × 1127 px at 0.5 µm/px, three levels."""
    folder = tmp_path_factory.mktemp("coded")
    return write_tiff(
        folder / "coded.tif", position_coded(), level_sizes=halved((WIDTH, HEIGHT), 2)
    )


@pytest.fixture(scope="session")
def wave_file(tmp_path_factory) -> Path:
    """The smooth one, 2025 × 1511 px at 0.25 µm/px, three levels by 2 and then 4."""
    folder = tmp_path_factory.mktemp("wave")
    sizes = ((1013, 756), (253, 189))
    return write_tiff(folder / "wave.tif", wave_slide(2025, 1511), mpp=0.25, level_sizes=sizes)


@pytest.fixture
def make_file(tmp_path) -> Callable[..., Path]:
    """Write bytes or text under a name in a fresh folder."""

    def write(name: str, content: bytes | str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write
