"""The table of slides: file, annotation, label, patient and split of each."""

import csv
import hashlib
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, get_args

from shapely.geometry import MultiPolygon

from ..storage import (
    AnnotationError,
    CsvColumn,
    CsvRow,
    CsvTable,
    Location,
    SettingsError,
    atomic_file,
    fold_name,
    format_location,
    name_of,
)
from ..wsi import DEFAULT_GROUPS, Annotation, AnnotationOrigin, GroupMeaning, Slide, SlideFrame
from .dicom_series import read_series
from .found_files import SLIDE_SUFFIXES
from .missing_values import empty_missing
from .written_paths import find_written

__all__ = ["Cohort", "CohortSlide", "Label", "Quality", "Split"]

Label = Literal["tumor", "normal", ""]
Split = Literal["train", "validation", "test", ""]
Quality = Literal["weak", "strong"]
# A file name may have 255 bytes; a hash, a suffix and the endings of partial files are added.
ID_BYTES = 150
COLUMNS = ("slide", "annotation", "label", "patient", "split", "mpp", "exhaustive")
SIZE = ("width", "height")
YES_NO = {"": True, "yes": True, "no": False, "true": True, "false": False, "1": True, "0": False}


@dataclass(frozen=True, kw_only=True)
class CohortSlide:
    """One row of the table. `id` names the slide's outputs: unique in the cohort and safe as a file
    name."""

    id: str
    path: Location
    annotation: Path | None = None
    label: Label = ""
    patient: str = ""
    split: Split = ""
    mpp: float | None = None
    """µm per level-0 px; overrides the µm/px in the file."""
    size: tuple[int, int] | None = None
    """(width, height), level-0 px; with `mpp` enough to score detections without the file."""
    further: tuple[tuple[str, str], ...] = ()
    """Further columns of the table, such as scanner or centre, as (name, value)."""

    @property
    def file_key(self) -> Hashable:
        """Key of the file behind the path: equal for all paths and links, also hard ones, to it,
        and for all DICOM files of a slide."""
        if not isinstance(self.path, Path):
            return self.path
        if series := read_series(self.path):
            return os.path.realpath(self.path.parent), series
        try:
            found = self.path.stat()
        except OSError:
            return os.path.realpath(self.path)
        return (found.st_dev, found.st_ino) if found.st_ino else os.path.realpath(self.path)

    def column(self, name: str) -> str:
        """Return the value of a further column, named in any case; empty if there is none."""
        return next((text for own, text in self.further if fold_name(own) == fold_name(name)), "")

    @property
    def annotation_origin(self) -> AnnotationOrigin:
        """Corner that the annotation's px are counted from, by the column annotation_origin: slide,
        bounds (the scanned part, as in QuPath), or empty where nobody says.

        Raises:
            SettingsError: the column has another value.
        """
        stated = self.column("annotation_origin").casefold()
        for origin in get_args(AnnotationOrigin):
            if origin == stated:
                return origin
        raise SettingsError(
            f"cohort: annotation_origin of {self.id} is {stated!r}; use slide, bounds or leave it "
            "empty"
        )

    @property
    def quality(self) -> Quality:
        """Quality of the annotation, by the column quality: strong, a person's outlines, which an
        empty cell means too; weak, those of a machine or a stain, or coarse ones.

        Raises:
            SettingsError: the column has another value.
        """
        stated = self.column("quality").strip().casefold() or "strong"
        for quality in get_args(Quality):
            if quality == stated:
                return quality
        raise SettingsError(
            f"cohort: quality of {self.id} is {stated!r}; use weak, strong or leave it empty"
        )

    exhaustive: bool = True
    """True if every tumour of the slide is outlined; if not, tissue outside the outlines may be
    tumour."""

    has_regions: bool = False
    """True if every tumour is outlined within the annotation's outlines of the class Region*, and
    only there; then exhaustive is false."""

    def load_tumor(
        self,
        further_groups: Mapping[str, GroupMeaning],
        *,
        slide: Slide | SlideFrame | None = None,
    ) -> MultiPolygon | None:
        """Load the tumour outlined on a labelled slide, level-0 px; None if the row has no
        annotation.

        Raises:
            AnnotationError: the annotation cannot be read, or contradicts the label.
        """
        annotation = self.load_annotation(further_groups, slide=slide)
        return None if annotation is None else annotation.tumor

    def load_annotation(
        self,
        further_groups: Mapping[str, GroupMeaning],
        *,
        slide: Slide | SlideFrame | None = None,
    ) -> Annotation | None:
        """Load the annotation of a labelled slide; None if the row has none.

        slide saves opening this row's slide, which says where an annotation lies on it.

        Raises:
            AnnotationError: the annotation cannot be read, or contradicts the label.
        """
        if self.annotation is None:
            return None
        groups: dict[str, GroupMeaning] = {**DEFAULT_GROUPS, **further_groups}
        # Evaluation may run where the slides are not. A URL that fails to answer stays an error.
        has_slide = not isinstance(self.path, Path) or self.path.exists()
        annotation = Annotation.load(
            self.annotation,
            groups=groups,
            slide=slide or (self.path if has_slide else None),
            origin=self.annotation_origin,
        )
        # A tumour slide may have no tumour in the regions that a person looked at.
        if self.has_regions and self.label == "tumor" and annotation.tumor.is_empty:
            return annotation
        if (self.label == "tumor") == annotation.tumor.is_empty:
            if self.label == "tumor":
                raise AnnotationError(
                    f"{self.annotation}: outlines no tumour, but the slide's label is tumor: "
                    f"{'; '.join(annotation.explain_no_tumor())}"
                )
            raise AnnotationError(
                f"{self.annotation}: outlines tumour, but the slide's label is "
                f"{self.label or 'empty'}; correct one of them"
            )
        return annotation


