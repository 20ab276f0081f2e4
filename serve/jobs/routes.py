"""Routes of models, uploads, jobs and results."""

from collections.abc import AsyncIterator

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response

from ...cohort import CohortSlide
from ...storage import GigaslideError
from ...wsi import Region
from ..answers import Problem, answer_bytes, answer_json, read_body, read_model, read_query
from ..operation import Operation
from ..workspace import Workspace
from .desk import JobDesk, parse_settings
from .job import Job, JobRecipe, JobTask, ServedModel
from .job_queue import QueueIsFull, seconds_left
from .results import RESULTS
from .shapes import (
    JobAnswer,
    JobId,
    JobList,
    JobRequest,
    ModelAnswer,
    ModelList,
    ModelRow,
    ResultName,
    UploadAnswer,
    UploadQuery,
)

__all__ = ["JOB_OPERATIONS"]

LARGEST_REQUEST = 2**20  # bytes
RETRY_S = 10


def _desk(workspace: Workspace) -> JobDesk:
    if workspace.desk is None:
        raise Problem(404, "this server has no models; start gigaslide serve")
    return workspace.desk


def _desk_to_change(workspace: Workspace) -> JobDesk:
    if workspace.read_only:
        raise Problem(403, "nothing can be changed: the server was started with --read-only")
    return _desk(workspace)


async def list_models(workspace: Workspace, request: Request) -> Response:
    models = _desk(workspace).jobs.models.values()
    return answer_json(request, ModelList(models=[ModelRow(**_facts(one)) for one in models]))


async def show_model(workspace: Workspace, request: Request) -> Response:
    model = _desk(workspace).model(request.path_params["id"])
    schema = model.settings.model_json_schema()
    for name in model.own_settings:
        schema["properties"].pop(name, None)
    return answer_json(request, ModelAnswer(**_facts(model), card=model.card, settings=schema))


def _facts(model: ServedModel) -> dict:
    card, spec = model.card, model.card["input_spec"]
    chosen = card.get("operating_threshold")
    return {
        "id": model.id,
        "hash": model.hash,
        "task": card.get("task", "patches"),
        "architecture": card["architecture"],
        "mpp": list(spec["mpps"]),
        "patch_px": spec["patch_px"],
        "threshold": chosen["value"] if chosen else None,
    }


async def save_upload(workspace: Workspace, request: Request) -> Response:
    desk = _desk_to_change(workspace)
    asked = read_query(UploadQuery, request)
    stated = request.headers.get("content-length", "")
    if stated.isdecimal() and int(stated) > desk.uploads.most_bytes:
        raise Problem(413, f"an upload has at most {desk.uploads.most_bytes} bytes")

    async def parts() -> AsyncIterator[bytes]:
        async for part in request.stream():
            if part:
                yield part

    name, size = await desk.uploads.save(parts(), asked.format)
    return answer_json(request, UploadAnswer(upload=name, bytes=size), status=201)


async def remove_upload(workspace: Workspace, request: Request) -> Response:
    desk = _desk_to_change(workspace)
    if not await to_thread.run_sync(desk.uploads.remove, request.path_params["id"]):
        raise Problem(404, "there is no such upload")
    return Response(status_code=204)


async def submit_job(workspace: Workspace, request: Request) -> Response:
    desk = _desk_to_change(workspace)
    asked = read_model(JobRequest, await read_body(request, LARGEST_REQUEST))
    return await to_thread.run_sync(_submit, workspace, desk, asked, request)


def _submit(workspace: Workspace, desk: JobDesk, asked: JobRequest, request: Request) -> Response:
    model, slide = desk.model(asked.model, status=422), _slide(workspace, desk, asked)
    settings = parse_settings(model, asked.settings)
    is_upload = asked.upload is not None
    recipe = JobRecipe.of(model, slide, is_upload=is_upload, region=asked.region, settings=settings)
    if not recipe.slide_identity:
        raise Problem(422, f"{slide.id}: its file cannot be read; put it back where it was")
    names = ("x", "y", "width", "height")
    within = Region(**dict(zip(names, asked.region, strict=True))) if asked.region else None

    def make_task(folder) -> JobTask:
        return JobTask(
            folder=folder, model=model.folder, slide=slide, settings=settings, within=within
        )

    try:
        name, is_done = desk.jobs.submit(recipe, make_task)
    except QueueIsFull as error:
        words = f"{desk.jobs.most_waiting} jobs wait; send this one again later"
        raise Problem(429, words, headers={"Retry-After": str(RETRY_S)}) from error
    plain = JobId(id=name, state=desk.jobs.state(name), results=_addresses(name, asked.outputs))
    return answer_json(request, plain, status=200 if is_done else 202)


