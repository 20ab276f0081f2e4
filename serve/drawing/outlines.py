"""Routes of outlines: versions to read, save and restore, and drafts."""

import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import shapely
from anyio import to_thread
from shapely.geometry import box
from starlette.requests import Request
from starlette.responses import Response

from ...annotate import (
    DrawnOutline,
    JournalEvent,
    SaveFacts,
    SlideChangedError,
    SlideVersions,
    VersionConflictError,
    VersionInfo,
    feature_lines,
    parse_features,
    read_cohort_outlines,
)
from ...cohort import CohortSlide
from ...storage import AnnotationError, GigaslideError, StoreError, is_disk_full
from ..answers import (
    Problem,
    answer_bytes,
    answer_json,
    paused_garbage_collection,
    read_body,
    read_model,
    read_query,
)
from ..operation import Operation
from ..workspace import Workspace, whole_number
from .blind import draws_blind, newest_shown, shown_versions
from .schema import (
    RestoreRequest,
    Saved,
    SaveRequest,
    VersionList,
    VersionQuery,
    VersionRow,
)

__all__ = ["OUTLINE_OPERATIONS", "refusals"]

logger = logging.getLogger(__name__)

GEOJSON = "application/geo+json"
MADE_BY = "view"
LARGEST_RESTORE = 2**16  # bytes


async def show_outlines(workspace: Workspace, request: Request) -> Response:
    slide = workspace.slide(request)
    asked = read_query(VersionQuery, request)
    content, number = await to_thread.run_sync(_outlines, workspace, slide, asked)
    headers = {"ETag": f'"{number}"'}
    if request.url.path.endswith(".geojson"):
        headers["Content-Disposition"] = f'attachment; filename="{_file_name(slide, number)}"'
    return answer_bytes(request, content, GEOJSON, headers=headers)


def _file_name(slide: CohortSlide, number: int) -> str:
    name = "".join(x if x.isascii() and (x.isalnum() or x in "-_.") else "_" for x in slide.id)
    return f"{name}-{number:04d}.geojson"


def _outlines(workspace: Workspace, slide: CohortSlide, asked: VersionQuery) -> tuple[bytes, int]:
    """GeoJSON of a version, and its number; of the cohort's annotation where there is none."""
    versions = workspace.versions(slide)
    number = asked.version
    if number is None:
        newest = newest_shown(workspace, slide)
        number = newest.number if newest else 0
    if number == 0:
        outlines = [] if draws_blind(workspace, slide) else _of_cohort(workspace, slide)
        about: dict[str, Any] = {"version": 0, "slide": slide.id}
        return _collection(outlines, about, asked.bbox), 0
    if versions is None or number not in _numbers(workspace, slide):
        raise Problem(404, f"{slide.id} has no version {number}")
    if not asked.bbox:
        return versions.path(number).read_bytes(), number
    version = versions.load(number)
    return _collection(version.outlines, version.info.to_json(), asked.bbox), number


def _numbers(workspace: Workspace, slide: CohortSlide) -> list[int]:
    return [one.number for one in shown_versions(workspace, slide)]


def _of_cohort(workspace: Workspace, slide: CohortSlide) -> list[DrawnOutline]:
    """Read the outlines of the cohort's own annotation of a slide."""
    if slide.annotation is None:
        return []
    with workspace.borrow(slide) as held:
        try:
            return read_cohort_outlines(slide, held.slide)
        except AnnotationError as error:
            words = str(error).replace(str(slide.annotation), slide.annotation.name)
            raise Problem(422, words) from error


def _collection(outlines, about: Mapping[str, Any], bbox: str) -> bytes:
    if bbox:
        edges = bbox.split(",")
        try:
            left, top, right, bottom = map(float, edges)
            area = box(left, top, right, bottom)
        except ValueError as error:
            raise Problem(422, "bbox: give left,top,right,bottom in level-0 px") from error
        outlines = [one for one in outlines if shapely.envelope(one.shape).intersects(area)]
    lines = ",\n".join(feature_lines(outlines))
    head = f'{{"type": "FeatureCollection", "gigaslide": {json.dumps(about)}, "features": [\n'
    return f"{head}{lines}\n]}}\n".encode()


async def save_outlines(workspace: Workspace, request: Request) -> Response:
    slide = workspace.slide(request)
    versions, parent = workspace.versions_to_change(slide), _parent(request)
    with workspace.saves.place():
        body = await read_body(request)
        saved = await workspace.saves.finish(_save, workspace, slide, versions, parent, body)
    return _answer_saved(request, saved)


def _answer_saved(request: Request, saved: Saved) -> Response:
    return answer_json(request, saved, status=201, headers={"ETag": f'"{saved.version}"'})


def _parent(request: Request) -> int:
    """Number of the version that a request builds on."""
    stated = request.headers.get("if-match")
    if stated is None:
        raise Problem(428, 'state the version that these outlines were made from: If-Match: "N"')
    text = stated.strip().removeprefix("W/").strip('"')
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise Problem(422, 'If-Match: give the number of a version in quotes, such as "3"')
    return int(text)