@dataclass(frozen=True, kw_only=True)
class Cohort:
    """Slides with unique ids and with every patient in one split only."""

    slides: tuple[CohortSlide, ...]
    source: Path | None = field(default=None, compare=False)
    """The table that the cohort was loaded from, if any."""

    def __post_init__(self) -> None:
        first: dict[str, CohortSlide] = {}
        for slide in self.slides:
            other = first.setdefault(_fold(slide.id), slide)
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
        return cls(slides=_with_unique_ids(rows, base))

    @classmethod
    def load(cls, path: Path) -> "Cohort":
        """Read a CSV with the columns slide, annotation, label, patient, split, mpp, exhaustive,
        width and height.

        Only slide is required: a path, relative to the CSV, or a URL. Columns are found in any
        case and order; further ones are kept as text.

        Raises:
            SettingsError: not such a table, or an invalid value; the message names the row.
        """
        return replace(cls.of_rows(cls.read_rows(path), base=path.parent), source=path)

    @staticmethod
    def read_rows(path: Path) -> list[CohortSlide]:
        """Read the rows of the CSV without comparing them; ids are the file names.

        Raises:
            SettingsError: not such a table, or an invalid value; the message names the row.
        """
        if path.is_dir():
            raise SettingsError(
                f"{path}: is a folder, expected a cohort CSV; gigaslide cohort {path} cohort.csv "
                "lists its slides"
            )
        if not path.exists():
            raise SettingsError(
                f"{path}: no such file, expected a cohort CSV; gigaslide cohort FOLDER {path} "
                "lists the slides of a folder"
            )
        columns = [CsvColumn(name=name) for name in (*COLUMNS, *SIZE)]
        table = CsvTable.load(path, columns, required=["slide"], error=SettingsError)
        stated = (empty_missing(row, names=("slide", "patient")) for row in table)
        rows = [_row(row, path.parent) for row in stated]
        if not rows:
            raise SettingsError(f"{path}: the cohort has no slides; list at least one")
        return rows

    def save(self, path: Path) -> None:
        """Write the CSV with paths inside its folder relative to it."""
        folder = _absolute(path).parent
        with atomic_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
            self.write(file, folder)

    def write(self, file, folder: Path) -> None:
        """Write the CSV to an open text file with paths inside folder relative to it."""
        further = list(dict.fromkeys(name for slide in self.slides for name, _ in slide.further))
        size = SIZE if any(slide.size for slide in self.slides) else ()
        rows = [
            [
                _relative(slide.path, folder),
                "" if slide.annotation is None else _relative(slide.annotation, folder),
                slide.label,
                slide.patient,
                slide.split,
                "" if slide.mpp is None else str(slide.mpp),
                "" if slide.exhaustive else "no",
                *(map(str, slide.size) if slide.size else ("",) * len(size)),
                *map(slide.column, further),
            ]
            for slide in self.slides
        ]
        # The reader drops a leading space and a bare carriage return from cells without quotes.
        needs_quotes = any(cell.startswith(" ") or "\r" in cell for row in rows for cell in row)
        quoting = csv.QUOTE_ALL if needs_quotes else csv.QUOTE_MINIMAL
        writer = csv.writer(file, lineterminator="\n", quoting=quoting)
        writer.writerows([[*COLUMNS, *size, *further], *rows])


