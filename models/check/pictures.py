"""Drawn windows that hold no tumour: glass, black, grey, pen strokes, normal tissue, blur."""

import zlib
from collections.abc import Callable
from functools import partial

import cv2
import numpy as np

from ...wsi import InputSpec, fit_stain_to_patches

__all__ = [
    "DRAWN_TISSUE",
    "WHITE_GLASS",
    "blur",
    "draw_glass",
    "draw_pictures",
    "draw_tissue_windows",
]

DRAWN_TISSUE, WHITE_GLASS = "drawn normal tissue", "white glass"

WINDOWS = 4  # of each picture
GLASS = (243.0, 241, 244)
PENS = {"blue": (52, 66, 168), "green": (30, 128, 72), "black": (38, 38, 42), "red": (196, 42, 50)}
STROKE = 0.6  # width, as a share of the side of a window
GRAIN = 1.5  # standard deviation of the noise, grey levels
# Optical densities in red, green and blue of haematoxylin and eosin in amounts of 1.
HAEMATOXYLIN, EOSIN = (0.63, 0.70, 0.31), (0.10, 0.88, 0.36)
NUCLEI_PER_MM2 = 900.0
CROWDED_PER_MM2 = 6000.0  # in the cell-rich tissue that a real slide has as well
NUCLEUS_UM = (7.0, 3.5)  # axes
FIBRE_UM = (16.0, 1.5)  # correlation lengths
BLUR_UM = 4.0

Draw = Callable[[int, float, np.random.Generator], np.ndarray]
"""From a side in px, a scale in µm/px and a generator to (side, side, 3) float RGB."""


def draw_pictures(spec: InputSpec) -> dict[str, np.ndarray]:
    """Draw the windows of a network's kind, always the same ones: (N, scales, P, P, 3) uint8 RGB
    by the name of what they show.

    A network that takes normalised colours is given them as in the prediction of one slide, whose
    stain is fitted to its tissue, rich in cells or not.
    """
    found = {name: _draw_windows(name, draw, spec) for name, draw in _pictures().items()}
    return _normalise(found, spec)


def draw_glass(spec: InputSpec, *, side_px: int, count: int = WINDOWS) -> np.ndarray:
    """Draw glass as `draw_pictures` does, on windows of another side: (count, scales, side_px,
    side_px, 3) uint8 RGB."""
    wide = spec.model_copy(update={"patch_px": side_px})
    glass = _draw_windows(WHITE_GLASS, _flat(GLASS), wide, count=count)
    return _normalise({WHITE_GLASS: glass}, spec)[WHITE_GLASS]


def _normalise(found: dict[str, np.ndarray], spec: InputSpec) -> dict[str, np.ndarray]:
    if spec.stain is None:
        return found
    drawn = found.get(DRAWN_TISSUE)
    normal = _draw_windows(DRAWN_TISSUE, _draw_tissue, spec) if drawn is None else drawn
    crowded = _draw_windows("crowded", partial(_draw_tissue, per_mm2=CROWDED_PER_MM2), spec)
    fit = fit_stain_to_patches(np.concatenate([normal, crowded])[:, 0], spec.stain)
    return {name: fit.apply(windows) for name, windows in found.items()}


def draw_tissue_windows(spec: InputSpec, count: int) -> np.ndarray:
    """Draw tissue from poor to rich in cells, in several tints, sharp or not, always the same:
    (count, scales, P, P, 3) uint8 RGB."""
    windows = []
    for number in range(count):
        rng = np.random.default_rng([zlib.crc32(b"tissue"), number])
        per_mm2 = float(np.geomspace(NUCLEI_PER_MM2 / 3, 2 * CROWDED_PER_MM2, count)[number])
        (window,) = _draw_windows(
            f"tissue {number}", partial(_draw_tissue, per_mm2=per_mm2), spec, count=1
        )
        tint = rng.uniform(0.75, 1.3, 3)  # of the optical densities
        density = -np.log10((window.astype(np.float64) + 1) / 256) * tint
        pixels = np.rint(256 * 10.0**-density - 1).clip(0, 255).astype(np.uint8)
        windows.append([blur(one, spec.mpp) if number % 4 == 3 else one for one in pixels])
    return np.array(windows)


def _pictures() -> dict[str, Draw]:
    pens = {f"{name} pen": _pen(colour) for name, colour in PENS.items()}
    return {
        WHITE_GLASS: _flat(GLASS),
        "black border": _flat((0, 0, 0)),
        "flat grey": _flat((128, 128, 128)),
        **pens,
        DRAWN_TISSUE: _draw_tissue,
        f"{DRAWN_TISSUE}, blurred": _draw_blurred,
    }


