"""The cohort as a CSV: its rows read into slides, and slides written as rows."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO, get_args

from ..storage import CsvColumn, CsvRow, CsvTable, SettingsError, format_location, name_of
from .cohort_slide import CohortSlide, Label, Split
from .found_files import SLIDE_SUFFIXES
from .missing_values import empty_missing
from .written_paths import find_written, make_relative

__all__ = ["read_slides", "write_slides"]

COLUMNS = ("slide", "annotation", "label", "patient", "split", "mpp", "exhaustive")
SIZE = ("width", "height")
YES_NO = {"": True, "yes": True, "no": False, "true": True, "false": False, "1": True, "0": False}


def read_slides(path: Path) -> list[CohortSlide]:
    """Read the slides of the CSV without comparing them; ids are the file names.

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
    rows = [_read_row(row, path.parent) for row in stated]
    if not rows:
        raise SettingsError(f"{path}: the cohort has no slides; list at least one")
    return rows


def write_slides(slides: Sequence[CohortSlide], file: TextIO, *, folder: Path) -> None:
    """Write the slides as a CSV to an open text file with paths inside folder relative to it."""
    further = list(dict.fromkeys(name for slide in slides for name, _ in slide.further))
    size = SIZE if any(slide.size for slide in slides) else ()
    rows = [
        [
            make_relative(slide.path, folder),
            "" if slide.annotation is None else make_relative(slide.annotation, folder),
            slide.label,
            slide.patient,
            slide.split,
            "" if slide.mpp is None else str(slide.mpp),
            "" if slide.exhaustive else "no",
            *(map(str, slide.size) if slide.size else ("",) * len(size)),
            *map(slide.column, further),
        ]
        for slide in slides
    ]
    # The reader drops a leading space and a bare carriage return from cells without quotes.
    needs_quotes = any(cell.startswith(" ") or "\r" in cell for row in rows for cell in row)
    quoting = csv.QUOTE_ALL if needs_quotes else csv.QUOTE_MINIMAL
    writer = csv.writer(file, lineterminator="\n", quoting=quoting)
    writer.writerows([[*COLUMNS, *size, *further], *rows])


def _read_row(row: CsvRow, folder: Path) -> CohortSlide:
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
