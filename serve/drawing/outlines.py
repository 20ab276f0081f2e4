"""Routes of outlines to read: versions, and their list."""

import json
from collections.abc import Mapping
from typing import Any

import shapely
from anyio import to_thread
from shapely.geometry import box
from starlette.requests import Request
from starlette.responses import Response

from ...annotate import DrawnOutline, feature_lines, read_cohort_outlines
from ...cohort import CohortSlide
from ...storage import AnnotationError
from ..answers import Problem, answer_bytes, answer_json, read_query
from ..operation import Operation
from ..workspace import Workspace
from .hidden import hides_model, newest_shown, shown_versions
from .schema import VersionList, VersionQuery, VersionRow

__all__ = ["GEOJSON", "OUTLINE_OPERATIONS"]

GEOJSON = "application/geo+json"


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
    """GeoJSON of a version, and its number; 0 where there is none."""
    versions, number = workspace.versions(slide), asked.version
    if number is None:
        newest = newest_shown(workspace, slide)
        number = newest.number if newest else 0
        if newest and newest.facts.is_proposal and hides_model(workspace, slide):
            return _without_version(workspace, slide, asked, number), number
    if number == 0:
        return _without_version(workspace, slide, asked, 0), 0
    shown = [one.number for one in shown_versions(workspace, slide)]
    if versions is None or number not in shown:
        raise Problem(404, f"{slide.id} has no version {number}")
    if not asked.bbox:
        return versions.path(number).read_bytes(), number
    version = versions.load(number)
    return _collection(version.outlines, version.info.to_json(), asked.bbox), number


def _without_version(
    workspace: Workspace, slide: CohortSlide, asked: VersionQuery, number: int
) -> bytes:
    """GeoJSON to go on with where there is no version, or, of this number, a hidden one: the
    cohort's own annotation, or nothing."""
    outlines = [] if hides_model(workspace, slide) else _of_cohort(workspace, slide)
    return _collection(outlines, {"version": number, "slide": slide.id}, asked.bbox)


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
        method="GET",
        path="/api/slides/{id}/versions",
        handler=list_versions,
        summary="List the versions of a slide.",
        answer=VersionList,
        problems=(404, 422),
    ),
)
