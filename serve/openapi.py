"""The API's schema, OpenAPI 3.1, and a page of it."""

import re
from collections.abc import Sequence
from html import escape
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from ..storage import gigaslide_version
from .operation import Operation
from .qupath_script import QUPATH_SCRIPT
from .schema import ProblemAnswer

__all__ = ["api_page", "make_openapi"]

JSON = "application/json"
TABLE = re.compile(r"{(\w+)}")
NUMBER = {"type": "integer", "minimum": 0, "maximum": 999_999_999}
TAB = {"type": "string", "pattern": "^[0-9a-zA-Z_-]{1,64}$"}
PARAMETERS = {"z": NUMBER, "x": NUMBER, "y": NUMBER, "n": NUMBER, "tab": TAB}
STATUSES = {
    401: "No valid token.",
    403: "Refused: another host or site, a missing header, or read-only.",
    404: "No such slide, version, tile, picture or job.",
    409: "A newer version is there, or the job has no results yet.",
    410: "The slide or the heatmap was replaced.",
    413: "Too large.",
    415: "Not of the media type that this address takes.",
    422: "The request cannot be used.",
    428: "If-Match is missing.",
    429: "Too many jobs.",
    500: "The server failed.",
    503: "Too many requests at once, or the slide cannot be opened now.",
    507: "The disk is full.",
}


def make_openapi(operations: Sequence[Operation]) -> dict[str, Any]:
    """Return the schema of operations as plain JSON."""
    shapes = {ProblemAnswer}
    for one in operations:
        found = (one.body, one.query, one.answer)
        shapes |= {shape for shape in found if isinstance(shape, type)}
    _, schemas = models_json_schema(
        [(shape, "validation") for shape in sorted(shapes, key=lambda shape: shape.__name__)],
        ref_template="#/components/schemas/{model}",
    )
    paths: dict[str, dict[str, Any]] = {}
    for one in operations:
        paths.setdefault(one.path, {})[one.method.lower()] = _describe(one, schemas["$defs"])
    schemes = {"token": {"type": "http", "scheme": "bearer"}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "gigaslide", "version": gigaslide_version()},
        "servers": [{"url": "."}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {"schemas": schemas["$defs"], "securitySchemes": schemes},
    }


def _describe(one: Operation, shapes: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"summary": one.summary, "operationId": one.handler.__name__}
    if one.path.endswith(".geojson"):
        found["operationId"] += "_file"
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": PARAMETERS.get(name, _TEXT)}
        for name in TABLE.findall(one.path)
    ]
    if one.query is not None:
        known = shapes[one.query.__name__]["properties"]
        parameters += [{"name": n, "in": "query", "schema": known[n]} for n in known]
    if one.method != "GET":
        parameters.append(_header("X-Gigaslide", {"type": "string", "const": "1"}))
    if one.if_match:
        parameters.append(_header("If-Match", {"type": "string", "pattern": '^"[0-9]{1,9}"$'}))
    if parameters:
        found["parameters"] = parameters
    if one.method in ("POST", "PUT"):
        schema = {"type": "object"} if one.body is None else _reference(one.body)
        content = {one.takes: {"schema": schema if one.takes == JSON else {}}}
        found["requestBody"] = {"required": True, "content": content}
    found["responses"] = _responses(one)
    if one.path == "/health":
        found["security"] = []
    return found


_TEXT = {"type": "string"}


def _header(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": True, "schema": schema}


def _reference(shape: type[BaseModel]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{shape.__name__}"}


def _responses(one: Operation) -> dict[str, Any]:
    success: dict[str, Any] = {"description": "Done."}
    if isinstance(one.answer, str) and one.answer:
        success["content"] = {one.answer: {"schema": {}}}
    elif isinstance(one.answer, type):
        success["content"] = {JSON: {"schema": _reference(one.answer)}}
    problem = {JSON: {"schema": _reference(ProblemAnswer)}}
    further = {403, *one.problems} | ({401} if one.path != "/health" else set())
    further |= {415} if one.method in ("POST", "PUT") else set()
    return {str(status): success for status in (one.status, *one.further_statuses)} | {
        str(status): {"description": STATUSES[status], "content": problem}
        for status in sorted(further)
    }


def api_page(operations: Sequence[Operation]) -> str:
    """Return a page that lists operations; it needs no script."""
    rows = "".join(
        f"<tr><td>{one.method}<td><code>{escape(one.path)}</code><td>{escape(one.summary)}"
        for one in operations
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>gigaslide: API</title>'
        '<h1>API</h1><p>The whole schema: <a href="openapi.json">openapi.json</a> (OpenAPI 3.1). '
        f'Script for QuPath: <a href="{QUPATH_SCRIPT}">{QUPATH_SCRIPT}</a>.'
        f"<table><tr><th>method<th>address<th>what it does{rows}</table></html>"
    )
