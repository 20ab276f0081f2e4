"""Answers of the server: JSON, and problems as JSON with their status."""

import gc
import gzip
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from anyio import to_thread
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

__all__ = [
    "FOREVER",
    "LARGEST_BODY",
    "Problem",
    "answer_bytes",
    "answer_json",
    "answer_picture",
    "answer_problem",
    "describe_fault",
    "paused_garbage_collection",
    "read_body",
    "read_model",
    "read_query",
]

LARGEST_BODY = 2**26  # bytes
WORTH_GZIP = 2000  # bytes
LONG_GZIP = 100_000  # bytes, about 1 ms
FOREVER = "private, max-age=31536000, immutable"
FAULTS = {"missing": "missing; give it", "extra_forbidden": "unknown; leave it out"}

Model = TypeVar("Model", bound=BaseModel)


class Problem(Exception):  # noqa: N818 - an answer, told to the client
    """An answer that tells why a request is refused."""

    def __init__(
        self, status: int, words: str, *, headers: Mapping[str, str] | None = None, **facts: Any
    ) -> None:
        super().__init__(words)
        self.status = status
        self.plain = {"error": words, **facts}
        self.headers = dict(headers or {})


def answer_json(
    request: Request, plain: Any, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Answer with JSON; a pydantic model or plain values."""
    if isinstance(plain, BaseModel):
        plain = plain.model_dump(mode="json")
    content = json.dumps(plain, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return answer_bytes(
        request, content.encode("utf-8", "replace"), "application/json", status, headers
    )


def answer_bytes(
    request: Request,
    content: bytes,
    media_type: str,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Answer with text, compressed where the client takes it and it is worth it."""
    further = {"Vary": "Accept-Encoding", **(headers or {})}
    takes_gzip = "gzip" in request.headers.get("accept-encoding", "")
    kind = _PackedResponse if takes_gzip and len(content) >= WORTH_GZIP else Response
    return kind(content, status, further, media_type)


class _PackedResponse(Response):
    """An answer that is compressed when it is sent; a large one on a thread, so that others are
    answered meanwhile."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        content = bytes(self.body)
        if len(content) >= LONG_GZIP:
            self.body = await to_thread.run_sync(_pack, content)
        else:
            self.body = _pack(content)
        self.headers["Content-Encoding"] = "gzip"
        self.headers["Content-Length"] = str(len(self.body))
        await super().__call__(scope, receive, send)


def _pack(content: bytes) -> bytes:
    return gzip.compress(content, compresslevel=1)


def answer_picture(content: bytes, kind: str, *, is_certain: bool) -> Response:
    """Answer with a picture; certain: the URL names its version, so it never changes."""
    headers = {"Cache-Control": FOREVER if is_certain else "no-store"}
    return Response(content, headers=headers, media_type=kind)


def answer_problem(request: Request, problem: Problem) -> Response:
    """Answer with the reason why a request is refused."""
    return answer_json(request, problem.plain, status=problem.status, headers=problem.headers)


async def read_body(request: Request, limit: int = LARGEST_BODY) -> bytes:
    """Read the body of a request, of at most limit bytes.

    Raises:
        Problem: it is larger.
    """
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise Problem(413, f"the request has over {limit >> 10} KB; send less at once")
        parts.append(part)
    return b"".join(parts)


def read_model(kind: type[Model], content: bytes) -> Model:
    """Parse the JSON of a request.

    Raises:
        Problem: no JSON, or not of this form.
    """
    try:
        with paused_garbage_collection():
            plain = from_json(content)  # several times faster than json
    except ValueError as error:
        raise Problem(422, "the request is no JSON that can be read; send it again") from error
    return _validate(kind, plain)


@contextmanager
def paused_garbage_collection() -> Iterator[None]:
    """Context without searches for cycles of references: lists of a million corners have none, and
    to look through them again and again takes longer than to parse them."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def read_query(kind: type[Model], request: Request) -> Model:
    """Parse the query of a request; what it does not name is ignored.

    Raises:
        Problem: a value cannot be used.
    """
    known = {name: text for name, text in request.query_params.items() if name in kind.model_fields}
    return _validate(kind, known)


def _validate(kind: type[Model], plain: Any) -> Model:
    try:
        return kind.model_validate(plain)
    except ValidationError as error:
        raise Problem(422, describe_fault(error)) from error


def describe_fault(error: ValidationError, *parents: str) -> str:
    """Return the place and the kind of the first fault of a request; parents: where the faulty part
    stands in it."""
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(map(str, (*parents, *first["loc"]))) or "the request"
    return f"{place}: {FAULTS.get(first['type'], first['msg'])}"
