"""Make a cohort whose weak labels are a registered Pan-cytokeratin stain of one resection.

Tumour is where at least a fifth of a square of 42 µm is stained, without the cells that a published
network calls normal mucosa, and without single squares. Written are panck_mask.tif, resection.csv
(that slide alone, to make its features) and cohort_and_resection.csv, in which it has quality weak.

    python benchmarks/studies/stain_cohort.py colon/cohort.csv whole out
"""

import argparse
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import tifffile
from gigaslide.cohort import Cohort, CohortSlide

STAINED_ABOVE = 18
STAIN_MPP, GRID_CELL_UM, SLIDE_MPP = 2.6, 112.0, 1.3
SQUARE_PX, LEAST_SHARE = 16, 0.2


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cohort", type=Path, help="slides with outlines, which are tested")
    parser.add_argument("whole", type=Path, help="folder of the resection, its stain and its grid")
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    out = arguments.out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    mask = draw_mask(arguments.whole)
    tifffile.imwrite(out / "panck_mask.tif", mask, compression="zlib")
    print(f"panck_mask.tif: {(mask > 0).mean():.1%} of {mask.shape[1]} × {mask.shape[0]} squares")
    resection = CohortSlide(
        id="colon_resection",
        path=(arguments.whole / "colon_resection.tif").absolute(),
        annotation=out / "panck_mask.tif",
        label="tumor",
        patient="resection",
        split="train",
        mpp=SLIDE_MPP,
        further=(("quality", "weak"),),
    )
    slides = [replace(one, further=(("quality", ""),)) for one in Cohort.load(arguments.cohort)]
    Cohort.of_rows([resection]).save(out / "resection.csv")
    Cohort.of_rows([*slides, resection]).save(out / "cohort_and_resection.csv")


def draw_mask(whole: Path) -> np.ndarray:
    """Draw the squares with tumour: 255, others 0, uint8."""
    path = whole / "colon_resection_panck_2.6um.jpg"
    stain = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if stain is None:
        raise SystemExit(f"{path}: cannot be read; give the folder that holds it")
    grid = np.load(whole / "colon_resection_published_grid.npz")
    classes = grid["prob"].argmax(-1)
    is_mucosa = classes == list(grid["labels"]).index("NORM")
    cell_px = GRID_CELL_UM / STAIN_MPP
    places = [
        np.minimum(np.arange(pixels) // cell_px, cells - 1).astype(int)
        for pixels, cells in zip(stain.shape, classes.shape, strict=True)
    ]
    is_tumor = (stain > STAINED_ABOVE) & ~is_mucosa[np.ix_(*places)]
    rows, columns = (side // SQUARE_PX for side in is_tumor.shape)
    whole_squares = is_tumor[: rows * SQUARE_PX, : columns * SQUARE_PX]
    share = whole_squares.reshape(rows, SQUARE_PX, columns, SQUARE_PX).mean((1, 3))
    squares = np.where(share > LEAST_SHARE, 255, 0).astype(np.uint8)
    return cv2.morphologyEx(squares, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))


if __name__ == "__main__":
    main()
