"""Every error as `application/problem+json` (RFC 9457). No text repeats a secret."""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from registry.errors import Conflict, NotFound, RegistryRefused, RegistryUnavailable, SealingError, Stale

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 2


class Problem(Exception):
    """A refusal that is not one of the registry's. `slug` names its kind for programs."""

    def __init__(self, status: int, slug: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.slug, self.detail, self.headers = status, slug, detail, headers


class Wrong(BaseModel):
    """One part of a request that cannot be read."""

    where: str = Field(description="Where it stands, e.g. `body.name`.")
    problem: str


class ProblemBody(BaseModel):
    """What went wrong, by RFC 9457."""

    type: str = Field(description="`urn:fleetline:problem:` and the kind.")
    title: str
    status: int
    detail: str = ""
    current: int | None = Field(None, description="Of a change made from an older version: the version that stands.")
    errors: list[Wrong] | None = Field(None, description="Of a request that cannot be read: each part that is wrong.")


_MEANINGS = {
    400: "The body cannot be read",
    401: "No key, or one that opens nothing",
    403: "The key lacks the scope that is named",
    404: "There is no such thing, or it is another tenant's",
    408: "The body stopped coming",
    409: "Taken by another object, or changed since it was read",
    413: "The body is too large",
    422: "Not in the form asked for, or refused by a rule of the registry",
    503: "Kafka is away or too busy: come again after Retry-After seconds",
}


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe refusals for the OpenAPI document."""
    shape = {"schema": {"$ref": "#/components/schemas/ProblemBody"}}
    return {each: {"description": _MEANINGS[each], "content": {MEDIA_TYPE: shape}} for each in statuses}


def problem(status: int, slug: str, detail: str, headers: Mapping[str, str] | None = None, **more: Any) -> Response:
    """Write one problem."""
    title = HTTPStatus(status).phrase
    body = {"type": f"urn:fleetline:problem:{slug}", "title": title, "status": status, "detail": detail, **more}
    kept = {"cache-control": "no-store", **(headers or {})}
    return Response(orjson.dumps(body), status, kept, MEDIA_TYPE)


def handle_errors(app: FastAPI) -> None:
    """Answer every error of the application as a problem."""
    app.add_exception_handler(Problem, _own)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _unreadable)
    for kind in (RegistryRefused, RegistryUnavailable, SealingError):
        app.add_exception_handler(kind, _registry)
    app.add_exception_handler(Exception, _unexpected)


async def _own(_: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return problem(error.status, error.slug, error.detail, error.headers)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == HTTPStatus.NOT_FOUND:
        return problem(404, "not-found", "there is nothing at this path")
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = ", ".join(sorted(_methods_at(request)))
        return problem(405, "method", f"this path takes {allowed}", {"allow": allowed})
    if error.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return problem(413, "too-large", "the body is larger than this path takes", error.headers)
    return problem(error.status_code, "http", HTTPStatus(error.status_code).phrase, error.headers)


def _methods_at(request: Request) -> set[str]:
    path = request.scope["path"]
    routes = (each for each in request.app.routes if getattr(each, "path_regex", None) is not None)
    return {method for each in routes if each.path_regex.match(path) for method in each.methods or ()}


async def _unreadable(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    wrong = [{"where": ".".join(map(str, each["loc"])), "problem": str(each["msg"])} for each in error.errors()]
    return problem(422, "invalid", "the request is not in the form asked for", errors=wrong)


async def _registry(_: Request, error: Exception) -> Response:
    if isinstance(error, Stale):
        return problem(409, "stale", str(error), current=error.current)
    if isinstance(error, Conflict):
        return problem(409, "conflict", str(error))
    if isinstance(error, NotFound):
        return problem(404, "not-found", str(error))
    if isinstance(error, RegistryRefused):
        return problem(422, "refused", str(error))
    slug = "sealing" if isinstance(error, SealingError) else "unavailable"
    return problem(503, slug, str(error), {"retry-after": str(RETRY_AFTER_S)})


async def _unexpected(request: Request, error: Exception) -> Response:
    log.error("%s %s failed: %s", request.method, request.scope["path"], type(error).__name__)
    return problem(500, "unexpected", "this is a defect of the server; its log says more")
