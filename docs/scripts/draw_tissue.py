"""Draw the tissue found on real slides: the figures of docs/tissue.md.

    python docs/scripts/draw_tissue.py DATA OUT

DATA holds the folders that docs/tissue.md names. Writes OUT/*.jpg and prints, for each slide, the
share of it that each method calls tissue.
"""

import argparse
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from gigaslide.storage import SlideError
from gigaslide.wsi import TissueSettings, open_slide, tissue_in_image

MPP = TissueSettings().mpp
METHODS = ("stain", "grey")
GREEN, INK = (0, 150, 0), (30, 30, 30)  # RGB
GAP_PX, TITLE_PX, QUALITY = 6, 18, 68
IMAGES = {
    "overview.jpeg": 0.5,
    "overview_with_ink.jpeg": 2.0,
    "microarray.jpeg": 10.0,
}  # µm/px, judged by their nuclei
FORMATS = ("CMU-1-Small-Region.svs", "aperio-jpeg2000.svs", "hamamatsu (fluorescence).ndpi")
FORMAT_MPP = 0.5  # where the file says nothing


@dataclass(frozen=True, kw_only=True)
class SlideOverview:
    """Overview of a slide or of an image: RGB uint8 (rows, columns, 3) at mpp µm/px."""

    name: str
    image: np.ndarray
    mpp: float

    def mask(self, method: str) -> np.ndarray:
        return tissue_in_image(
            self.image, mpp=self.mpp, settings=TissueSettings.model_validate({"method": method})
        )


def read_slide(path: Path, name: str) -> SlideOverview:
    with open_slide(path, fallback_mpp=FORMAT_MPP) as slide:
        overview = slide.overview(MPP)
        return SlideOverview(
            name=name, image=overview.image, mpp=slide.info.mpp * overview.scale_level0
        )


def read_image(path: Path, mpp: float) -> SlideOverview:
    read = cv2.imread(str(path))
    if read is None:
        raise FileNotFoundError(f"{path}: no image that OpenCV can read")
    image = cv2.cvtColor(read, cv2.COLOR_BGR2RGB)
    if mpp < MPP:
        image = cv2.resize(image, None, fx=mpp / MPP, fy=mpp / MPP, interpolation=cv2.INTER_AREA)
    return SlideOverview(name=path.name, image=image, mpp=max(mpp, MPP))


def draw_outline(
    overview: SlideOverview, mask: np.ndarray, *, width_px: int, title: str
) -> np.ndarray:
    """Return the overview at a width, with the outline of its tissue, below a title."""
    height_px = round(width_px * overview.image.shape[0] / overview.image.shape[1])
    reduces = width_px < overview.image.shape[1]
    image = cv2.resize(
        overview.image,
        (width_px, height_px),
        interpolation=cv2.INTER_AREA if reduces else cv2.INTER_CUBIC,
    )
    large = cv2.resize(
        mask.astype(np.uint8), (width_px, height_px), interpolation=cv2.INTER_NEAREST
    )
    rings, _ = cv2.findContours(large, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(image, rings, -1, GREEN, 1, cv2.LINE_AA)
    panel = cv2.copyMakeBorder(
        image, TITLE_PX, GAP_PX, 0, GAP_PX, cv2.BORDER_CONSTANT, value=(255, 255, 255)
    )
    cv2.putText(panel, title, (1, TITLE_PX - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.4, INK, 1, cv2.LINE_AA)
    return panel


def make_sheet(panels: Iterable[np.ndarray], *, columns: int) -> np.ndarray:
    """Return panels in rows on white; each row is as high as its highest panel."""
    panels = list(panels)
    rows = [join_row(panels[i : i + columns]) for i in range(0, len(panels), columns)]
    width = max(row.shape[1] for row in rows)
    white = (255, 255, 255)
    return np.concatenate(
        [
            cv2.copyMakeBorder(row, 0, 0, 0, width - row.shape[1], cv2.BORDER_CONSTANT, value=white)
            for row in rows
        ]
    )


def join_row(panels: list[np.ndarray]) -> np.ndarray:
    height = max(panel.shape[0] for panel in panels)
    white = (255, 255, 255)
    return np.concatenate(
        [
            cv2.copyMakeBorder(p, 0, height - p.shape[0], 0, 0, cv2.BORDER_CONSTANT, value=white)
            for p in panels
        ],
        axis=1,
    )


def draw_both_methods(overview: SlideOverview, *, width_px: int) -> list[np.ndarray]:
    return [
        draw_outline(
            overview, find_tissue(overview, m), width_px=width_px, title=f"{overview.name}, {m}"
        )
        for m in METHODS
    ]


def find_tissue(overview: SlideOverview, method: str) -> np.ndarray:
    mask = overview.mask(method)
    sys.stdout.write(f"{overview.name:<40}{method:<8}{100 * mask.mean():6.1f} % tissue\n")
    return mask


def draw_formats(folder: Path) -> np.ndarray:
    dicom = min((folder / "dicom-CMU-1-Small-Region").iterdir())
    paths = [(folder / name, name) for name in FORMATS] + [(dicom, "CMU-1 as DICOM")]
    panels = []
    for path, name in paths:
        try:
            panels += draw_both_methods(read_slide(path, name), width_px=280)
        except SlideError as error:
            sys.stdout.write(f"left out: {error}\n")
    return make_sheet(panels, columns=4)


def draw_colon(folder: Path) -> np.ndarray:
    panels = []
    for path in sorted(folder.glob("slides/*.tif")):
        overview = read_slide(path, path.stem)
        panels.append(
            draw_outline(overview, find_tissue(overview, "stain"), width_px=240, title=path.stem)
        )
    return make_sheet(panels, columns=7)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    data: Path = arguments.data
    images = {name: read_image(data / "tissue" / name, mpp) for name, mpp in IMAGES.items()}
    resection = read_slide(data / "whole" / "colon_resection.tif", "colon_resection.tif")
    sheets = {
        "colon": draw_colon(data / "colon"),
        "resection": make_sheet(draw_both_methods(resection, width_px=820), columns=2),
        "ink": make_sheet(
            draw_both_methods(images["overview_with_ink.jpeg"], width_px=1650), columns=1
        ),
        "section": make_sheet(draw_both_methods(images["overview.jpeg"], width_px=480), columns=2),
        "microarray": make_sheet(
            draw_both_methods(images["microarray.jpeg"], width_px=480), columns=2
        ),
        "formats": draw_formats(data / "formats"),
    }
    for name, image in sheets.items():
        cv2.imwrite(
            str(arguments.out / f"{name}.jpg"),
            image[..., ::-1],
            [cv2.IMWRITE_JPEG_QUALITY, QUALITY],
        )


if __name__ == "__main__":
    main()
