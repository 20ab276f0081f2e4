"""A cohort proposed from a folder: its slides, the annotations that match by name, and CAMELYON16's
two layouts."""

import csv
import hashlib
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from ..storage import SettingsError
from ..wsi import ANNOTATION_SUFFIXES
from .cohort import Cohort, CohortSlide, Label, Split

__all__ = ["propose_cohort"]

logger = logging.getLogger(__name__)

# What OpenSlide reads, by its own list of formats.
SLIDE_SUFFIXES = frozenset(
    [
        ".tif",
        ".tiff",
        ".svs",
        ".ndpi",
        ".mrxs",
        ".scn",
        ".bif",
        ".vms",
        ".vmu",
        ".svslide",
        ".czi",
        ".dcm",
    ]
)
PATIENTS = (re.compile(r"(patient_\d+)(?=_)"), re.compile(r"(tcga-\w\w-\w{4})(?=-|$)"))
# Of CAMELYON16's slides those on which not every tumour is drawn.
CAMELYON16_IN_PART = frozenset(
    [
        f"tumor_{n:03}"
        for n in (10, 15, 18, 20, 25, 29, 33, 34, 44, 46, 51, 54, 55, 56, 67, 79, 85, 92, 95, 110)
    ]
    + ["test_114"]
)
CAMELYON16_NAME = re.compile(r"(normal|tumor|test)_\d{3}")


def propose_cohort(folder: Path) -> Cohort:
    """Every slide below a folder, with what can be known from names; a proposal to read before it
    is used.

    Annotations match by stem, without regard to case, wherever they lie; `<stem>_annotation(s)` and
    `<slide's full name>` match too. The label is CAMELYON16's where the folder has one of its
    layouts, else tumor where there is an annotation, else empty: what nobody annotated is unknown,
    not normal. Of CAMELYON16's corrections none is applied: normal_086 became tumor_111, normal_144
    also holds tumour, test_049 is a duplicate. Its slides that are annotated in part are marked as
    not exhaustive.

    The split is drawn from the patient's (else the slide's) name, so that it stays when slides are
    added: CAMELYON16 keeps its test slides and gives a fifth of the rest to validation; others go
    60, 20 and 20 in a hundred to train, validation and test, and unlabelled ones nowhere. Folders
    called masks and files called *_mask are left out, linked folders are looked through once, and a
    folder's DICOM files count as one slide.

    Raises:
        SettingsError: no such folder, or no slide in it.
    """
    slides, drawn, references = [], [], []
    for path in _files(folder):
        suffix, stem = path.suffix.casefold(), path.stem.casefold()
        if suffix in SLIDE_SUFFIXES and not stem.endswith("_mask"):
            slides.append(path)
        elif suffix in ANNOTATION_SUFFIXES:
            drawn.append(path)
        elif path.name.casefold() == "reference.csv" and path.parent.name.casefold() in (
            "testing",
            "evaluation",
        ):
            references.append(path)
    if not slides:
        raise SettingsError(
            f"{folder}: no slide found; looked below it for {' '.join(sorted(SLIDE_SUFFIXES))}"
        )
    slides = _one_per_dicom_folder(slides)
    annotations = _matched(slides, drawn)
    reference: dict[str, Label] = {
        name: label for path in references for name, label in _reference(path)
    }
    return Cohort.of_rows(
        [_row(path, annotations.get(path), reference) for path in slides], base=folder
    )


