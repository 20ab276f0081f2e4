"""Routes of jobs: submit, list, look, cancel."""

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response

from ...cohort import CohortSlide
from ...wsi import Region
from ..answers import Problem, answer_json, read_body, read_model
from ..operation import Operation
from ..workspace import Workspace
from .desk import JobDesk, parse_settings
from .job import Job, JobRecipe, JobTask
from .job_queue import QueueIsFull, seconds_left
from .request_check import check_request
from .results import RESULTS
from .shapes import JobAnswer, JobId, JobList, JobRequest, ResultName

__all__ = ["JOB_OPERATIONS"]

LARGEST_REQUEST = 2**20  # bytes
RETRY_S = 10


async def submit_job(workspace: Workspace, request: Request) -> Response:
    desk = workspace.desk_to_change()
    asked = read_model(JobRequest, await read_body(request, LARGEST_REQUEST))
    return await desk.checks.run(request, _submit, workspace, desk, asked, request)


def _submit(workspace: Workspace, desk: JobDesk, asked: JobRequest, request: Request) -> Response:
    model, slide = desk.model(asked.model, status=422), _slide(workspace, desk, asked)
    settings = parse_settings(model, asked.settings)
    is_upload = asked.upload is not None
    recipe = JobRecipe.of(model, slide, is_upload=is_upload, region=asked.region, settings=settings)
    if not recipe.slide_identity:
        raise Problem(422, f"{slide.id}: its file cannot be read; put it back where it was")
    names = ("x", "y", "width", "height")
    within = Region(**dict(zip(names, asked.region, strict=True))) if asked.region else None
    check_request(model, slide, settings, within)

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
    jobs = workspace.desk_in_use().jobs

    def describe(job: Job) -> JobAnswer:
        return _describe(job, jobs.position(job.recipe.id))

    rows = await to_thread.run_sync(jobs.read_all, describe)
    return answer_json(request, JobList(jobs=rows))


async def show_job(workspace: Workspace, request: Request) -> Response:
    jobs, name = workspace.desk_in_use().jobs, request.path_params["id"]
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
    jobs = workspace.desk_to_change().jobs
    if not await to_thread.run_sync(jobs.remove, request.path_params["id"]):
        raise Problem(404, "there is no such job")
    return Response(status_code=204)


JOB_OPERATIONS = (
    Operation(
        method="POST",
        path="/api/jobs",
        handler=submit_job,
        summary="Predict a slide, an upload, or a region of one; 200 if the results are there.",
        body=JobRequest,
        answer=JobId,
        status=202,
        further_statuses=(200,),
        problems=(413, 422, 429, 503),
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
        path="/api/jobs/{id}",
        handler=show_job,
        summary="A job and how far it is.",
        answer=JobAnswer,
        problems=(404,),
    ),
    Operation(
        method="DELETE",
        path="/api/jobs/{id}",
        handler=remove_job,
        summary="Cancel a job; remove the results of one that has ended.",
        answer="",
        status=204,
        problems=(404,),
    ),
)
