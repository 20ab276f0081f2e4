"""Operations of the API: a route, what it takes and gives, and the function that answers."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from .workspace import Workspace

__all__ = ["Operation"]


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One operation of the API."""

    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    handler: Callable[[Workspace, Request], Awaitable[Response]]
    summary: str
    answer: type[BaseModel] | str
    """Shape of the answer, or its media type; empty: no content."""
    body: type[BaseModel] | None = None
    takes: str = "application/json"
    """Media type of the body of a request."""
    query: type[BaseModel] | None = None
    status: int = 200
    """Of success."""
    further_statuses: tuple[int, ...] = ()
    """Statuses of success with the same answer."""
    problems: tuple[int, ...] = ()
    """Further statuses, beside 401 and 403."""
    if_match: bool = False
    """True: the header If-Match names the version that the request builds on."""
