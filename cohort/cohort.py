"""The table of slides: file, annotation, label, patient and split of each."""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TextIO

from ..storage import SettingsError, atomic_file, fold_name, format_location
from .cohort_slide import CohortSlide, Quality
from .slide_ids import fold_id, with_unique_ids
from .table import read_slides, write_slides
from .written_paths import make_absolute

__all__ = ["Cohort"]


@dataclass(frozen=True, kw_only=True)
class Cohort:
    """Slides with unique ids and with every patient in one split only."""

    slides: tuple[CohortSlide, ...]
    source: Path | None = field(default=None, compare=False)
    """The table that the cohort was loaded from, if any."""

    def __post_init__(self) -> None:
        first: dict[str, CohortSlide] = {}
        for slide in self.slides:
            other = first.setdefault(fold_id(slide.id), slide)
            if other is not slide:
                raise SettingsError(
                    f"cohort: {other.path} and {slide.path} both have the id {slide.id}, so one's "
                    "outputs would overwrite the other's; rename one file"
                )

    def __iter__(self) -> Iterator[CohortSlide]:
        return iter(self.slides)

    def __len__(self) -> int:
        return len(self.slides)

    def take_quality(self, quality: Quality | None) -> "Cohort":
        """Return the cohort with training slides of this quality only, and without weak validation
        slides: they choose weights and thresholds. None: all slides."""
        if quality is None:
            return self
        wanted = {"train": quality, "validation": "strong"}
        kept = (slide for slide in self if wanted.get(slide.split, slide.quality) == slide.quality)
        return replace(self, slides=tuple(kept))

    @property
    def has_splits(self) -> bool:
        """True if any slide has a split; otherwise prediction and evaluation use all slides."""
        return any(slide.split for slide in self.slides)

    @classmethod
    def of_rows(cls, rows: list[CohortSlide], *, base: Path | None = None) -> "Cohort":
        """Build a cohort from rows; their ids are made safe and unique.

        Slides with equal file names get a suffix hashed from their path relative to base, by
        default the folder that contains all slides.

        Raises:
            SettingsError: no rows, a file listed twice, or a patient in two splits.
        """
        if not rows:
            raise SettingsError("the cohort has no slides; list at least one")
        _refuse_repeated_files(rows)
        _refuse_leaks(rows)
        return cls(slides=with_unique_ids(rows, base))

    @classmethod
    def load(cls, path: Path) -> "Cohort":
        """Read a CSV with the columns slide, annotation, label, patient, split, mpp, exhaustive,
        width and height.

        Only slide is required: a path, relative to the CSV, or a URL. Columns are found in any
        case and order; further ones are kept as text.

        Raises:
            SettingsError: not such a table, or an invalid value; the message names the row.
        """
        return replace(cls.of_rows(read_slides(path), base=path.parent), source=path)

    def save(self, path: Path) -> None:
        """Write the CSV with paths inside its folder relative to it."""
        folder = make_absolute(path).parent
        with atomic_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
            self.write(file, folder)

    def write(self, file: TextIO, folder: Path) -> None:
        """Write the CSV to an open text file with paths inside folder relative to it."""
        write_slides(self.slides, file, folder=folder)


def _refuse_repeated_files(rows: list[CohortSlide]) -> None:
    by_file: dict[Hashable, list[CohortSlide]] = {}
    for row in rows:
        by_file.setdefault(row.file_key, []).append(row)
    for same in by_file.values():
        if len(same) > 1:
            paths = " and ".join(dict.fromkeys(format_location(row.path) for row in same))
            splits = " and ".join(dict.fromkeys(row.split for row in same if row.split))
            raise SettingsError(
                f"cohort: {paths}: one slide is listed {len(same)} times"
                f"{f', in {splits}' if ' and ' in splits else ''}; keep one row per slide"
            )


def _refuse_leaks(rows: list[CohortSlide]) -> None:
    by_patient: dict[str, list[CohortSlide]] = {}
    for row in rows:
        if row.patient and row.split:
            by_patient.setdefault(fold_name(row.patient), []).append(row)
    for same in by_patient.values():
        splits = sorted({row.split for row in same})
        if len(splits) > 1:
            names = " or ".join(sorted({row.patient for row in same}))
            raise SettingsError(
                f"cohort: patient {names} is in {' and '.join(splits)}; put all slides of a "
                "patient in one split"
            )
