"""Contact sheet of a store: patches of every slide, framed by class, to look at before training."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ..storage import SettingsError, atomic_file
from ..wsi import CLASSES, StainMethod, floor_div
from .metadata import SlidePatches
from .store import PatchStore

__all__ = ["CLASS_COLOURS", "montage", "save_montage"]

CLASS_COLOURS = {"normal": (0, 114, 178), "tumor": (213, 94, 0)}
"""RGB; blue and vermilion, which colour-blind eyes tell apart as well."""
PAPER, INK, FAINT = (255, 255, 255), (40, 40, 40), (120, 120, 120)
FRAME, GAP, CAPTION, HEADER, LABEL = 4, 6, 16, 34, 190  # px
FONT = cv2.FONT_HERSHEY_SIMPLEX


@dataclass(frozen=True, kw_only=True)
class _Sheet:
    """Measures of a sheet."""

    columns: int
    """Patches of each class in a row."""
    patch_px: int
    stain: StainMethod | None

    @property
    def step(self) -> int:
        return self.patch_px + 2 * FRAME + GAP

    @property
    def line(self) -> int:
        return self.step + CAPTION

    @property
    def width(self) -> int:
        return LABEL + len(CLASSES) * self.columns * self.step + (len(CLASSES) + 1) * GAP

    def left(self, label: int, column: int) -> int:
        return LABEL + GAP + label * (self.columns * self.step + GAP) + column * self.step


def montage(
    store: PatchStore,
    *,
    slides: int = 12,
    columns: int = 5,
    patch_px: int = 110,
    stain: StainMethod | None = None,
) -> np.ndarray:
    """Draw one line a slide, normal patches left and tumour right: (rows, columns, 3) uint8 RGB.

    Slides are spread evenly over the store and patches over their slide, so two sheets of one store
    are equal. The thin square in a patch is the centre that gives the label; below it is its share
    of tumour, or of tissue where there is no tumour. With stain, patches are shown normalised.

    Raises:
        SettingsError: the store has no patches.
        StoreError: patches are damaged.
    """
    shown = [slide for slide in store.slides if any(slide.counts.values())]
    if not shown:
        raise SettingsError(f"{store.path}: no patches to show; see gigaslide store info")
    shown = [shown[i] for i in _spread(len(shown), slides)]
    sheet = _Sheet(columns=columns, patch_px=patch_px, stain=stain)
    image = np.full((HEADER + len(shown) * sheet.line + GAP, sheet.width, 3), PAPER, np.uint8)
    for label, name in enumerate(CLASSES):
        total = sum(slide.counts[name] for slide in store.slides)
        words = f"{'tumour' if name == 'tumor' else name}: {total} patches"
        _write(image, words, (sheet.left(label, 0), 24), colour=CLASS_COLOURS[name], size=0.6)
    for line, slide in enumerate(shown):
        _draw_slide(image, store, slide, sheet, top=HEADER + line * sheet.line)
    return image


def save_montage(image: np.ndarray, path: Path) -> None:
    """Write a PNG, whole or not at all."""
    encoded = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1]
    with atomic_file(path) as partial:
        partial.write_bytes(encoded.tobytes())


def _draw_slide(
    image: np.ndarray, store: PatchStore, slide: SlidePatches, sheet: _Sheet, *, top: int
) -> None:
    lines = [slide.id, f"patient {slide.patient or 'unknown'}", slide.split]
    lines += [f"{slide.counts['normal']} normal, {slide.counts['tumor']} tumour"]
    for number, words in enumerate(lines):
        _write(
            image,
            _fitting(words),
            (GAP, top + 22 + 20 * number),
            colour=INK if number == 0 else FAINT,
            size=0.42,
        )
    for label, name in enumerate(CLASSES):
        if not slide.counts[name]:
            _write(image, "none", (sheet.left(label, 0), top + 22), colour=FAINT, size=0.42)
            continue
        indices = _spread(slide.counts[name], sheet.columns)
        patches = store.read(slide.id, name, np.array(indices, np.int64))
        if sheet.stain is not None:
            patches = store.stain(slide.id, sheet.stain).apply(patches)
        known = store.windows(slide.id, name)
        for column, (index, patch) in enumerate(zip(indices, patches, strict=True)):
            left = sheet.left(label, column)
            side = sheet.patch_px + 2 * FRAME
            image[top : top + side, left : left + side] = CLASS_COLOURS[name]
            image[top + FRAME : top + side - FRAME, left + FRAME : left + side - FRAME] = _small(
                patch, store, sheet, name
            )
            share = known.tumor_fraction[index] if name == "tumor" else known.tissue_fraction[index]
            words = (
                f"{'<1%' if 0 < share < 0.005 else f'{share:.0%}'} "
                f"{'tumour' if name == 'tumor' else 'tissue'}"
            )
            _write(image, words, (left + FRAME, top + side + 13), colour=FAINT, size=0.38)


def _small(patch: np.ndarray, store: PatchStore, sheet: _Sheet, name: str) -> np.ndarray:
    settings = store.tile_settings
    inner = patch[settings.margin_px :, settings.margin_px :][
        : settings.patch_px, : settings.patch_px
    ]
    small = cv2.resize(inner, (sheet.patch_px, sheet.patch_px), interpolation=cv2.INTER_AREA)
    low = round((settings.patch_px - settings.centre_px) / 2 * sheet.patch_px / settings.patch_px)
    high = sheet.patch_px - 1 - low
    return cv2.rectangle(small, (low, low), (high, high), CLASS_COLOURS[name], 1)


def _spread(count: int, wanted: int) -> Sequence[int]:
    """Choose at most that many indices below count, evenly spread."""
    if count <= wanted:
        return range(count)
    # The middles of equal parts: the first and last patches lie at the rim of the tissue.
    return [floor_div((2 * place + 1) * count, 2 * wanted) for place in range(wanted)]


def _fitting(words: str) -> str:
    return words if len(words) <= 25 else words[:23] + ".."


def _write(
    image: np.ndarray,
    words: str,
    place: tuple[int, int],
    *,
    colour: tuple[int, int, int],
    size: float,
) -> None:
    # OpenCV draws ASCII only; other letters become question marks.
    plain = words.encode("ascii", "replace").decode()
    cv2.putText(image, plain, place, FONT, size, colour, 1, cv2.LINE_AA)
