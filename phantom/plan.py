"""Plan of a cohort: label, patient, split and size of every slide."""

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from .difficulty import GRADES, Difficulty, Grade, grades_of
from .lattice import key_of
from .settings import PhantomSettings

Label = Literal["tumor", "normal"]
Split = Literal["train", "validation", "test"]
SPLIT_SHARES: dict[Split, float] = {"train": 0.5, "test": 1 / 3, "validation": 1 / 6}


@dataclass(frozen=True, kw_only=True)
class PhantomSlide:
    """Parameters of one slide: everything its pixels depend on, and its row in the cohort."""

    slide_id: str
    label: Label
    patient: str
    split: Split
    seed: int
    index: int
    width_px: int
    height_px: int
    mpp: float
    tile_px: int = 256
    jpeg_quality: int = 85
    grade: Grade = "plain"

    @property
    def id(self) -> str:
        """Name of the slide in a batch."""
        return self.slide_id

    @property
    def difficulty(self) -> Difficulty:
        """Properties of the slide's grade."""
        return GRADES[self.grade]

    def key(self, *purpose: object) -> int:
        """Key of this slide's randomness for a purpose."""
        return key_of(self.seed, self.index, *purpose)

    def rng(self, *purpose: object) -> np.random.Generator:
        """Random generator for values that are drawn once per slide."""
        return np.random.default_rng(self.key(*purpose))

    def as_settings(self) -> dict[str, Any]:
        """Parameters that a recipe compares; without the grade where it is plain, as in the recipes
        of slides that were made before there were grades."""
        found = asdict(self)
        return found if found.pop("grade") == "plain" else {**found, "grade": self.grade}


def plan_cohort(settings: PhantomSettings) -> list[PhantomSlide]:
    """Plan the slides of a cohort, split by patient, with equal shares of labels in every split.

    All slides of a patient have one label. With fewer than three patients of a label, the later
    splits get none.
    """
    tumor_slides = round(settings.slides * settings.tumor_share)
    counts: list[tuple[Label, int]] = [
        ("tumor", tumor_slides),
        ("normal", settings.slides - tumor_slides),
    ]
    patients: list[tuple[Label, Split, tuple[Grade, ...]]] = []
    for label, slides in counts:
        sizes = [
            min(settings.slides_per_patient, slides - first)
            for first in range(0, slides, settings.slides_per_patient)
        ]
        grades = grades_of(settings.difficulty, slides)
        for split, size in zip(_splits(len(sizes)), sizes, strict=True):
            patients.append((label, split, grades[:size]))
            grades = grades[size:]
    # Shuffled, so that numbers of patients and slides do not reveal the label.
    order = np.random.default_rng(key_of(settings.seed, "patients")).permutation(len(patients))
    plans: list[PhantomSlide] = []
    for number, chosen in enumerate(order, start=1):
        label, split, grades = patients[chosen]
        for grade in grades:
            plan = _slide(settings, label, f"patient_{number:03d}", split, len(plans))
            plans.append(replace(plan, grade=grade))
    return plans


def _slide(
    settings: PhantomSettings, label: Label, patient: str, split: Split, index: int
) -> PhantomSlide:
    return PhantomSlide(
        slide_id=f"phantom_{index + 1:03d}",
        label=label,
        patient=patient,
        split=split,
        seed=settings.seed,
        index=index,
        width_px=settings.size_px,
        height_px=settings.size_px,
        mpp=settings.mpp,
        tile_px=settings.tile_px,
        jpeg_quality=settings.jpeg_quality,
    )


def _splits(patients: int) -> list[Split]:
    """A split for each patient of one label; the shares hold for every length of the list."""
    given = dict.fromkeys(SPLIT_SHARES, 0)
    for count in range(1, patients + 1):
        # The split furthest below its share is next; of equal ones the larger, listed first.
        furthest = max(SPLIT_SHARES, key=lambda split: SPLIT_SHARES[split] * count - given[split])
        given[furthest] += 1
    for split, short in given.items():
        if patients >= len(given) and not short:
            given[max(given, key=lambda name: given[name])] -= 1
            given[split] += 1
    return [split for split, count in given.items() for _ in range(count)]
