"""Routes beside drawing: edits of outlines, regions to look at next, events of annotators."""

import json
import time
from collections.abc import Sequence

import numpy as np
from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response

from ...annotate import (
    DrawnOutline,
    JournalEvent,
    OrderSettings,
    brush_area,
    edit_outline,
    feature_lines,
    new_id,
    next_regions,
    parse_features,
    polygon_area,
    simplify_outline,
    union_outlines,
)
from ...cohort import Cohort
from ...storage import AnnotationError, GigaslideError, ScoreError
from ...wsi import Areas
from ..answers import Problem, answer_bytes, answer_json, read_body, read_model, read_query
from ..operation import Operation
from ..workspace import Workspace
from .hidden import hides_model
from .schema import (
    Edited,
    EditRequest,
    EventList,
    NextList,
    NextQuery,
    NextRow,
    Stroke,
)

__all__ = ["REVIEW_OPERATIONS"]

LARGEST_EVENTS = 2**18  # bytes


async def edit(workspace: Workspace, request: Request) -> Response:
    body = await read_body(request)
    content = await workspace.edits.run(request, _edit, body)
    return answer_bytes(request, content, "application/json")


def _edit(body: bytes) -> bytes:
    """Edit outlines as a request asks; return the answer's JSON."""
    asked = read_model(EditRequest, body)
    try:
        known, notes = parse_features(
            list(asked.outlines) if asked.operation == "merge" else _one(asked), "the request"
        )
        edited = _apply(asked, known)
    except AnnotationError as error:
        raise Problem(422, str(error)) from error
    lines = ",".join(feature_lines(edited))
    return f'{{"outlines":[{lines}],"notes":{json.dumps(notes)}}}'.encode()


def _one(asked: EditRequest) -> list:
    return [] if asked.outline is None else [asked.outline]


def _apply(asked: EditRequest, known: Sequence[DrawnOutline]) -> list[DrawnOutline]:
    if asked.operation == "merge":
        return union_outlines(known)
    stroke = None if asked.stroke is None else _stroke(asked.stroke)
    if not known:
        if asked.outline is not None:  # it encloses no area
            return []
        if asked.operation != "add" or stroke is None or isinstance(stroke, np.ndarray):
            raise AnnotationError(f"{asked.operation}: no outline is given; select one")
        if stroke.is_empty:
            return []
        return [DrawnOutline(id=new_id(), shape=stroke, group=asked.group)]
    outline = known[0]
    if asked.operation == "simplify":
        tolerance, hole = asked.tolerance_px, asked.min_hole_px2
        return [simplify_outline(outline, tolerance=tolerance, min_hole=hole)]
    if stroke is None:
        raise AnnotationError(f"{asked.operation}: no stroke is given; draw one")
    return edit_outline(outline, stroke, asked.operation)


def _stroke(stroke: Stroke) -> Areas | np.ndarray:
    points = np.array(stroke.points, np.float64).reshape(-1, 2)
    if stroke.kind == "line":
        return points
    if stroke.kind == "brush":
        return brush_area(points, stroke.radius)
    return polygon_area(points)


async def list_next(workspace: Workspace, request: Request) -> Response:
    asked = read_query(NextQuery, request)
    return answer_json(request, await workspace.orders.run(request, _next, workspace, asked))


def _next(workspace: Workspace, asked: NextQuery) -> NextList:
    if workspace.predictions is None:
        raise Problem(422, "the server was started without --predictions")
    folder = workspace.annotations
    settings = OrderSettings(order=asked.order, count=asked.count)
    shown = [slide for slide in workspace.cohort if not hides_model(workspace, slide)]
    if not shown:
        return NextList(regions=[])
    try:
        regions = next_regions(
            Cohort(slides=tuple(shown)),
            folder.path if folder else None,
            workspace.predictions,
            settings,
        )
    except ScoreError as error:
        raise Problem(422, str(error)) from error
    return NextList(
        regions=[
            NextRow(
                slide=one.slide,
                x=one.x,
                y=one.y,
                width=one.width,
                height=one.height,
                order=one.order,
                value_mm2=one.value,
                reason=one.reason,
            )
            for one in regions
        ]
    )


async def add_events(workspace: Workspace, request: Request) -> Response:
    if workspace.annotations is None or not workspace.can_save:
        raise Problem(403, "the server writes no journal; start it with --annotations")
    journal = workspace.annotations.journal
    asked = read_model(EventList, await read_body(request, LARGEST_EVENTS))
    unknown = next((one.slide for one in asked.events if one.slide not in workspace.slides), None)
    if unknown is not None:
        raise Problem(422, "an event names a slide that the cohort does not have")
    events = [
        JournalEvent(
            time=time.time() if one.time is None else one.time,
            slide=one.slide,
            kind=one.kind,
            annotator=workspace.annotator or asked.annotator,
            tab=one.tab,
            mode=one.mode or workspace.deal.mode_of(one.slide),
        )
        for one in asked.events
    ]

    def append() -> None:
        for event in events:
            journal.append(event)

    try:
        await to_thread.run_sync(append)
    except GigaslideError as error:
        raise Problem(507, "the journal cannot be written") from error
    return Response(status_code=204)


REVIEW_OPERATIONS = (
    Operation(
        method="POST",
        path="/api/edit",
        handler=edit,
        summary="Edit outlines; nothing is kept.",
        body=EditRequest,
        answer=Edited,
        problems=(413, 422, 503),
    ),
    Operation(
        method="GET",
        path="/api/next",
        handler=list_next,
        summary="Regions to look at next, each with its reason.",
        query=NextQuery,
        answer=NextList,
        problems=(422, 503),
    ),
    Operation(
        method="POST",
        path="/api/events",
        handler=add_events,
        summary="Tell the journal what an annotator did.",
        body=EventList,
        answer="",
        status=204,
        problems=(413, 422, 507),
    ),
)
