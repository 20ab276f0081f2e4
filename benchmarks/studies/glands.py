"""Learn glands from six annotated fields, and segment those of the test patients.

Real outlines of benign and malignant glands of the GlaS set, as a cohort with GeoJSON of the class
Gland and the name of each field in its metadata. Compared are: six fields, one of each of six
training patients; all training fields; all tissue called gland; a threshold on the haematoxylin,
whose blur and value are the best ones on the six fields. Printed for each: Dice over the px of all
test fields together (pooled), and the median over fields. Finished trainings are kept.

    python benchmarks/studies/glands.py cohort.csv glands OUT
"""

import argparse
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from gigaslide.batch import BatchSettings
from gigaslide.cohort import Cohort, CohortSlide
from gigaslide.inference import PredictSettings, predict_cohort
from gigaslide.training import RegionSettings, RegionTraining
from gigaslide.wsi import (
    Annotation,
    Heatmap,
    PolygonRaster,
    Region,
    TissueSettings,
    open_slide,
    tissue_mask,
)
from scipy.ndimage import gaussian_filter
from skimage.color import rgb2hed

GROUPS = {"Gland": "tumor"}
SIX = {
    "patient_01_slide_1": "train_13",
    "patient_02_slide_6": "train_10",
    "patient_05_slide_1": "train_2",
    "patient_06_slide_2": "train_18",
    "patient_09_slide_1": "train_22",
    "patient_13_slide_1": "train_12",
}
"""Fields by slide: three malignant, three benign, each of another patient."""
TISSUE = TissueSettings(min_hole_um2=1e6)  # the lumen of a gland belongs to it
BLURS_UM = (0.0, 3.0, 6.0, 12.0, 24.0)
GLASS_DIFFERENCE = 12  # grey levels
LEAST_FIELD_UM = 150.0


@dataclass(frozen=True, kw_only=True)
class Field:
    """One field of a slide, and its px at the network's scale."""

    slide: str
    name: str
    grade: str
    box: tuple[int, int, int, int]
    """First and last row, first and last column, px."""

    @property
    def inside(self) -> tuple[slice, slice]:
        top, bottom, left, right = self.box
        return np.s_[top:bottom, left:right]


@dataclass(frozen=True)
class Slide:
    """Pixels and glands of a slide at the network's scale."""

    row: CohortSlide
    mpp: float

    @cached_property
    def pixels(self) -> np.ndarray:
        with open_slide(self.row.path) as slide:
            width, height = slide.size
            return slide.read_region(Region(x=0, y=0, width=width, height=height), mpp=self.mpp)

    @cached_property
    def px_level0(self) -> float:
        with open_slide(self.row.path) as slide:
            return slide.scale(self.mpp).level0

    @cached_property
    def glands(self) -> np.ndarray:
        """True in a gland, (rows, columns) bool."""
        annotation = Annotation.load(self.row.annotation, groups={**GROUPS, "gland": "tumor"})
        raster = PolygonRaster(annotation.tumor)
        return raster.window((0, 0), px_level0=self.px_level0, shape=self.pixels.shape[:2])

    @cached_property
    def tissue(self) -> np.ndarray:
        with open_slide(self.row.path) as slide:
            found = tissue_mask(slide, TISSUE)
        rows, columns = (np.indices(self.pixels.shape[:2]) + 0.5) * self.px_level0
        at = [
            np.clip((one / found.scale_level0).astype(int), 0, limit - 1)
            for one, limit in zip((rows, columns), found.mask.shape, strict=True)
        ]
        return found.mask[at[0], at[1]]

    @cached_property
    def fields(self) -> list[Field]:
        """Fields: rectangles that differ from the glass, named by the glands inside."""
        pixels = self.pixels.astype(int)
        glass = np.median(pixels[:20].reshape(-1, 3), axis=0)
        differs = (np.abs(pixels - glass).max(axis=-1) > GLASS_DIFFERENCE).astype(np.uint8)
        side = max(3, round(20 / self.mpp))
        closed = cv2.morphologyEx(
            cv2.medianBlur(differs, 3), cv2.MORPH_CLOSE, np.ones((side, side))
        )
        _, _, stats, _ = cv2.connectedComponentsWithStats(closed)
        found = []
        for left, top, width, height, _ in stats[1:].tolist():
            if min(width, height) * self.mpp < LEAST_FIELD_UM:
                continue
            box = (top, top + height, left, left + width)
            names = self._names_in(box)
            if names:
                name, grade = max(names, key=names.count)
                found.append(Field(slide=self.row.id, name=name, grade=grade, box=box))
        return found

    def _names_in(self, box: tuple[int, int, int, int]) -> list[tuple[str, str]]:
        top, bottom, left, right = box
        names = []
        for feature in json.loads(Path(self.row.annotation).read_text())["features"]:
            about = feature["properties"]["metadata"]
            rings = feature["geometry"]["coordinates"]
            first = rings[0] if feature["geometry"]["type"] == "Polygon" else rings[0][0]
            x, y = np.mean(first, axis=0) / self.px_level0
            if left <= x < right and top <= y < bottom:
                names.append((about["field"], about["grade"]))
        return names


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cohort", type=Path)
    parser.add_argument("glands", type=Path, help="folder of SLIDE.geojson")
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--mpp", type=float, default=2.48)
    parser.add_argument("--crop-px", type=int, default=128)
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--sets", nargs="+", default=["six", "all"], choices=("six", "all"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    settings = RegionSettings(
        mpp=arguments.mpp,
        crop_px=arguments.crop_px,
        width=arguments.width,
        epochs=arguments.epochs,
        steps=arguments.steps,
        cell_px=1,
        tissue=TISSUE,
        groups=GROUPS,
    )
    slides = load_slides(arguments.cohort, arguments.glands, arguments.mpp)
    tests = [slide for slide in slides.values() if slide.row.split == "test"]
    six = [slides[name] for name in SIX]
    fields = [field for slide in tests for field in slide.fields]
    print(f"{len(tests)} test slides, {len(fields)} fields", flush=True)
    print_row("all tissue", tests, lambda slide: slide.tissue)
    blur, threshold = choose_threshold(six)
    words = f"haematoxylin (blur {blur * arguments.mpp:.0f} µm)"
    print_row(words, tests, lambda slide: haematoxylin(slide, blur) > threshold)
    cohorts = {"six": cohort_of_six(slides, arguments.out), "all": cohort_of_all(slides)}
    for name in arguments.sets:
        for seed in arguments.seeds:
            run = arguments.out / f"{name}_{seed}"
            train_and_predict(cohorts[name], run, settings, seed)
            heatmaps = run / "predictions"
            print_row(f"{name}, seed {seed}", tests, lambda slide, at=heatmaps: found(slide, at))