def _draw_windows(name: str, draw: Draw, spec: InputSpec, *, count: int = WINDOWS) -> np.ndarray:
    """Draw each window on a canvas that the coarsest scale covers."""
    coarser = [mpp / spec.mpp for mpp in spec.mpps]
    side = 2 * int(np.ceil(spec.patch_px * coarser[-1] / 2))
    windows = np.empty((count, *spec.shape), np.uint8)
    for number in range(count):
        rng = np.random.default_rng([zlib.crc32(name.encode()), number])
        canvas = draw(side, spec.mpp, rng)
        canvas += rng.normal(0, GRAIN, canvas.shape)
        pixels = np.rint(np.clip(canvas, 0, 255)).astype(np.uint8)
        windows[number] = [_cut(pixels, spec.patch_px, factor) for factor in coarser]
    return windows


def _cut(canvas: np.ndarray, side_px: int, factor: float) -> np.ndarray:
    """Cut the middle out of a canvas and shrink it to a window."""
    width = min(len(canvas), round(side_px * factor))
    start = (len(canvas) - width) // 2
    middle = canvas[start : start + width, start : start + width]
    return cv2.resize(middle, (side_px, side_px), interpolation=cv2.INTER_AREA)


def _flat(colour: tuple[float, ...]) -> Draw:
    def draw(side: int, mpp: float, rng: np.random.Generator) -> np.ndarray:
        return np.full((side, side, 3), colour, np.float64)

    return draw


def _pen(colour: tuple[float, ...]) -> Draw:
    """Draw a stroke across glass whose ink is thicker in places."""

    def draw(side: int, mpp: float, rng: np.random.Generator) -> np.ndarray:
        angle = rng.uniform(0, np.pi)
        across = side * np.array([np.cos(angle), np.sin(angle)])
        middle = rng.uniform(0.3, 0.7, 2) * side
        ends = [tuple(int(place) for place in middle + sign * across) for sign in (-1, 1)]
        stroke = np.zeros((side, side), np.float32)
        cv2.line(stroke, ends[0], ends[1], 1.0, thickness=round(STROKE * side))
        ink = cv2.GaussianBlur(stroke, (0, 0), max(1.0, 6 / mpp))
        ink = ink * (1 + 0.2 * _noise((side, side), (20 / mpp, 20 / mpp), rng))
        transmission = np.log(np.array(colour) / np.array(GLASS))
        return np.array(GLASS) * np.exp(np.clip(ink, 0, None)[..., None] * transmission)

    return draw


def _draw_tissue(
    side: int, mpp: float, rng: np.random.Generator, *, per_mm2: float = NUCLEI_PER_MM2
) -> np.ndarray:
    """Draw pale fibres with a few small nuclei."""
    fibres = _noise((side, side), (FIBRE_UM[0] / mpp, FIBRE_UM[1] / mpp), rng)
    if rng.integers(2):
        fibres = fibres.T
    eosin = np.clip(0.26 + 0.05 * fibres, 0.02, None)
    nuclei = np.zeros((side, side), np.float32)
    count = rng.poisson(per_mm2 * (side * mpp / 1000) ** 2)
    axes = (max(1, round(NUCLEUS_UM[0] / 2 / mpp)), max(1, round(NUCLEUS_UM[1] / 2 / mpp)))
    for x, y, degrees in rng.uniform((0, 0, 0), (side, side, 180), (count, 3)):
        cv2.ellipse(nuclei, (int(x), int(y)), axes, float(degrees), 0, 360, 0.55, thickness=-1)
    haematoxylin = 0.04 + cv2.GaussianBlur(nuclei, (0, 0), max(0.5, 0.4 / mpp))
    density = haematoxylin[..., None] * HAEMATOXYLIN + eosin[..., None] * EOSIN
    return np.array(GLASS) * 10.0**-density


def _draw_blurred(side: int, mpp: float, rng: np.random.Generator) -> np.ndarray:
    return blur(_draw_tissue(side, mpp, rng), mpp)


def blur(pixels: np.ndarray, mpp: float) -> np.ndarray:
    """Blur pixels (rows, columns, 3) of a scale in µm/px as optics out of focus do."""
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), BLUR_UM / mpp))


def _noise(
    shape: tuple[int, int], lengths_px: tuple[float, float], rng: np.random.Generator
) -> np.ndarray:
    """Smooth noise of mean 0 and standard deviation 1; correlation lengths in x and in y."""
    smooth = cv2.GaussianBlur(
        rng.standard_normal(shape), (0, 0), sigmaX=max(0.5, lengths_px[0]), sigmaY=lengths_px[1]
    )
    return (smooth - smooth.mean()) / max(float(smooth.std()), 1e-9)
