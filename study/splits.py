"""Splits of a study: which slides train and which are tested, by patient, made before anything is
trained."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..cohort import CohortSlide
from ..storage import SettingsError, StoreError, fold_name, format_count, write_file

__all__ = ["SPLITS", "Split", "load_splits", "make_splits", "save_splits"]

SPLITS = "splits.csv"
HEADER = ("repeat", "fold", "slide", "patient", "label", "side")


@dataclass(frozen=True, kw_only=True)
class Split:
    """One test set, and the slides that train for it."""

    repeat: int
    fold: int
    train: tuple[str, ...]
    """Ids of slides, in the order of the cohort."""
    test: tuple[str, ...]


def make_splits(
    slides: Sequence[CohortSlide], *, folds: int, repeats: int, seed: int
) -> tuple[Split, ...]:
    """Split labelled slides by patient: repeats × folds test sets, the classes spread over them.

    A slide without patient stands for itself. With one fold, the slides of split test are tested.

    Raises:
        SettingsError: a class that a training side lacks, too few patients, or a patient on two
            sides.
    """
    if folds == 1:
        test = {slide.id for slide in slides if slide.split == "test"}
        splits = (_split(slides, test, repeat=0, fold=0),)
    else:
        splits = tuple(
            _split(slides, test, repeat=repeat, fold=fold)
            for repeat in range(repeats)
            for fold, test in enumerate(_deal(slides, folds, seed=seed + 7919 * repeat))
        )
    for split in splits:
        check_split(split, slides)
    return splits


def _split(slides: Sequence[CohortSlide], test: set[str], *, repeat: int, fold: int) -> Split:
    return Split(
        repeat=repeat,
        fold=fold,
        train=tuple(slide.id for slide in slides if slide.id not in test),
        test=tuple(slide.id for slide in slides if slide.id in test),
    )


def _deal(slides: Sequence[CohortSlide], folds: int, *, seed: int) -> list[set[str]]:
    """Deal patients into folds: those of the rarer class first, each into the fold that has the
    fewest patients of its classes, then the fewest slides."""
    patients: dict[str, list[CohortSlide]] = {}
    for slide in slides:
        patients.setdefault(unit_of(slide), []).append(slide)
    if len(patients) < folds:
        raise SettingsError(
            f"{format_count(len(patients), 'patient')} cannot be split into {folds} folds; give "
            "fewer --folds"
        )
    names = sorted(patients)
    order = np.random.default_rng(seed).permutation(len(names))
    shuffled = [names[index] for index in order]
    kinds = {name: {slide.label for slide in patients[name]} for name in names}
    having = {label: sum(label in one for one in kinds.values()) for label in ("tumor", "normal")}
    rare = min(having, key=lambda label: having[label])
    shuffled.sort(key=lambda name: rare not in kinds[name])  # stable
    counts: list[dict[str, int]] = [{"tumor": 0, "normal": 0, "slides": 0} for _ in range(folds)]
    dealt: list[set[str]] = [set() for _ in range(folds)]
    for name in shuffled:
        mine = kinds[name]
        key = rare if rare in mine else next(iter(mine))
        fold = min(range(folds), key=lambda f: (counts[f][key], counts[f]["slides"]))
        dealt[fold] |= {slide.id for slide in patients[name]}
        counts[fold]["slides"] += len(patients[name])
        for label in mine:
            counts[fold][label] += 1
    return dealt


def unit_of(slide: CohortSlide) -> str:
    """Name of the patient that a slide belongs to, or of the slide where none is known."""
    return f"patient {fold_name(slide.patient)}" if slide.patient else f"slide {slide.id}"


def check_split(split: Split, slides: Sequence[CohortSlide]) -> None:
    """Pass if both classes train, something is tested, and no patient is on two sides.

    Raises:
        SettingsError: otherwise.
    """
    by_id = {slide.id: slide for slide in slides}
    where = f"repeat {split.repeat}, fold {split.fold}"
    sides = [{unit_of(by_id[one]) for one in side} for side in (split.train, split.test)]
    if shared := sides[0] & sides[1]:
        raise SettingsError(f"splits, {where}: {min(shared)} is on both sides; make them anew")
    if not split.test:
        raise SettingsError(
            "--folds 1 tests the slides of split test, and the cohort has none; fill in its "
            "column split, or give --folds 5"
        )
    found = {by_id[one].label for one in split.train}
    if missing := {"tumor", "normal"} - found:
        raise SettingsError(
            f"splits, {where}: no {min(missing)} slide to train on; give more slides of that "
            "class, or fewer --folds"
        )


def save_splits(splits: Sequence[Split], slides: Sequence[CohortSlide], out: Path) -> None:
    """Write splits.csv, a row for each test set and slide.

    Raises:
        SettingsError: a splits.csv with other splits is there.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    for split in splits:
        test = set(split.test)
        writer.writerows(
            [
                split.repeat,
                split.fold,
                slide.id,
                slide.patient,
                slide.label,
                "test" if slide.id in test else "train",
            ]
            for slide in slides
        )
    path, content = out / SPLITS, text.getvalue().encode()
    if path.exists():
        if path.read_bytes() != content:
            raise SettingsError(
                f"{path}: has other splits than this study; it holds another study, give another "
                "folder"
            )
        return
    out.mkdir(parents=True, exist_ok=True)
    write_file(out, SPLITS, content)


def load_splits(out: Path) -> tuple[Split, ...]:
    """Read splits.csv.

    Raises:
        StoreError: it is missing or damaged.
    """
    path = out / SPLITS
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        keys = dict.fromkeys((int(row["repeat"]), int(row["fold"])) for row in rows)
        sides = {(int(row["repeat"]), int(row["fold"]), row["slide"]): row["side"] for row in rows}
    except (OSError, ValueError, KeyError) as error:
        raise StoreError(f"{path}: cannot be read ({error}); run the study again") from error
    return tuple(
        Split(
            repeat=repeat,
            fold=fold,
            train=_side(sides, (repeat, fold), "train"),
            test=_side(sides, (repeat, fold), "test"),
        )
        for repeat, fold in keys
    )


def _side(
    sides: dict[tuple[int, int, str], str], key: tuple[int, int], name: str
) -> tuple[str, ...]:
    return tuple(
        s for (repeat, fold, s), side in sides.items() if (repeat, fold) == key and side == name
    )