def load_slides(cohort: Path, glands: Path, mpp: float) -> dict[str, Slide]:
    rows = []
    for row in Cohort.load(cohort):
        fields = {"id": row.id, "path": row.path, "patient": row.patient, "split": row.split}
        annotation = glands / f"{row.id}.geojson"
        rows.append(CohortSlide(**fields, annotation=annotation, label="tumor"))
    return {row.id: Slide(row, mpp) for row in rows if row.annotation.exists()}


def cohort_of_all(slides: dict[str, Slide]) -> Cohort:
    kept = [slide.row for slide in slides.values() if slide.row.split != "validation"]
    return Cohort(slides=tuple(kept))


def cohort_of_six(slides: dict[str, Slide], out: Path) -> Cohort:
    """Write outlines of six fields, each in a rectangle of the class Region*."""
    rows = [slide.row for slide in slides.values() if slide.row.split == "test"]
    for name, field_name in SIX.items():
        slide = slides[name]
        (field,) = [one for one in slide.fields if one.name == field_name]
        top, bottom, left, right = (side * slide.px_level0 for side in field.box)
        ring = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
        looked_at = {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [ring]},
            "properties": {"objectType": "annotation", "classification": {"name": "Region*"}},
        }
        features = json.loads(Path(slide.row.annotation).read_text())["features"]
        own = [one for one in features if one["properties"]["metadata"]["field"] == field_name]
        path = out / f"{name}.geojson"
        text = json.dumps({"type": "FeatureCollection", "features": [*own, looked_at]})
        if not path.exists() or path.read_text() != text:  # else it is not a new annotation
            path.write_text(text)
        fields = {"id": name, "path": slide.row.path, "patient": slide.row.patient}
        rows.append(CohortSlide(**fields, annotation=path, label="tumor", split="train"))
    return Cohort(slides=tuple(rows))


def train_and_predict(cohort: Cohort, run: Path, settings: RegionSettings, seed: int) -> None:
    outcome = RegionTraining(cohort, settings).train(run / "model", seed=seed)
    if outcome.trained:
        print(f"  trained {run.name} in {outcome.best.seconds:.0f} s", flush=True)
    predict = PredictSettings(orientations=8, min_tissue=0, tissue=TISSUE)
    batch = BatchSettings(workers=0)
    predict_cohort(cohort, run / "model", run / "predictions", predict, batch)


def found(slide: Slide, heatmaps: Path) -> np.ndarray:
    """Px that a heatmap calls gland."""
    probability = Heatmap.load(heatmaps / slide.row.id / "heatmap.zarr").probability
    rows, columns = slide.pixels.shape[:2]
    return np.nan_to_num(probability)[:rows, :columns] > 0.5


def haematoxylin(slide: Slide, blur_px: float) -> np.ndarray:
    density = rgb2hed(slide.pixels)[..., 0]
    return gaussian_filter(density, blur_px) if blur_px else density


def choose_threshold(six: Iterable[Slide]) -> tuple[float, float]:
    """Choose the blur (px) and the threshold of the highest pooled Dice on the six fields."""
    best = (-1.0, 0.0, 0.0)
    for blur_um in BLURS_UM:
        density, truth = [], []
        for slide in six:
            blur = blur_um / slide.mpp
            values = haematoxylin(slide, blur)
            for field in slide.fields:
                if field.name == SIX[slide.row.id]:
                    density.append(values[field.inside].ravel())
                    truth.append(slide.glands[field.inside].ravel())
        values, wanted = np.concatenate(density), np.concatenate(truth)
        for threshold in np.quantile(values, np.linspace(0, 0.95, 60)):
            best = max(best, (dice(values > threshold, wanted), blur, float(threshold)))
    return best[1:]


def dice(called: np.ndarray, wanted: np.ndarray) -> float:
    return 2 * float((called & wanted).sum()) / max(1, int(called.sum()) + int(wanted.sum()))


def print_row(name: str, slides: list[Slide], call: Callable[[Slide], np.ndarray]) -> None:
    """Print the Dice of what a method calls gland, pooled and by field."""
    called, wanted, by_field, grades = [], [], [], []
    for slide in slides:
        mask = call(slide)
        for field in slide.fields:
            called.append(mask[field.inside].ravel())
            wanted.append(slide.glands[field.inside].ravel())
            by_field.append(dice(called[-1], wanted[-1]))
            grades.append(field.grade)
    figures = [dice(np.concatenate(called), np.concatenate(wanted)), np.median(by_field)]
    for grade in ("benign", "malignant"):
        figures.append(np.median([d for d, g in zip(by_field, grades, strict=True) if g == grade]))
    print(f"| {name} | " + " | ".join(f"{figure:.3f}" for figure in figures) + " |", flush=True)


if __name__ == "__main__":
    main()
