"""The default rule on drawn slides of known truth: what it must find, and what it must leave out.

Scenes are 150 × 220 px at 8 µm/px, drawn as optical density over glass. A rim of one pixel may go
either way.
"""

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from conftest import REAL_DATA
from gigaslide.wsi import TissueSettings, tissue_in_image

MPP = 8.0
ROWS, COLUMNS = 150, 220
GLASS = (244, 243, 241)
EOSIN = np.array([0.25, 0.80, 0.45])  # density of red, green, blue for an amount of one
HAEMATOXYLIN = np.array([0.65, 0.70, 0.29])
BLUE, GREEN, RED, BLACK = (
    (40, 60, 150),
    (40, 140, 70),
    (205, 50, 50),
    (35, 35, 38),
)  # RGB of a stroke of pen
RNG = np.random.default_rng
DISC = np.hypot(np.arange(ROWS)[:, None] - 75, np.arange(COLUMNS) - 120) < 48
ACROSS = (
    np.abs(np.arange(ROWS)[:, None] - 0.4 * np.arange(COLUMNS) - 25) < 12
)  # 180 µm wide, on glass and on tissue


def texture(seed: int) -> np.ndarray:
    """Mean 1, standard deviation 0.4, grain of a few pixels."""
    grain = cv2.GaussianBlur(RNG(seed).standard_normal((ROWS, COLUMNS)), (0, 0), 1.5)
    return np.maximum(0, 1 + 0.4 * grain / grain.std())


def on_glass(density: np.ndarray | float, glass: tuple[int, int, int] = GLASS) -> np.ndarray:
    """RGB of densities (rows, columns, 3) over glass, with the noise of a scanner."""
    light = np.broadcast_to(np.asarray(glass) * 10 ** -np.asarray(density), (ROWS, COLUMNS, 3))
    return np.clip(light + RNG(7).normal(0, 1, light.shape), 0, 255).astype(np.uint8)


def stained(where: np.ndarray, amount: float = 0.35, stain: np.ndarray = EOSIN) -> np.ndarray:
    return (where * texture(1) * amount)[..., None] * stain