@paused_garbage_collection()
def _save(
    workspace: Workspace, slide: CohortSlide, versions: SlideVersions, parent: int, body: bytes
) -> Saved:
    asked = read_model(SaveRequest, body)
    facts = SaveFacts(
        annotator=workspace.annotator or asked.annotator,
        accepted=asked.accepted,
        blind=asked.blind or draws_blind(workspace, slide),
        mode=asked.mode or workspace.deal.mode_of(slide.id),
        made_by=MADE_BY,
    )
    with refusals(slide, versions):
        outlines, notes = parse_features(asked.outlines, slide.id)
        asked.outlines.clear()
        with workspace.borrow(slide) as held:
            identity = held.identity
        info = versions.save(
            outlines,
            facts,
            parent=parent,
            identity=identity,
            slide_changed=asked.slide_changed,
        )
    _tell_journal(workspace, info, tab=asked.tab)
    if asked.tab:
        with suppress(GigaslideError, OSError):
            versions.drafts.remove(asked.tab)
    return _saved(info, notes)


def _saved(info: VersionInfo, notes: list[str]) -> Saved:
    return Saved(version=info.number, parent=info.parent, outlines=info.outlines, notes=notes)


def _tell_journal(workspace: Workspace, info: VersionInfo, tab: str = "") -> None:
    """Write the save into the journal; a journal that cannot be written harms no save."""
    assert workspace.annotations is not None
    facts = info.facts
    event = JournalEvent.now(
        info.slide,
        "save",
        annotator=facts.annotator,
        tab=tab,
        mode=facts.mode,
        version=info.number,
    )
    try:
        workspace.annotations.journal.append(event)
    except GigaslideError as error:
        logger.warning("%s", error)


@dataclass(frozen=True)
class refusals:  # noqa: N801 - used as a statement
    """Context that turns the reasons why nothing was saved into answers."""

    slide: CohortSlide
    versions: SlideVersions

    def __enter__(self) -> None: ...

    def __exit__(self, _kind, error: BaseException | None, _traceback) -> None:
        if not isinstance(error, GigaslideError):
            return
        words = str(error).replace(str(self.versions.folder), self.slide.id)
        if isinstance(error, VersionConflictError):
            raise Problem(409, words, newest=error.newest) from error
        if isinstance(error, SlideChangedError):
            raise Problem(410, words) from error
        if isinstance(error, AnnotationError):
            raise Problem(422, words) from error
        if isinstance(error, StoreError):
            cause = error.__cause__
            is_full = isinstance(cause, OSError) and is_disk_full(cause)
            raise Problem(507 if is_full else 500, words) from error


async def list_versions(workspace: Workspace, request: Request) -> Response:
    slide = workspace.slide(request)
    return answer_json(request, await to_thread.run_sync(_list_versions, workspace, slide))


def _list_versions(workspace: Workspace, slide: CohortSlide) -> VersionList:
    history, newest = shown_versions(workspace, slide), newest_shown(workspace, slide)
    return VersionList(
        newest=newest.number if newest else 0,
        versions=[
            VersionRow(
                version=one.number,
                parent=one.parent,
                made=one.made,
                annotator=one.facts.annotator,
                accepted=one.facts.accepted,
                blind=one.facts.blind,
                mode=one.facts.mode,
                made_by=one.facts.made_by,
                outlines=one.outlines,
                restored_from=one.facts.restored_from,
            )
            for one in history
        ],
    )


async def restore_version(workspace: Workspace, request: Request) -> Response:
    slide, number = workspace.slide(request), whole_number(request, "n")
    versions, parent = workspace.versions_to_change(slide), _parent(request)
    asked = read_model(RestoreRequest, await read_body(request, LARGEST_RESTORE) or b"{}")
    with workspace.saves.place():
        saved = await workspace.saves.finish(
            _restore, workspace, slide, versions, (number, parent), asked
        )
    return _answer_saved(request, saved)


def _restore(
    workspace: Workspace,
    slide: CohortSlide,
    versions: SlideVersions,
    numbers: tuple[int, int],
    asked: RestoreRequest,
) -> Saved:
    number, parent = numbers
    if number not in _numbers(workspace, slide):
        raise Problem(404, f"{slide.id} has no version {number}")
    with refusals(slide, versions):
        info = versions.restore(
            number,
            parent=parent,
            annotator=workspace.annotator or asked.annotator,
            accepted=asked.accepted,
        )
    _tell_journal(workspace, info)
    return _saved(info, [])


OUTLINE_OPERATIONS = (
    Operation(
        method="GET",
        path="/api/slides/{id}/outlines",
        handler=show_outlines,
        summary="Outlines of a version; without any version, those of the cohort's annotation.",
        answer=GEOJSON,
        query=VersionQuery,
        problems=(404, 422, 503),
    ),
    Operation(
        method="GET",
        path="/api/slides/{id}/outlines.geojson",
        handler=show_outlines,
        summary="The same, as a file to keep.",
        answer=GEOJSON,
        query=VersionQuery,
        problems=(404, 422, 503),
    ),
    Operation(
        method="POST",
        path="/api/slides/{id}/outlines",
        handler=save_outlines,
        summary="Save all outlines as the next version.",
        body=SaveRequest,
        answer=Saved,
        status=201,
        problems=(404, 409, 410, 413, 422, 428, 503, 507),
        if_match=True,
    ),
    Operation(
        method="GET",
        path="/api/slides/{id}/versions",
        handler=list_versions,
        summary="List the versions of a slide.",
        answer=VersionList,
        problems=(404, 422),
    ),
    Operation(
        method="POST",
        path="/api/slides/{id}/versions/{n}/restore",
        handler=restore_version,
        summary="Write an earlier version again as the newest one.",
        body=RestoreRequest,
        answer=Saved,
        status=201,
        problems=(404, 409, 413, 422, 428, 503, 507),
        if_match=True,
    ),
)