def _files(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        raise SettingsError(f"{folder}: no such folder; give the one that holds the slides")
    seen_folders, seen_files = set(), set()
    for place, folders, names in os.walk(folder, followlinks=True):
        # A link may lead back to where we came from: each real folder and file counts once.
        if os.path.realpath(place) in seen_folders:
            logger.warning("%s leads to a folder that was seen before and is passed over", place)
            folders.clear()
            continue
        seen_folders.add(os.path.realpath(place))
        folders[:] = sorted(
            name for name in folders if name.casefold() != "masks" and not name.startswith(".")
        )
        for path in (Path(place, name) for name in sorted(names) if not name.startswith(".")):
            if path.is_file() and os.path.realpath(path) not in seen_files:
                seen_files.add(os.path.realpath(path))
                yield path


def _one_per_dicom_folder(slides: list[Path]) -> list[Path]:
    largest: dict[Path, Path] = {}
    for path in slides:
        if path.suffix.casefold() == ".dcm":
            # OpenSlide opens the slide from any of its files but not from a label image: the
            # largest is never one.
            largest[path.parent] = max(
                largest.get(path.parent, path), path, key=lambda file: file.stat().st_size
            )
    return [
        path
        for path in slides
        if largest.get(path.parent, path) == path or path.suffix.casefold() != ".dcm"
    ]


def _matched(slides: list[Path], drawn: list[Path]) -> dict[Path, Path]:
    """The annotation of each slide that has one. Among slides of one name the nearest folder
    decides."""
    by_name: dict[str, list[Path]] = {}
    for slide in slides:
        # A DICOM slide is called by its folder; its files have the names of levels.
        stem = slide.parent.name if slide.suffix.casefold() == ".dcm" else slide.stem
        for name in {
            stem.casefold(),
            slide.name.casefold(),
            slide.stem.casefold().removesuffix(".ome"),
        }:
            by_name.setdefault(name, []).append(slide)
    found: dict[Path, list[Path]] = {}
    for path in drawn:
        stem = path.stem.casefold()
        candidates = by_name.get(stem) or by_name.get(re.sub(r"[_-]annotations?$", "", stem), [])
        shared = [_shared_parts(path, slide) for slide in candidates]
        if candidates and shared.count(max(shared)) > 1:
            logger.warning("%s may belong to several slides of that name and is left out", path)
        elif candidates:
            found.setdefault(candidates[shared.index(max(shared))], []).append(path)
    matched = {}
    for slide, paths in found.items():
        # The first suffix wins where a slide has several.
        paths.sort(
            key=lambda path: (
                -_shared_parts(path, slide),
                ANNOTATION_SUFFIXES.index(path.suffix.casefold()),
            )
        )
        matched[slide] = paths[0]
        for other in paths[1:]:
            logger.warning("%s is left out: %s has %s already", other, slide, paths[0])
    return matched


def _shared_parts(one: Path, other: Path) -> int:
    return len(Path(os.path.commonpath([one.parent, other.parent])).parts)


def _reference(path: Path) -> Iterator[tuple[str, Label]]:
    # CAMELYON16's has no header: name, Tumor or Normal, and further columns.
    words: dict[str, Label] = {"tumor": "tumor", "normal": "normal"}
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        for row in csv.reader(file, skipinitialspace=True):
            if len(row) > 1 and row[1].strip().casefold() in words:
                yield Path(row[0].strip()).stem.casefold(), words[row[1].strip().casefold()]


def _row(path: Path, annotation: Path | None, reference: dict[str, Label]) -> CohortSlide:
    name, kind = path.stem.casefold(), _camelyon16_kind(path)
    patient = next(
        (found[0] for found in (pattern.match(name) for pattern in PATIENTS) if found), ""
    )
    drawn: Label = "tumor" if annotation else ""
    label: Label = reference.get(name, drawn) if kind == "test" else kind or drawn
    digest = hashlib.sha256((patient or name).encode("utf-8", "surrogateescape")).digest()
    return CohortSlide(
        id=path.stem,
        path=path,
        annotation=annotation,
        label=label,
        patient=patient.upper() if patient.startswith("tcga") else patient,
        split=_split(kind, label, share=int.from_bytes(digest[:8], "big") / 2**64),
        exhaustive=not (kind and name in CAMELYON16_IN_PART),
    )


def _camelyon16_kind(path: Path) -> Literal["tumor", "normal", "test", ""]:
    around, inside = (
        part.name.casefold() for part in (path.absolute().parent.parent, path.absolute().parent)
    )
    called = CAMELYON16_NAME.fullmatch(path.stem.casefold()) if inside == "images" else None
    if (around, inside) == ("testing", "images") or (called and called[1] == "test"):
        return "test"
    word = inside if around == "training" else called[1] if called else ""
    return "tumor" if word == "tumor" else "normal" if word == "normal" else ""


def _split(kind: str, label: Label, *, share: float) -> Split:
    if kind == "test":
        return "test"
    if kind:
        return "validation" if share < 0.2 else "train"
    if not label:
        return ""
    return "train" if share < 0.6 else "validation" if share < 0.8 else "test"
