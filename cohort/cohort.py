"""The table of slides: who they are, what is drawn on them, and on which side of the split they
stand."""

import csv
import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, get_args

from shapely.geometry import MultiPolygon

from ..storage import AnnotationError, Location, SettingsError, atomic_file, name_of, parse_location
from ..wsi import DEFAULT_GROUPS, Annotation, GroupMeaning, SlideFrame

__all__ = ["Cohort", "CohortSlide", "Label", "Split"]

Label = Literal["tumor", "normal", ""]
Split = Literal["train", "validation", "test", ""]
# of 255 that a file name may have: a hash, a suffix and the ends of unfinished files come to it
ID_BYTES = 150
COLUMNS = ("slide", "annotation", "label", "patient", "split", "mpp", "exhaustive")
YES_NO = {"": True, "yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


@dataclass(frozen=True, kw_only=True)
class CohortSlide:
    """One row. `id` names the slide's outputs: unique in the cohort and safe as a file name."""

    id: str
    path: Location
    annotation: Path | None = None
    label: Label = ""
    patient: str = ""
    split: Split = ""
    mpp: float | None = None
    """µm per level-0 px; overrides what the file says."""
    further: tuple[tuple[str, str], ...] = ()
    """Further columns of the table, (name, value), such as scanner or centre."""

    def column(self, name: str) -> str:
        """The value of a further column; empty where the table has none of that name."""
        return dict(self.further).get(name, "")

    exhaustive: bool = True
    """Whether every tumour of the slide is drawn; where not, what is not drawn need not be normal.
    """

    def load_tumor(self, further_groups: Mapping[str, GroupMeaning]) -> MultiPolygon | None:
        """Tumour drawn on a labelled slide, level-0 px; None where the row has no annotation.

        Raises:
            AnnotationError: the annotation cannot be read, or contradicts the label.
        """
        annotation = self.load_annotation(further_groups)
        return None if annotation is None else annotation.tumor

    def load_annotation(
        self, further_groups: Mapping[str, GroupMeaning], *, frame: SlideFrame | None = None
    ) -> Annotation | None:
        """Read what is drawn on a labelled slide; None where the row has no annotation.

        frame saves opening the slide where the annotation needs its size.

        Raises:
            AnnotationError: it cannot be read, or contradicts the label.
        """
        if self.annotation is None:
            return None
        groups: dict[str, GroupMeaning] = {**DEFAULT_GROUPS, **further_groups}
        # Heatmaps may be scored where their slides are not. A URL that does not answer is no such
        # slide.
        at_hand = not isinstance(self.path, Path) or self.path.exists()
        annotation = Annotation.load(
            self.annotation, groups=groups, slide=frame or (self.path if at_hand else None)
        )
        if (self.label == "tumor") == annotation.tumor.is_empty:
            says = "no tumour" if annotation.tumor.is_empty else "tumour"
            raise AnnotationError(
                f"{self.annotation}: shows {says}, but the slide is labelled {self.label}; correct "
                "one of them"
            )
        return annotation


@dataclass(frozen=True, kw_only=True)
class Cohort:
    """Slides with unique ids, no patient on two sides of the split."""

    slides: tuple[CohortSlide, ...]
    source: Path | None = field(default=None, compare=False)
    """The table it was read from, where it was."""

    def __iter__(self) -> Iterator[CohortSlide]:
        return iter(self.slides)

    def __len__(self) -> int:
        return len(self.slides)

    @property
    def has_splits(self) -> bool:
        """Whether any slide has a side; where none has, prediction and evaluation take every
        slide."""
        return any(slide.split for slide in self.slides)

    def of_split(self, split: Split) -> "Cohort":
        return Cohort(slides=tuple(slide for slide in self.slides if slide.split == split))

    @classmethod
    def of_rows(cls, rows: list[CohortSlide], *, base: Path | None = None) -> "Cohort":
        """From rows whose ids are only wishes: ids are made safe, and two files of one name get
        distinct ones.

        Those come from the paths relative to the folder base, by default the one that holds all
        slides.

        Raises:
            SettingsError: no rows, a file listed twice, or a patient on two sides of the split.
        """
        if not rows:
            raise SettingsError("the cohort has no slides; list at least one")
        for path, count in Counter(row.path for row in rows).items():
            if count > 1:
                raise SettingsError(
                    f"cohort: {path} is listed {count} times; keep one row for each slide"
                )
        splits: dict[str, set[str]] = {}
        for row in rows:
            if row.patient and row.split:
                splits.setdefault(row.patient, set()).add(row.split)
        for patient, sides in splits.items():
            if len(sides) > 1:
                raise SettingsError(
                    f"cohort: patient {patient} is in {' and '.join(sorted(sides))}; a patient "
                    "must be on one side only"
                )
        return cls(slides=_with_unique_ids(rows, base))

    @classmethod
    def load(cls, path: Path) -> "Cohort":
        """Read a CSV with the columns slide, annotation, label, patient, split, mpp, exhaustive;
        only slide is needed.

        A slide is a path or a URL. Relative paths are relative to the CSV. Further columns are kept
        as text.

        Raises:
            SettingsError: not such a table, or a value outside the allowed ones; the message names
            the row.
        """
        return replace(cls.of_rows(cls.rows_of(path), base=path.parent), source=path)

    @staticmethod
    def rows_of(path: Path) -> list[CohortSlide]:
        """The rows of the same table as they stand: ids are the files' names, and no row is
        compared with another.

        Raises:
            SettingsError: as for `load`, but for what rows say together.
        """
        try:
            with path.open(newline="", encoding="utf-8-sig") as file:
                reader = csv.DictReader(file, skipinitialspace=True)
                if "slide" not in (reader.fieldnames or ()):
                    raise SettingsError(
                        f"{path}: no column named slide; the columns are {', '.join(COLUMNS)}"
                    )
                rows = [_row(path, reader.line_num, row) for row in reader]
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise SettingsError(f"{path}: cannot be read as a cohort CSV: {error}") from error
        if not rows:
            raise SettingsError(f"{path}: the cohort has no slides; list at least one")
        return rows

    def save(self, path: Path) -> None:
        """Write the CSV; paths inside its folder become relative to it."""
        folder = _plain(path).parent
        with atomic_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
            self.write(file, folder)

    def write(self, file, folder: Path) -> None:
        """Write the CSV to an open text file; paths inside folder become relative to it."""
        further = list(dict.fromkeys(name for slide in self.slides for name, _ in slide.further))
        rows = [
            [
                _relative(slide.path, folder),
                "" if slide.annotation is None else _relative(slide.annotation, folder),
                slide.label,
                slide.patient,
                slide.split,
                "" if slide.mpp is None else str(slide.mpp),
                "" if slide.exhaustive else "no",
                *map(slide.column, further),
            ]
            for slide in self.slides
        ]
        # Unquoted, a space at the start and a bare carriage return are lost when the table is read.
        odd = any(cell.startswith(" ") or "\r" in cell for row in rows for cell in row)
        writer = csv.writer(
            file, lineterminator="\n", quoting=csv.QUOTE_ALL if odd else csv.QUOTE_MINIMAL
        )
        writer.writerows([[*COLUMNS, *further], *rows])


def _row(csv_path: Path, line: int, row: dict[str, str | None]) -> CohortSlide:
    def value(column: str) -> str:
        return (row.get(column) or "").strip()

    def choice(column: str, allowed: tuple[str, ...]) -> str:
        word = value(column).lower().replace("tumour", "tumor")
        if word not in allowed:
            words = ", ".join(filter(None, allowed))
            raise SettingsError(
                f"{csv_path}, line {line}: {column} is {word!r}; use {words} or leave it empty"
            )
        return word

    if not row.get("slide"):
        raise SettingsError(f"{csv_path}, line {line}: the slide column is empty")
    try:
        mpp = float(value("mpp")) if value("mpp") else None
    except ValueError as error:
        raise SettingsError(
            f"{csv_path}, line {line}: mpp is {value('mpp')!r}; give µm/px as a number"
        ) from error
    exhaustive = value("exhaustive").lower()
    if exhaustive not in YES_NO:
        raise SettingsError(
            f"{csv_path}, line {line}: exhaustive is {exhaustive!r}; use yes, no or leave it empty"
        )
    slide = parse_location(str(row["slide"]), csv_path.parent)
    return CohortSlide(
        id=Path(name_of(slide)).stem,
        path=slide,
        annotation=csv_path.parent / value("annotation") if value("annotation") else None,
        label=choice("label", get_args(Label)),  # pyright: ignore[reportArgumentType]
        patient=value("patient"),
        split=choice("split", get_args(Split)),  # pyright: ignore[reportArgumentType]
        mpp=mpp,
        further=tuple(
            (name, (text or "").strip())
            for name, text in row.items()
            if name and name not in COLUMNS and not isinstance(text, list)
        ),
        exhaustive=YES_NO[exhaustive],
    )


def _with_unique_ids(rows: list[CohortSlide], base: Path | None) -> tuple[CohortSlide, ...]:
    safe = [_safe_id(row.id) for row in rows]
    # File systems that ignore case would let "A" overwrite "a".
    uses = Counter(name.casefold() for name in safe)
    # Relative, so that moving the cohort with its slides does not rename its outputs.
    folders = [_plain(row.path).parent for row in rows if isinstance(row.path, Path)]
    base = (
        _plain(base)
        if base is not None
        else Path(os.path.commonpath(folders))
        if folders
        else Path()
    )
    slides = []
    for row, name in zip(rows, safe, strict=True):
        if uses[name.casefold()] > 1:
            place = (
                os.path.relpath(_plain(row.path), base) if isinstance(row.path, Path) else row.path
            )
            name += "-" + hashlib.sha256(place.encode("utf-8", "surrogateescape")).hexdigest()[:8]
        slides.append(replace(row, id=name))
    return tuple(slides)


def _safe_id(name: str) -> str:
    # Letters of any script stay; the rest (quotes, newlines, spaces, slashes) could end a command
    # or a line. Zarr keeps names that begin with two underscores for itself; a leading dash is an
    # option, a leading dot is hidden. File systems count the bytes of a name.
    safe = re.sub(r"[^\w.-]+", "_", name).lstrip("_.-").encode()[:ID_BYTES]
    return safe.decode(errors="ignore") or "slide"


def _relative(path: Location, folder: Path) -> str:
    if isinstance(path, str):
        return path
    path, folder = _plain(path), _plain(folder)
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)


def _plain(path: Path) -> Path:
    # Absolute and without "..", but links stay: a link's name is the slide's name, its target's
    # often a number.
    return Path(os.path.abspath(path))  # noqa: PTH100 - Path.resolve would follow links
