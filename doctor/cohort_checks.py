"""What no slide shows alone: one file or patient twice, sides of the split, classes, a slide unlike
the others."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

from ..cohort import Cohort, CohortSlide, propose_cohort
from ..wsi import floor_div
from .checkup import SideFacts, SlideCheckup
from .findings import Finding, error, note, warning
from .formatting import format_count
from .settings import DoctorSettings

__all__ = ["between_slides", "cohort_of", "sides_of", "with_unlike_mpp"]

SIDES = ("train", "validation", "test", "")
TRAINING_SIDES = SIDES[:2]
UNLIKE_MPP = 0.2  # share by which µm/px may be off what most slides have


def cohort_of(path: Path) -> tuple[Cohort, list[Finding]]:
    """The cohort of a CSV, or one proposed from a folder, and what would make `Cohort.load` refuse
    it.

    A slide listed twice is kept once.

    Raises:
        SettingsError: not such a table, or no slide in the folder.
    """
    if path.is_dir():
        cohort = propose_cohort(path)
        says = f"the cohort was proposed from the folder {path}: labels and splits come from names"
        advice = f"write it with gigaslide cohort {path} > cohort.csv, read it, and check that"
        return cohort, [note("cohort", says, advice)]
    found = []
    rows: dict[str, CohortSlide] = {}
    for row in Cohort.read_rows(path):
        if str(row.path) in rows:
            found.append(
                error("duplicate", f"{row.path} is listed twice", "keep one row for each slide")
            )
        rows.setdefault(str(row.path), row)
    # Without their sides, so that a patient on two of them does not stop us here.
    safe = Cohort.of_rows([replace(row, split="") for row in rows.values()], base=path.parent)
    slides = tuple(
        replace(slide, split=row.split) for slide, row in zip(safe, rows.values(), strict=True)
    )
    renamed = tuple(
        slide.id
        for slide, row in zip(slides, rows.values(), strict=True)
        if _is_numbered(slide.id, row)
    )
    if renamed:
        found.append(
            note(
                "names",
                "slides of one name in several folders: their ids have a suffix",
                slides=renamed,
            )
        )
    return Cohort(slides=slides), found


def _is_numbered(slide_id: str, row: CohortSlide) -> bool:
    return len(slide_id) > len(row.id) and slide_id[-9] == "-"


def sides_of(slides: Sequence[SlideCheckup]) -> tuple[SideFacts, ...]:
    """Every side that has slides, counted."""
    return tuple(
        SideFacts(
            split=side,
            slides=len(there),
            tumor=sum(slide.label == "tumor" for slide in there),
            normal=sum(slide.label == "normal" for slide in there),
            patients=len({slide.patient for slide in there} - {""}),
            tumor_patches=sum(
                slide.tile.tumor_patches for slide in there if slide.tile is not None
            ),
            normal_patches=sum(
                slide.tile.normal_patches for slide in there if slide.tile is not None
            ),
        )
        for side in SIDES
        if (there := [slide for slide in slides if slide.split == side])
    )


def with_unlike_mpp(slides: Sequence[SlideCheckup]) -> tuple[SlideCheckup, ...]:
    """The same slides, with a warning on one, or up to a tenth of them, whose µm/px is unlike that
    of the others."""
    known = [slide.pixels.mpp for slide in slides if slide.pixels is not None]
    middle = median(known or [1.0])
    unlike = {mpp for mpp in known if abs(mpp / middle - 1) > UNLIKE_MPP}
    # More than a few are another scanner's, which is nobody's mistake; of two slides either may be
    # the odd one.
    if len(known) < 3 or sum(mpp in unlike for mpp in known) > max(1, floor_div(len(known), 10)):
        return tuple(slides)
    checked = []
    for slide in slides:
        told = any(
            found.check == "µm/px" and found.severity == "warning" for found in slide.findings
        )
        if slide.pixels is not None and slide.pixels.mpp in unlike and not told:
            says = f"{slide.pixels.mpp:g} µm/px, while most slides have about {middle:g}"
            advice = "look whether it is right; if not, give the right one in the mpp column"
            slide = replace(slide, findings=(*slide.findings, warning("µm/px", says, advice)))
        checked.append(slide)
    return tuple(checked)


def between_slides(
    cohort: Cohort, slides: Sequence[SlideCheckup], settings: DoctorSettings
) -> Iterator[Finding]:
    """Findings on files, patients, sides and classes."""
    yield from _same_files(slides)
    yield from _patients(cohort)
    yield from _training(cohort, slides, settings)
    yield from _testing(cohort, settings)


def _same_files(slides: Sequence[SlideCheckup]) -> Iterator[Finding]:
    for same in _groups((slide.fingerprint, slide) for slide in slides):
        ids = tuple(slide.id for slide in same)
        linked = len({os.path.realpath(slide.path) for slide in same}) == 1
        how = "links to one file" if linked else "files with the same content"
        sides = {slide.split for slide in same}
        across = (
            f", on the sides {' and '.join(sorted(sides - {''}))} of the split"
            if len(sides - {""}) > 1
            else ""
        )
        yield error("duplicate", f"{how}{across}", "keep one row for each slide", slides=ids)


def _patients(cohort: Cohort) -> Iterator[Finding]:
    for same in _groups((slide.patient, slide) for slide in cohort):
        sides = sorted({slide.split for slide in same} - {""})
        if len(sides) > 1:
            ids = tuple(slide.id for slide in same if slide.split)
            says = f"patient {same[0].patient} is in {' and '.join(sides)}"
            yield error(
                "leak",
                says,
                "put all slides of a patient on one side, or figures will be too good",
                slides=ids,
            )
    nameless = tuple(slide.id for slide in cohort if slide.split and not slide.patient)
    if nameless:
        says = (
            f"{len(nameless)} of {len(cohort)} slides have a side but no patient: a leak would not "
            "be seen"
        )
        yield warning("leak", says, "fill in the patient column", slides=nameless)


def _groups(pairs: Iterable[tuple[str, object]]) -> Iterator[list]:
    """Members of each group that has more than one; the empty key is no group."""
    groups: dict[str, list] = {}
    for key, member in pairs:
        groups.setdefault(key, []).append(member)
    return (members for key, members in groups.items() if key and len(members) > 1)


def _training(
    cohort: Cohort, slides: Sequence[SlideCheckup], settings: DoctorSettings
) -> Iterator[Finding]:
    wanted = settings.tile.splits
    if not any(slide.label and slide.split in wanted for slide in cohort):
        says = (
            f"no slide has a label and a side among {', '.join(wanted)}: nothing to tile or to "
            "train on"
        )
        yield note("classes", says, "fill in the columns label and split, unless you only predict")
        return
    sides = {side.split: side for side in sides_of(slides) if side.split in TRAINING_SIDES}
    missing = [side for side in TRAINING_SIDES if side not in sides]
    if missing:
        says = (
            f"no slide in {' and none in '.join(missing)}: training needs slides in train and in "
            "validation"
        )
        yield error("classes", says, "fill in the split column, unless you only predict")
    for kind, count in (("tumour", "tumor_patches"), ("normal", "normal_patches")):
        bare = [side for side in sides if not getattr(sides[side], count)]
        if bare:
            says = (
                f"no {kind} patch in {' and none in '.join(bare)}: training needs both classes on "
                "both sides"
            )
            might = [
                slide for slide in slides if slide.split in bare and slide.label in ("tumor", kind)
            ]
            broken = any(slide.worst == "error" for slide in might)
            advice = (
                "mend the slides with errors there"
                if broken
                else "look at labels, splits and annotations"
            )
            yield error("classes", says, advice)
    sideless = tuple(slide.id for slide in cohort if not slide.split)
    if sideless:
        says = (
            f"{format_count(len(sideless), 'slide')} on no side of the split: no stage of a run "
            "uses what has none"
        )
        yield warning("split", says, "fill in the split column, or leave them out", slides=sideless)


def _testing(cohort: Cohort, settings: DoctorSettings) -> Iterator[Finding]:
    if not cohort.has_splits:
        return
    test = [slide for slide in cohort if slide.split in settings.predict.splits]
    sides = " and ".join(settings.predict.splits)
    if not test:
        yield warning(
            "classes", f"no slide in {sides}: nothing to predict", "put some patients in test"
        )
        return
    missing = [
        word
        for label, word in (("tumor", "tumour"), ("normal", "normal"))
        if label not in {s.label for s in test}
    ]
    if missing:
        says = (
            f"no slide labelled {' or '.join(missing)} in {sides}: figures that need both classes "
            "are not defined"
        )
        yield warning("classes", says, "add some, or expect no slide AUC")