def _slide(workspace: Workspace, desk: JobDesk, asked: JobRequest) -> CohortSlide:
    if (asked.slide is None) == (asked.upload is None):
        raise Problem(422, "give either slide or upload")
    if asked.upload is not None:
        found = desk.uploads.find(asked.upload)
        if found is None:
            raise Problem(422, "there is no such upload; send it to api/uploads")
        return found
    found = workspace.slides.get(asked.slide or "")
    if found is None:
        raise Problem(422, "the cohort has no such slide; see api/slides")
    return found


async def list_jobs(workspace: Workspace, request: Request) -> Response:
    jobs = _desk(workspace).jobs
    rows = await to_thread.run_sync(lambda: jobs.read_all(lambda job: _describe(job, 0)))
    return answer_json(request, JobList(jobs=rows))


async def show_job(workspace: Workspace, request: Request) -> Response:
    jobs, name = _desk(workspace).jobs, request.path_params["id"]
    found = jobs.read(name, lambda job: _describe(job, jobs.position(name)))
    if found is None:
        raise Problem(404, "there is no such job")
    return answer_json(request, found)


def _describe(job: Job, before: int) -> JobAnswer:
    recipe, (rate, left) = job.recipe, seconds_left(job)
    is_done = job.state == "done"
    name = recipe.id
    return JobAnswer(
        id=name,
        state=job.state,
        reason=job.reason,
        model=recipe.model,
        slide=None if recipe.is_upload else recipe.slide,
        upload=recipe.slide if recipe.is_upload else None,
        region=recipe.region,
        settings=recipe.settings,
        before=before,
        fraction=1.0 if is_done else job.scored / job.windows if job.windows else 0.0,
        windows=job.windows,
        windows_per_s=rate,
        eta_s=left,
        made=job.made,
        ended=job.ended,
        counts=job.counts,
        results=_addresses(name, list(RESULTS)) if is_done else {},
    )


def _addresses(name: str, outputs: list) -> dict[ResultName, str]:
    return {one: f"api/jobs/{name}/{one}" for one in outputs}


async def remove_job(workspace: Workspace, request: Request) -> Response:
    jobs = _desk_to_change(workspace).jobs
    if not await to_thread.run_sync(jobs.remove, request.path_params["id"]):
        raise Problem(404, "there is no such job")
    return Response(status_code=204)


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
    desk, name = _desk(workspace), request.path_params["id"]
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


JOB = "/api/jobs/{id}"
JOB_OPERATIONS = (
    Operation(
        method="GET",
        path="/api/models",
        handler=list_models,
        summary="List the models.",
        answer=ModelList,
    ),
    Operation(
        method="GET",
        path="/api/models/{id}",
        handler=show_model,
        summary="A model, its card, and the settings of its jobs.",
        answer=ModelAnswer,
        problems=(404,),
    ),
    Operation(
        method="POST",
        path="/api/uploads",
        handler=save_upload,
        summary="Send the bytes of a slide.",
        query=UploadQuery,
        takes="application/octet-stream",
        answer=UploadAnswer,
        status=201,
        problems=(413, 422, 507),
    ),
    Operation(
        method="DELETE",
        path="/api/uploads/{id}",
        handler=remove_upload,
        summary="Remove an upload.",
        answer="",
        status=204,
        problems=(404,),
    ),
    Operation(
        method="POST",
        path="/api/jobs",
        handler=submit_job,
        summary="Predict a slide, an upload, or a region of one; 200 if the results are there.",
        body=JobRequest,
        answer=JobId,
        status=202,
        further_statuses=(200,),
        problems=(413, 422, 429),
    ),
    Operation(
        method="GET",
        path="/api/jobs",
        handler=list_jobs,
        summary="List the jobs, the newest first.",
        answer=JobList,
    ),
    Operation(
        method="GET",
        path=JOB,
        handler=show_job,
        summary="A job and how far it is.",
        answer=JobAnswer,
        problems=(404,),
    ),
    Operation(
        method="DELETE",
        path=JOB,
        handler=remove_job,
        summary="Cancel a job; remove the results of one that has ended.",
        answer="",
        status=204,
        problems=(404,),
    ),
    *(
        Operation(
            method="GET",
            path=f"{JOB}/{name}",
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
    ),
)
