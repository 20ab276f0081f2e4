"""Routes of drafts: what a page saves by itself, for each tab of a browser."""

import json
from contextlib import suppress

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response

from ...cohort import CohortSlide
from ...storage import SettingsError
from ..answers import Problem, answer_bytes, answer_json, read_body
from ..operation import Operation
from ..workspace import Workspace
from .hidden import refuse_foreign_draft
from .outlines import GEOJSON
from .saves import refusals
from .schema import Draft, DraftList

__all__ = ["DRAFT_OPERATIONS"]


async def list_drafts(workspace: Workspace, request: Request) -> Response:
    slide = workspace.slide(request)
    return answer_json(request, await to_thread.run_sync(_list, workspace, slide))


def _list(workspace: Workspace, slide: CohortSlide) -> DraftList:
    versions, drafts = workspace.versions(slide), []
    for tab, time in ({} if versions is None else versions.drafts.times()).items():
        with suppress(Problem):
            refuse_foreign_draft(workspace, slide, tab)
            drafts.append(Draft(tab=tab, saved=time))
    return DraftList(drafts=drafts)


async def show_draft(workspace: Workspace, request: Request) -> Response:
    slide, tab = workspace.slide(request), request.path_params["tab"]
    content = await to_thread.run_sync(_load, workspace, slide, tab)
    return answer_bytes(request, content, GEOJSON)


def _load(workspace: Workspace, slide: CohortSlide, tab: str) -> bytes:
    versions = workspace.versions(slide)
    if versions is None:
        raise Problem(404, "no such draft")
    try:
        refuse_foreign_draft(workspace, slide, tab)
        found = versions.drafts.load(tab)
    except SettingsError:
        found = None
    if found is None:
        raise Problem(404, "no such draft")
    return json.dumps(found).encode()


async def save_draft(workspace: Workspace, request: Request) -> Response:
    slide = workspace.slide(request)
    versions = workspace.versions_to_change(slide)
    tab = request.path_params["tab"]

    def save(body: bytes) -> None:
        try:
            plain = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise Problem(422, "the draft is no JSON that can be read") from error
        if not isinstance(plain, dict):
            raise Problem(422, "a draft is a JSON object")
        with refusals(slide, versions):
            versions.drafts.save(tab, plain)

    with workspace.saves.place():
        body = await read_body(request)
        await workspace.saves.finish(_refuse_bad_name, lambda: save(body))
    return Response(status_code=204)


async def remove_draft(workspace: Workspace, request: Request) -> Response:
    versions = workspace.versions_to_change(workspace.slide(request))
    tab = request.path_params["tab"]
    await to_thread.run_sync(_refuse_bad_name, lambda: versions.drafts.remove(tab))
    return Response(status_code=204)


def _refuse_bad_name(change) -> None:
    try:
        change()
    except SettingsError as error:
        raise Problem(404, str(error)) from error


PATH = "/api/slides/{id}/drafts/{tab}"
DRAFT_OPERATIONS = (
    Operation(
        method="GET",
        path="/api/slides/{id}/drafts",
        handler=list_drafts,
        summary="List the drafts of a slide.",
        answer=DraftList,
        problems=(404, 422),
    ),
    Operation(
        method="GET",
        path=PATH,
        handler=show_draft,
        summary="A draft.",
        answer=GEOJSON,
        problems=(404, 422),
    ),
    Operation(
        method="PUT",
        path=PATH,
        handler=save_draft,
        summary="Keep what a tab shows; no version.",
        body=None,
        answer="",
        status=204,
        problems=(404, 413, 422, 503, 507),
    ),
    Operation(
        method="DELETE",
        path=PATH,
        handler=remove_draft,
        summary="Remove a draft.",
        answer="",
        status=204,
        problems=(404, 422),
    ),
)
