"""Checks between slides: duplicates, patients in several splits, classes, an unlike µm/px."""

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

from ..cohort import Cohort, CohortSlide, propose_cohort, read_slides
from ..patching import advise_patches
from ..storage import fold_name, format_count
from ..wsi import floor_div
from .checkup import SlideCheckup, SplitFacts
from .findings import Finding, error, note, warning
from .settings import DoctorSettings

__all__ = ["check_cohort", "count_splits", "load_cohort", "warn_of_unlike_mpp"]

SPLITS = ("train", "validation", "test", "")
TRAINING_SPLITS = SPLITS[:2]
UNLIKE_MPP = 0.2  # share by which a slide's µm/px may differ from the median


def load_cohort(path: Path) -> tuple[Cohort, list[Finding]]:
    """Load a cohort from a CSV, or propose one for a folder; mistakes in the CSV become findings.

    A slide that is listed twice is kept once.

    Raises:
        SettingsError: not such a table, or no slide in the folder.
    """
    if path.is_dir():
        message = f"proposed from the folder {path}, with labels and splits from names"
        advice = f"write it with gigaslide cohort {path} > cohort.csv, correct it, and check that"
        return propose_cohort(path), [note("cohort", message, advice)]
    findings = []
    rows: dict[Hashable, CohortSlide] = {}
    for row in read_slides(path):
        first = rows.setdefault(row.file_key, row)
        if first is not row:
            also = "" if first.path == row.path else f", also as {first.path}"
            splits = list(dict.fromkeys(one.split for one in (first, row) if one.split))
            sides = f", in {' and '.join(splits)}" if len(splits) > 1 else ""
            message = f"{row.path} is listed twice{also}{sides}"
            findings.append(error("duplicate", message, "keep one row per slide"))
    # Built without splits, because Cohort refuses a patient in two of them.
    safe = Cohort.of_rows([replace(row, split="") for row in rows.values()], base=path.parent)
    slides = tuple(
        replace(slide, split=row.split) for slide, row in zip(safe, rows.values(), strict=True)
    )
    renamed = tuple(
        slide.id
        for slide, row in zip(slides, rows.values(), strict=True)
        if len(slide.id) > len(row.id) and slide.id[-9] == "-"
    )
    if renamed:
        message = "slides with equal names in several folders: their ids have a suffix"
        findings.append(note("names", message, slides=renamed))
    return Cohort(slides=slides), findings


def count_splits(slides: Sequence[SlideCheckup]) -> tuple[SplitFacts, ...]:
    """Count every split that has slides."""
    return tuple(
        SplitFacts(
            split=split,
            slides=len(members),
            tumor=sum(slide.label == "tumor" for slide in members),
            normal=sum(slide.label == "normal" for slide in members),
            patients=len({slide.patient for slide in members} - {""}),
            tumor_patches=sum(slide.tile.tumor_patches for slide in members if slide.tile),
            normal_patches=sum(slide.tile.normal_patches for slide in members if slide.tile),
        )
        for split in SPLITS
        if (members := [slide for slide in slides if slide.split == split])
    )


def warn_of_unlike_mpp(slides: Sequence[SlideCheckup]) -> tuple[SlideCheckup, ...]:
    """Add a warning to one slide, or up to a tenth of them, whose µm/px differs from the median."""
    known = [slide.pixels.mpp for slide in slides if slide.pixels is not None]
    middle = median(known or [1.0])
    unlike = {mpp for mpp in known if abs(mpp / middle - 1) > UNLIKE_MPP}
    # More than a few come from another scanner, which is no mistake; of two slides either may be
    # the odd one.
    if len(known) < 3 or sum(mpp in unlike for mpp in known) > max(1, floor_div(len(known), 10)):
        return tuple(slides)
    checked = []
    for slide in slides:
        has_warning = any(
            finding.check == "µm/px" and finding.severity == "warning" for finding in slide.findings
        )
        if slide.pixels is not None and slide.pixels.mpp in unlike and not has_warning:
            message = f"{slide.pixels.mpp:g} µm/px; most slides have about {middle:g}"
            advice = "verify it; if it is wrong, give the right one in the mpp column"
            slide = replace(slide, findings=(*slide.findings, warning("µm/px", message, advice)))
        checked.append(slide)
    return tuple(checked)


def check_cohort(
    cohort: Cohort, slides: Sequence[SlideCheckup], settings: DoctorSettings
) -> Iterator[Finding]:
    """Check files, patients, splits and classes."""
    yield from _check_files(slides)
    yield from _check_groups(slides, settings)
    yield from _check_patients(cohort)
    yield from _check_training(cohort, slides, settings)
    yield from _check_prediction(cohort, settings)
    yield from _advise_on_patches(slides, settings)


def _check_files(slides: Sequence[SlideCheckup]) -> Iterator[Finding]:
    for same in _group_by_key((slide.fingerprint, slide) for slide in slides):
        ids = tuple(slide.id for slide in same)
        message = "files with the same content"
        splits = sorted({slide.split for slide in same} - {""})
        if len(splits) > 1:
            message += f", in {' and '.join(splits)}"
        yield error("duplicate", message, "keep one row per slide", slides=ids)


