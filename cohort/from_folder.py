"""A cohort proposed from a folder: its slides, annotations of matching names, CAMELYON16's
layouts."""

import csv
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from ..storage import SettingsError, format_count
from .cohort import Cohort
from .cohort_slide import CohortSlide, Label, Split
from .dicom_series import keep_one_per_dicom_slide
from .found_files import SLIDE_SUFFIXES, FoundFiles, warn_of_files
from .match_annotations import match_annotations

__all__ = ["propose_cohort"]

PATIENTS = (re.compile(r"(patient_\d+)(?=_)"), re.compile(r"(tcga-\w\w-\w{4})(?=-|$)"))
# Slides of CAMELYON16 on which only some tumours are outlined.
CAMELYON16_NOT_EXHAUSTIVE = frozenset(
    [
        f"tumor_{n:03}"
        for n in (10, 15, 18, 20, 25, 29, 33, 34, 44, 46, 51, 54, 55, 56, 67, 79, 85, 92, 95, 110)
    ]
    + ["test_114"]
)
CAMELYON16_NAME = re.compile(r"(normal|tumor|test)_\d{3}")


def propose_cohort(folder: Path, *, with_annotations: bool = True) -> Cohort:
    """Propose a cohort of every slide below a folder, to be read before it is used.

    Annotations match by stem, ignoring case, wherever they lie; `<stem>_annotation(s)` and `<full
    name of the slide>` match too. Labels come from CAMELYON16's layouts; elsewhere a slide with an
    annotation is tumor, and one without has no label, because nobody may have looked at it.
    CAMELYON16's corrections are not applied: normal_086 became tumor_111, normal_144 also holds
    tumour, test_049 is a duplicate. Its partly annotated slides are marked as not exhaustive.

    The split is drawn from the name of the patient or else of the slide, so it stays when slides
    are added. CAMELYON16 keeps its test slides, and a fifth of the rest is validation. Other
    labelled slides go to train, validation and test by 60, 20 and 20 %, unlabelled ones to no
    split. Folders named masks and files named *_mask are skipped, linked folders are visited once,
    and the DICOM files of a series in a folder count as one slide. Warnings tell what is left out.

    Raises:
        SettingsError: no such folder, or no slide in it.
    """
    found = FoundFiles.below(folder)
    if not found.slides:
        there = f"; there are {found.describe_pictures()}" if found.pictures else ""
        raise SettingsError(
            f"{folder}: no slide below this folder{there}; give one with files of "
            f"{' '.join(sorted(SLIDE_SUFFIXES))}"
        )
    found.warn_of_skipped()
    slides = keep_one_per_dicom_slide(found.slides)
    annotations = match_annotations(slides, found.annotations) if with_annotations else {}
    reference: dict[str, Label] = {
        name: label for path in found.references for name, label in _read_reference(path)
    }
    rows = [_row(path, annotations.get(path), reference) for path in slides]
    if with_annotations:
        unlabelled = [path for path, row in zip(slides, rows, strict=True) if not row.label]
        warn_of_files(
            f"{len(unlabelled)} of {format_count(len(rows), 'slide')}",
            unlabelled,
            "without annotation, label and split, so no stage trains or tests with them; fill in "
            "the columns",
        )
    return Cohort.of_rows(rows, base=folder)


def _read_reference(path: Path) -> Iterator[tuple[str, Label]]:
    # CAMELYON16's table has no header: name, Tumor or Normal, and further columns.
    labels: dict[str, Label] = {"tumor": "tumor", "normal": "normal"}
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        for row in csv.reader(file, skipinitialspace=True):
            if len(row) > 1 and row[1].strip().casefold() in labels:
                yield Path(row[0].strip()).stem.casefold(), labels[row[1].strip().casefold()]


def _row(path: Path, annotation: Path | None, reference: dict[str, Label]) -> CohortSlide:
    name, kind = path.stem.casefold(), _camelyon16_kind(path)
    patient = next(
        (found[0] for found in (pattern.match(name) for pattern in PATIENTS) if found), ""
    )
    from_annotation: Label = "tumor" if annotation else ""
    label: Label = (
        reference.get(name, from_annotation) if kind == "test" else kind or from_annotation
    )
    digest = hashlib.sha256((patient or name).encode("utf-8", "surrogateescape")).digest()
    return CohortSlide(
        id=path.stem,
        path=path,
        annotation=annotation,
        label=label,
        patient=patient.upper() if patient.startswith("tcga") else patient,
        split=_split(kind, label, share=int.from_bytes(digest[:8], "big") / 2**64),
        exhaustive=not (kind and name in CAMELYON16_NOT_EXHAUSTIVE),
    )


def _camelyon16_kind(path: Path) -> Literal["tumor", "normal", "test", ""]:
    parent = path.absolute().parent
    outer, inner = parent.parent.name.casefold(), parent.name.casefold()
    match = CAMELYON16_NAME.fullmatch(path.stem.casefold()) if inner == "images" else None
    if (outer, inner) == ("testing", "images") or (match and match[1] == "test"):
        return "test"
    kind = inner if outer == "training" else match[1] if match else ""
    return "tumor" if kind == "tumor" else "normal" if kind == "normal" else ""


def _split(kind: str, label: Label, *, share: float) -> Split:
    if kind == "test":
        return "test"
    if kind:
        return "validation" if share < 0.2 else "train"
    if not label:
        return ""
    return "train" if share < 0.6 else "validation" if share < 0.8 else "test"
