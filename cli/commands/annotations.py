"""`gigaslide annotations`: list, save, accept, restore and export versions of outlines."""

import getpass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from ...annotate import (
    AnnotationFolder,
    AnnotationFormat,
    SaveFacts,
    SlideIdentity,
    SlideVersions,
    export_versions,
    read_outlines,
)
from ...cohort import Cohort, CohortSlide
from ...storage import SettingsError, format_count
from ...wsi import open_slide
from ..options.arguments import AnnotationsFolder, CohortFile
from ..terminal.progress import print_line
from ..terminal.tables import print_rows

__all__ = ["annotations"]

SlideId = Annotated[str, Parameter(help="Id of the slide: its file name without the suffix.")]
Annotator = Annotated[
    str | None, Parameter(group="Version", help="Who answers for it. Default: the user's name.")
]


def list_versions(directory: AnnotationsFolder, slide: SlideId = "") -> int:
    """List the newest version of each slide, or every version of one slide."""
    folder = AnnotationFolder.open(directory)
    header = ("slide", "version", "accepted", "outlines", "origins", "annotator", "made")
    rows = []
    if slide:
        _known_versions(directory, slide)
    for name in [slide] if slide else folder.slides():
        versions = folder.versions(name)
        history = versions.history()
        for info in history if slide else [versions.newest() or history[-1]]:
            origins = versions.origins(info.number)
            counts = ", ".join(f"{count} {origin}" for origin, count in sorted(origins.items()))
            accepted = "blind" if info.facts.blind else "yes" if info.facts.accepted else "no"
            who = info.facts.annotator or info.facts.made_by
            numbers = (str(info.number), accepted, str(info.outlines))
            rows.append((name, *numbers, counts, who, info.made[:19].replace("T", " ")))
    print_rows(header, rows, right=("version", "outlines"))
    return 0


def save_file(
    cohort: CohortFile,
    directory: AnnotationsFolder,
    slide: SlideId,
    file: Annotated[Path, Parameter(help="Outlines: GeoJSON of QuPath, XML of ASAP and others.")],
    *,
    annotator: Annotator = None,
    accepted: Annotated[
        bool,
        Parameter(group="Version", help="Let training and evaluation use it."),
    ] = True,
    parent: Annotated[
        int | None,
        Parameter(
            group="Version",
            help="Number of the version that the outlines were made from. The save is refused if "
            "a newer one is there. Required where the slide has a version.",
        ),
    ] = None,
    origin: Annotated[
        Literal["slide", "bounds"],
        Parameter(
            group="Version",
            help="Corner that px of GeoJSON are counted from: the slide's, or that of its scanned "
            "part (bounds), as in QuPath.",
        ),
    ] = "slide",
    slide_changed: Annotated[
        bool,
        Parameter(
            group="Version",
            negative="",
            help="Confirm that the outlines fit, although the slide's file, size or µm/px changed "
            "since the last version.",
        ),
    ] = False,
) -> int:
    """Save outlines drawn elsewhere, such as in QuPath, as the next version of a slide."""
    row = _row(Cohort.load(cohort), slide)
    if not file.is_file():
        raise SettingsError(f"{file}: no such file; give outlines, such as GeoJSON of QuPath")
    outlines, notes = read_outlines(file, row, _corner(row) if origin == "bounds" else (0, 0))
    for note in notes:
        print_line(f"{file}: {note}")
    versions = AnnotationFolder.create(directory).versions(slide)
    saved = versions.save(
        outlines,
        SaveFacts(annotator=_name(annotator), accepted=accepted, made_by="save"),
        parent=_parent_of_save(slide, parent, _newest(versions)),
        identity=SlideIdentity.of_slide(row),
        slide_changed=slide_changed,
    )
    print_line(f"{versions.path(saved.number)}: {format_count(len(outlines), 'outline')}")
    return 0


def _parent_of_save(slide: str, parent: int | None, newest: int) -> int:
    """Return the version that outlines were made from; 0: none.

    Raises:
        SettingsError: the slide has a version, and nothing says which one they were made from.
    """
    if parent is None and newest:
        raise SettingsError(
            f"{slide}: has version {newest}; give --parent, the number of the version that the "
            "outlines were made from, or --parent "
            f"{newest} to put them on top of the newest"
        )
    return parent or 0


def accept(
    directory: AnnotationsFolder,
    slide: SlideId,
    version: Annotated[
        int | None, Parameter(help="Number of the version. Default: the newest that is not blind.")
    ] = None,
    *,
    annotator: Annotator = None,
) -> int:
    """Accept a version: it becomes the next one, which training and evaluation may use."""
    versions = _known_versions(directory, slide)
    newest = _newest(versions)
    number = newest if version is None else version
    saved = versions.restore(number, parent=newest, annotator=_name(annotator), accepted=True)
    print_line(f"{versions.path(saved.number)}: accepted, as in version {number}")
    return 0


def restore(
    directory: AnnotationsFolder,
    slide: SlideId,
    version: Annotated[int, Parameter(help="Number of the version.")],
    *,
    annotator: Annotator = None,
) -> int:
    """Write an earlier version again as the next one; nothing is removed."""
    versions = _known_versions(directory, slide)
    newest = _newest(versions)
    saved = versions.restore(version, parent=newest, annotator=_name(annotator))
    print_line(f"{versions.path(saved.number)}: as in version {version}")
    return 0


def export(
    directory: AnnotationsFolder,
    out: Annotated[Path, Parameter(help="Folder for a file of each slide.")],
    *,
    to: Annotated[AnnotationFormat, Parameter(group="Export", help="Format.")] = "geojson",
    newest: Annotated[
        bool,
        Parameter(
            group="Export",
            negative="",
            help="Export the newest version of each slide, accepted or not.",
        ),
    ] = False,
) -> int:
    """Export the newest accepted version of each slide for QuPath, ASAP or ImageScope."""
    folder = AnnotationFolder.open(directory)
    written = export_versions(folder, out, to, accepted=not newest)
    print_line(f"{format_count(len(written), 'file')} in {out}")
    return 0


def _known_versions(directory: Path, slide: str) -> SlideVersions:
    """Return the versions of a slide, which has one at least."""
    versions = AnnotationFolder.open(directory).versions(slide)
    if not versions.numbers():
        raise SettingsError(
            f"{slide}: has no version in {directory}; gigaslide annotations list {directory} names "
            "the slides that have one"
        )
    return versions


def _newest(versions: SlideVersions) -> int:
    """Number of the newest version that is not blind; 0 if there is none."""
    info = versions.newest()
    return info.number if info else 0


def _row(cohort: Cohort, slide: str) -> CohortSlide:
    for row in cohort:
        if row.id == slide:
            return row
    some = ", ".join(row.id for row in list(cohort)[:5])
    raise SettingsError(f"{slide}: no slide of the cohort has this id; there are: {some} …")


def _corner(row: CohortSlide) -> tuple[int, int]:
    with open_slide(row.path, mpp=row.mpp, fallback_mpp=1.0) as opened:
        bounds = opened.info.bounds
    return (bounds.x, bounds.y) if bounds else (0, 0)


def _name(annotator: str | None) -> str:
    if annotator is not None:
        return annotator
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""


annotations = {
    "list": list_versions,
    "save": save_file,
    "accept": accept,
    "restore": restore,
    "export": export,
}
