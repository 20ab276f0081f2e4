"""Routes of the results of jobs."""

from starlette.requests import Request
from starlette.responses import Response

from ...storage import GigaslideError
from ..answers import Problem, answer_bytes
from ..operation import Operation
from ..workspace import Workspace
from .results import RESULTS

__all__ = ["RESULT_OPERATIONS"]


async def show_job_heatmap(workspace: Workspace, request: Request) -> Response:
    return await _result(workspace, request, "heatmap.zip")


async def show_job_picture(workspace: Workspace, request: Request) -> Response:
    return await _result(workspace, request, "heatmap.png")


async def show_job_detections(workspace: Workspace, request: Request) -> Response:
    return await _result(workspace, request, "detections.csv")


async def show_job_outlines(workspace: Workspace, request: Request) -> Response:
    return await _result(workspace, request, "outlines.geojson")


async def show_job_points(workspace: Workspace, request: Request) -> Response:
    return await _result(workspace, request, "detections.geojson")


async def _result(workspace: Workspace, request: Request, kind: str) -> Response:
    desk, name = workspace.desk_in_use(), request.path_params["id"]
    found = desk.jobs.read(name, lambda job: (job.state, job.recipe.slide))
    if found is None:
        raise Problem(404, "there is no such job")
    state, slide = found
    if state != "done":
        raise Problem(409, f"the job has no results: it is {state}", state=state)
    folder, result = desk.jobs.folder(name) / slide, RESULTS[kind]
    try:
        content = await desk.results.run(request, result.read, folder)
    except (FileNotFoundError, GigaslideError) as error:
        raise Problem(404, "the results were removed; send the job again") from error
    if result.media_type.startswith(("text/", "application/geo")):
        return answer_bytes(request, content, result.media_type)
    return Response(content, media_type=result.media_type)


RESULT_OPERATIONS = tuple(
    Operation(
        method="GET",
        path=f"/api/jobs/{{id}}/{name}",
        handler=handler,
        summary=summary,
        answer=RESULTS[name].media_type,
        problems=(404, 409, 503),
    )
    for name, handler, summary in (
        ("heatmap.zip", show_job_heatmap, "The heatmap, a Zarr group in a ZIP file."),
        ("heatmap.png", show_job_picture, "The heatmap in colours, one px per cell."),
        ("detections.csv", show_job_detections, "The detections: x, y in level-0 px."),
        ("detections.geojson", show_job_points, "The detections as points, for QuPath."),
        ("outlines.geojson", show_job_outlines, "Outlines of the cells above the threshold."),
    )
)
