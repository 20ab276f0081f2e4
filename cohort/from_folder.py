"""A cohort proposed from a folder: its slides, annotations of matching names, CAMELYON16's
layouts."""

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

OPENSLIDE_SUFFIXES = "tif tiff svs ndpi mrxs scn bif vms vmu svslide czi dcm"
SLIDE_SUFFIXES = frozenset(f".{suffix}" for suffix in OPENSLIDE_SUFFIXES.split())
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


def propose_cohort(folder: Path) -> Cohort:
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
    and the DICOM files of a folder count as one slide.

    Raises:
        SettingsError: no such folder, or no slide in it.
    """
    slides, annotation_files, references = [], [], []
    for path in _find_files(folder):
        suffix, stem = path.suffix.casefold(), path.stem.casefold()
        if suffix in SLIDE_SUFFIXES and not stem.endswith("_mask"):
            slides.append(path)
        elif suffix in ANNOTATION_SUFFIXES:
            annotation_files.append(path)
        elif path.name.casefold() == "reference.csv" and path.parent.name.casefold() in (
            "testing",
            "evaluation",
        ):
            references.append(path)
    if not slides:
        raise SettingsError(
            f"{folder}: no slide below this folder; give one with files of "
            f"{' '.join(sorted(SLIDE_SUFFIXES))}"
        )
    slides = _keep_one_per_dicom_folder(slides)
    annotations = _match_annotations(slides, annotation_files)
    reference: dict[str, Label] = {
        name: label for path in references for name, label in _read_reference(path)
    }
    return Cohort.of_rows(
        [_row(path, annotations.get(path), reference) for path in slides], base=folder
    )


def _find_files(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        raise SettingsError(f"{folder}: no such folder; give the folder of the slides")
    seen_folders, seen_files = set(), set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        # A link may lead back to a parent, so every real folder and file counts once.
        if os.path.realpath(parent) in seen_folders:
            logger.warning("%s links to a folder that was visited before; it is skipped", parent)
            folders.clear()
            continue
        seen_folders.add(os.path.realpath(parent))
        folders[:] = sorted(
            name for name in folders if name.casefold() != "masks" and not name.startswith(".")
        )
        for path in (Path(parent, name) for name in sorted(names) if not name.startswith(".")):
            if path.is_file() and os.path.realpath(path) not in seen_files:
                seen_files.add(os.path.realpath(path))
                yield path


def _keep_one_per_dicom_folder(slides: list[Path]) -> list[Path]:
    largest: dict[Path, Path] = {}
    for path in slides:
        if path.suffix.casefold() == ".dcm":
            # OpenSlide opens a slide from any of its files except a label image, which is never
            # the largest.
            largest[path.parent] = max(
                largest.get(path.parent, path), path, key=lambda file: file.stat().st_size
            )
    return [
        path
        for path in slides
        if largest.get(path.parent, path) == path or path.suffix.casefold() != ".dcm"
    ]


def _match_annotations(slides: list[Path], annotation_files: list[Path]) -> dict[Path, Path]:
    """Match annotations to slides; among slides of one name the nearest folder wins."""
    by_name: dict[str, list[Path]] = {}
    for slide in slides:
        # A DICOM slide has the name of its folder; its files are named for levels.
        stem = slide.parent.name if slide.suffix.casefold() == ".dcm" else slide.stem
        for name in {
            stem.casefold(),
            slide.name.casefold(),
            slide.stem.casefold().removesuffix(".ome"),
        }:
            by_name.setdefault(name, []).append(slide)
    found: dict[Path, list[Path]] = {}
    for path in annotation_files:
        stem = path.stem.casefold()
        candidates = by_name.get(stem) or by_name.get(re.sub(r"[_-]annotations?$", "", stem), [])
        shared = [_count_shared_folders(path, slide) for slide in candidates]
        if candidates and shared.count(max(shared)) > 1:
            logger.warning("%s may belong to several slides of that name; it is skipped", path)
        elif candidates:
            found.setdefault(candidates[shared.index(max(shared))], []).append(path)
    matched = {}
    for slide, paths in found.items():
        # The nearest file wins, then the first suffix in the list.
        paths.sort(
            key=lambda path: (
                -_count_shared_folders(path, slide),
                ANNOTATION_SUFFIXES.index(path.suffix.casefold()),
            )
        )
        matched[slide] = paths[0]
        for other in paths[1:]:
            logger.warning("%s is skipped: %s already has %s", other, slide, paths[0])
    return matched


def _count_shared_folders(one: Path, other: Path) -> int:
    return len(Path(os.path.commonpath([one.parent, other.parent])).parts)


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