def _row(row: CsvRow, folder: Path) -> CohortSlide:
    def choice(column: str, allowed: tuple[str, ...]) -> str:
        chosen = row.text(column).lower().replace("tumour", "tumor")
        if chosen not in allowed:
            raise SettingsError(
                f"{row.where}: {column} is {chosen!r}; use {', '.join(filter(None, allowed))} or "
                "leave it empty"
            )
        return chosen

    if not row.text("slide"):
        raise SettingsError(f"{row.where}: the slide column is empty; give a path or a URL")
    slide = find_written(row.text("slide", strip=False), folder, suffixes=SLIDE_SUFFIXES)
    return CohortSlide(
        id=Path(name_of(slide)).stem,
        path=slide,
        annotation=_find_annotation(row, folder),
        label=choice("label", get_args(Label)),  # pyright: ignore[reportArgumentType]
        patient=row.text("patient"),
        split=choice("split", get_args(Split)),  # pyright: ignore[reportArgumentType]
        mpp=row.number("mpp") if row.text("mpp") else None,
        size=_read_size(row),
        further=tuple(row.further.items()),
        exhaustive=YES_NO[choice("exhaustive", tuple(YES_NO))],
    )


def _read_size(row: CsvRow) -> tuple[int, int] | None:
    """Width and height of a slide, level-0 px; None where both cells are empty."""
    if not any(map(row.text, SIZE)):
        return None
    width, height = (row.number(name) if row.text(name) else 0.0 for name in SIZE)
    if not (width >= 1 and height >= 1 and width.is_integer() and height.is_integer()):
        given = " × ".join(row.text(name) or "nothing" for name in SIZE)
        raise SettingsError(
            f"{row.where}: width and height are {given}; give both in whole level-0 px, or neither"
        )
    return int(width), int(height)


def _find_annotation(row: CsvRow, folder: Path) -> Path | None:
    if not row.text("annotation"):
        return None
    found = find_written(row.text("annotation", strip=False), folder)
    if isinstance(found, Path):
        return found
    raise SettingsError(
        f"{row.where}: annotation is the URL {format_location(found)}; copy the file, and give its "
        "path"
    )


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


def _with_unique_ids(rows: list[CohortSlide], base: Path | None) -> tuple[CohortSlide, ...]:
    safe = [_safe_id(row.id) for row in rows]
    uses = Counter(map(_fold, safe))
    if base is None:
        folders = [_absolute(row.path).parent for row in rows if isinstance(row.path, Path)]
        base = Path(os.path.commonpath(folders)) if folders else Path()
    slides = []
    for row, name in zip(rows, safe, strict=True):
        if uses[_fold(name)] > 1:
            # A relative path, so that moving the cohort with its slides does not rename outputs.
            path = row.path
            if isinstance(path, Path):
                path = os.path.relpath(_absolute(path), _absolute(base))
            name += "-" + hashlib.sha256(path.encode("utf-8", "surrogateescape")).hexdigest()[:8]
        slides.append(replace(row, id=name))
    return tuple(slides)


def _safe_id(name: str) -> str:
    # Letters of any script stay; quotes, newlines, spaces and slashes could end a command or a
    # line. Zarr reserves names that start with two underscores, a leading dash makes an option, a
    # leading dot a hidden file. File systems limit the bytes of a name.
    safe = re.sub(r"[^\w.-]+", "_", name).lstrip("_.-").encode()[:ID_BYTES]
    return safe.decode(errors="ignore") or "slide"


def _fold(name: str) -> str:
    # On file systems that ignore case or the Unicode form, "A" would overwrite "a".
    return unicodedata.normalize("NFC", name).casefold()


def _relative(path: Location, folder: Path) -> str:
    if isinstance(path, str):
        return path
    path, folder = _absolute(path), _absolute(folder)
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)


def _absolute(path: Path) -> Path:
    # Links stay, because a link carries the slide's name while its target may be a number.
    plain = os.path.abspath(path)  # noqa: PTH100 - Path.resolve would follow links
    if ".." not in path.parts or os.path.realpath(plain) == os.path.realpath(path):
        return Path(plain)
    # Behind a linked folder, ".." is the parent of the link's target.
    parts = path.parts
    last = len(parts) - 1 - parts[::-1].index("..")
    return Path(os.path.realpath(Path(*parts[: last + 1])), *parts[last + 1 :])
