"""Routes of uploads."""

from collections.abc import AsyncIterator

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response

from ..answers import Problem, answer_json, read_query
from ..operation import Operation
from ..workspace import Workspace
from .shapes import UploadAnswer, UploadQuery

__all__ = ["UPLOAD_OPERATIONS"]


async def save_upload(workspace: Workspace, request: Request) -> Response:
    desk = workspace.desk_to_change()
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
    desk = workspace.desk_to_change()
    if not await to_thread.run_sync(desk.uploads.remove, request.path_params["id"]):
        raise Problem(404, "there is no such upload")
    return Response(status_code=204)


UPLOAD_OPERATIONS = (
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
)
