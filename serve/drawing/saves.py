"""Routes that write versions of outlines: save and restore."""

import logging
from contextlib import suppress
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from ...annotate import (
    JournalEvent,
    SaveFacts,
    SlideChangedError,
    SlideVersions,
    VersionConflictError,
    VersionInfo,
    parse_features,
)
from ...cohort import CohortSlide
from ...storage import AnnotationError, GigaslideError, StoreError, is_disk_full
from ..answers import Problem, answer_json, paused_garbage_collection, read_body, read_model
from ..operation import Operation
from ..workspace import Workspace, whole_number
from .hidden import draws_blind, shown_versions
from .schema import RestoreRequest, Saved, SaveRequest

__all__ = ["SAVE_OPERATIONS", "refusals"]

logger = logging.getLogger(__name__)

MADE_BY = "view"
LARGEST_RESTORE = 2**16  # bytes


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
    if number not in [one.number for one in shown_versions(workspace, slide)]:
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


SAVE_OPERATIONS = (
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