def painted(image: np.ndarray, where: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return np.where(where[..., None], np.array(colour, np.uint8), image)


def agreement(found: np.ndarray, truth: np.ndarray) -> float:
    """Intersection over union, the rim of the truth left out."""
    square = np.ones((3, 3), np.uint8)
    rim = cv2.dilate(truth.astype(np.uint8), square) != cv2.erode(truth.astype(np.uint8), square)
    return float((found & truth & ~rim).sum() / ((found | truth) & ~rim).sum())


def found_in(image: np.ndarray, **settings) -> np.ndarray:
    return tissue_in_image(image, mpp=MPP, settings=TissueSettings(**settings))


def ramp(density: float) -> np.ndarray:
    """Rises smoothly from left to right."""
    return np.broadcast_to(np.linspace(0, density, COLUMNS), (ROWS, COLUMNS))


def black_border() -> np.ndarray:
    dark = np.ones((ROWS, COLUMNS), bool)
    dark[14:-9, 21:-17] = False
    speckled = RNG(3).integers(
        0, 7, (ROWS, COLUMNS, 3)
    )  # JPEG's black is never quite black, and coloured
    return np.where(dark[..., None], speckled, on_glass(stained(DISC))).astype(np.uint8)


def glass_edge(rgb: tuple[int, int, int]) -> np.ndarray:
    line = np.zeros((ROWS, COLUMNS), bool)
    line[:, 20:23] = line[131:134] = True
    return painted(on_glass(stained(DISC)), line, rgb)


def dust_and_bubbles() -> np.ndarray:
    density = np.zeros((ROWS, COLUMNS), np.float32)
    for x, y, radius in ((30, 30, 18), (35, 110, 25), (195, 30, 14)):
        cv2.circle(density, (x, y), radius, 0.3, 3, cv2.LINE_AA)
    for x, y in RNG(5).integers(0, (COLUMNS, ROWS), (40, 2)):
        cv2.circle(density, (int(x), int(y)), 2, 0.5, -1)
    return on_glass(stained(DISC) + density[..., None])


def padded() -> np.ndarray:
    """Yellowish glass, white where the scanner did not go."""
    image = on_glass(stained(DISC), glass=(240, 236, 222))
    image[:28], image[:, :50] = 255, 255
    return image


PRESENT: dict[str, Callable[[], np.ndarray]] = {
    "faint tissue": lambda: on_glass(stained(DISC, 0.08)),  # a mean density of 0.04
    "black border": black_border,
    "grey edge of glass": lambda: glass_edge((150, 150, 152)),
    "coloured edge of glass": lambda: glass_edge((205, 170, 225)),
    "dust and bubbles": dust_and_bubbles,
    "tinted glass and padding": padded,
    "shadow across tissue": lambda: on_glass(stained(DISC) + ramp(0.1)[..., None]),
    "blue lymph node": lambda: on_glass(stained(DISC, 0.8, np.array([0.66, 0.64, 0.3]))),
    "blood": lambda: on_glass(stained(DISC, 0.7, np.array([0.20, 0.75, 0.60]))),
}
ABSENT: dict[str, Callable[[], np.ndarray]] = {
    "glass": lambda: on_glass(0.0),
    "shadow": lambda: on_glass(ramp(0.15)[..., None]),
    "tinted shadow": lambda: on_glass(ramp(0.04)[..., None] * (0.4, 1.4, 0.9)),
    "black label": lambda: painted(on_glass(0.0), ACROSS, BLACK),
    "fluorescence": lambda: np.dstack(
        [np.ones((ROWS, COLUMNS, 2)), 150 * stained(DISC)[..., 1]]
    ).astype(np.uint8),
}


@pytest.mark.parametrize("name", PRESENT)
def test_tissue_is_found_and_nothing_else(name):
    assert agreement(found_in(PRESENT[name]()), DISC) > 0.95


@pytest.mark.parametrize("name", ABSENT)
def test_what_is_no_tissue_gives_an_empty_mask(name):
    assert not found_in(ABSENT[name]()).any()


@pytest.mark.parametrize("colour", [BLUE, GREEN, RED, BLACK], ids=["blue", "green", "red", "black"])
def test_pen_is_cut_and_the_tissue_beside_it_stays(colour):
    found = found_in(painted(on_glass(stained(DISC)), ACROSS, colour))
    assert not found[ACROSS].any()
    far = ~cv2.dilate(ACROSS.astype(np.uint8), np.ones((9, 9), np.uint8)).astype(bool)
    assert agreement(found & far, DISC & far) > 0.95


def test_pale_end_of_a_stroke_goes_with_its_core():
    strength = np.clip((np.arange(COLUMNS) - 5) / 60, 0, 1) * ACROSS
    ink = -np.log10(np.array(BLUE) / GLASS) * strength[..., None]
    found = found_in(on_glass(stained(DISC) + ink))
    near = cv2.dilate(DISC.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)
    assert not found[ACROSS & ~near].any()
    assert agreement(found & ~ACROSS, DISC & ~ACROSS) > 0.95


def test_ink_stays_where_it_is_the_stain():
    trichrome = on_glass(stained(DISC, 0.5, np.array([0.8, 0.5, 0.2])))
    assert not found_in(trichrome).any()
    assert agreement(found_in(trichrome, cut_ink=False), DISC) > 0.95


def test_field_without_glass_is_tissue_where_it_is_palest_too():
    amount = 0.1 + 0.4 * DISC
    field = on_glass((amount * texture(1))[..., None] * EOSIN)
    assert found_in(field).mean() > 0.98


def test_edge_of_dark_tissue_does_not_bleed_onto_glass():
    assert found_in(on_glass(stained(DISC, 0.8))).sum() == pytest.approx(DISC.sum(), rel=0.01)


def test_holes_larger_than_the_setting_stay():
    holes = np.zeros_like(DISC)
    holes[60:80, 90:110] = True  # 400 px, 25 600 µm²
    dots = np.zeros_like(DISC)
    dots[95:103, 130:138] = True  # 64 px, 4 096 µm²
    image = on_glass(stained(DISC & ~holes & ~dots))
    assert agreement(found_in(image), DISC & ~holes) > 0.95
    assert agreement(found_in(image, min_hole_um2=1_000), DISC & ~holes & ~dots) > 0.95


@pytest.mark.parametrize("scale", [0.5, 2])
def test_scale_of_the_overview_changes_pixels_not_places(scale):
    image = painted(on_glass(stained(DISC)), ACROSS, BLUE)
    large = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    found = tissue_in_image(large, mpp=MPP / scale, settings=TissueSettings())
    back = cv2.resize(
        found.astype(np.uint8), (COLUMNS, ROWS), interpolation=cv2.INTER_NEAREST
    ).astype(bool)
    assert agreement(back, found_in(image)) > 0.9


@pytest.mark.real
@pytest.mark.skipif(not REAL_DATA.exists(), reason="no ../shared/data beside the repository")
def test_shape_of_a_published_mask_comes_back():
    published = np.load(REAL_DATA / "camelyon16" / "tissue_mask_test_001.npy").T  # was (x, y)
    grain = np.tile(texture(2), (10, 7))[: published.shape[0], : published.shape[1]]
    light = np.array(GLASS) * 10 ** -((0.35 * grain * published)[..., None] * HAEMATOXYLIN)
    settings = TissueSettings(min_area_um2=0, min_hole_um2=0)
    found = tissue_in_image(light.astype(np.uint8), mpp=15.5, settings=settings)
    assert agreement(found, published) > 0.95