def _check_groups(slides: Sequence[SlideCheckup], settings: DoctorSettings) -> Iterator[Finding]:
    """Warn of groups that --groups explains and no annotation has."""
    read = [slide.annotation for slide in slides if slide.annotation is not None]
    found = {group.name for annotation in read for group in annotation.groups}
    known = {name.casefold() for name in found}
    named = {**settings.tile.groups, **settings.evaluate.groups}
    absent = [name for name in named if name.casefold() not in known]
    if read and absent:
        yield warning(
            "annotation",
            f"--groups names {', '.join(map(repr, absent))}, which no annotation has (groups "
            f"found: {', '.join(map(repr, sorted(found)))})",
            "correct the name in --groups",
        )


def _check_patients(cohort: Cohort) -> Iterator[Finding]:
    for same in _group_by_key((fold_name(slide.patient), slide) for slide in cohort):
        splits = sorted({slide.split for slide in same} - {""})
        if len(splits) > 1:
            yield error(
                "leak",
                f"patient {same[0].patient} is in {' and '.join(splits)}",
                "put all slides of a patient in one split, or the figures will be too good",
                slides=tuple(slide.id for slide in same if slide.split),
            )
    nameless = tuple(slide.id for slide in cohort if slide.split and not slide.patient)
    if nameless:
        yield warning(
            "leak",
            f"{len(nameless)} of {len(cohort)} slides have a split but no patient, so leaks cannot "
            "be detected",
            "fill in the patient column",
            slides=nameless,
        )


def _group_by_key(pairs: Iterable[tuple[str, object]]) -> Iterator[list]:
    """Yield the members of each group with more than one; members with an empty key are skipped."""
    groups: dict[str, list] = {}
    for key, member in pairs:
        groups.setdefault(key, []).append(member)
    return (members for key, members in groups.items() if key and len(members) > 1)


def _check_training(
    cohort: Cohort, slides: Sequence[SlideCheckup], settings: DoctorSettings
) -> Iterator[Finding]:
    tiled = settings.tile.splits
    if not any(slide.label and slide.split in tiled for slide in cohort):
        yield note(
            "classes",
            f"no slide has a label and is in {' or '.join(tiled)}, so nothing can be trained",
            "fill in the columns label and split, unless you only predict",
        )
        return
    counts = {found.split: found for found in count_splits(slides)}
    training = [split for split in TRAINING_SPLITS if split in counts]
    missing = [split for split in TRAINING_SPLITS if split not in counts]
    if missing:
        yield error(
            "classes",
            f"no slide in {' and none in '.join(missing)}; training needs train and validation",
            "fill in the split column, unless you only predict",
        )
    for name, field in (("tumour", "tumor_patches"), ("normal", "normal_patches")):
        empty = [split for split in training if not getattr(counts[split], field)]
        if not empty:
            continue
        labels = ("tumor", "tumor" if name == "tumour" else "normal")
        could_have = [slide for slide in slides if slide.split in empty and slide.label in labels]
        has_errors = any(slide.worst == "error" for slide in could_have)
        yield error(
            "classes",
            f"no {name} patch in {' and none in '.join(empty)}; training needs both classes in "
            "both",
            "repair the slides with errors there"
            if has_errors
            else "check labels, splits and annotations",
        )
    without = tuple(slide.id for slide in cohort if not slide.split)
    if without:
        yield warning(
            "split",
            f"{format_count(len(without), 'slide')} without a split, which no stage uses",
            "fill in the split column, or leave them out",
            slides=without,
        )


def _check_prediction(cohort: Cohort, settings: DoctorSettings) -> Iterator[Finding]:
    if not cohort.has_splits:
        return
    predicted = [slide for slide in cohort if slide.split in settings.predict.splits]
    splits = " and ".join(settings.predict.splits)
    if not predicted:
        message = f"no slide in {splits}: nothing to predict"
        yield warning("classes", message, "put some patients in test")
        return
    labels = {slide.label for slide in predicted}
    missing = [
        name for label, name in (("tumor", "tumour"), ("normal", "normal")) if label not in labels
    ]
    if missing:
        yield warning(
            "classes",
            f"no slide labelled {' or '.join(missing)} in {splits}, so slide AUC is not defined",
            "add some, or ignore slide AUC",
        )


def _advise_on_patches(
    slides: Sequence[SlideCheckup], settings: DoctorSettings
) -> Iterator[Finding]:
    """Advise on the µm/px of patches where none was given and another one fits better."""
    if "mpp" in settings.tile.model_fields_set:
        return
    # Also slides that cannot be tiled with the default.
    tiled = [
        slide for slide in slides if slide.label and slide.split in (*settings.tile.splits, "")
    ]
    widths_um = [um for slide in tiled if slide.annotation for um in slide.annotation.widths_um]
    mpps = [slide.pixels.mpp for slide in tiled if slide.pixels]
    advice = advise_patches(settings.tile, mpps, widths_um)
    if advice is not None and advice.mpp != settings.tile.mpp:
        yield note(
            "patches", f"{settings.tile.mpp:g} µm/px is the default, not chosen", str(advice)
        )
