"""The Starlette application of the web port.

In: `WebState`.  Out: an ASGI application: the API under `/api/v1`, the pages beside it.
Holds: an error is one line, as JSON under `/api/` and as a page elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import Route

from shadowdiff.web.api import OPERATIONS
from shadowdiff.web.openapi import document
from shadowdiff.web.operation import PREFIX, Refusal, answer
from shadowdiff.web.security import SecurityHeaders

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from shadowdiff.web.state import WebState


def create_web(state: WebState) -> Starlette:
    """Return the application of the web port."""

    async def openapi(_request: Request) -> Response:
        return answer(document(OPERATIONS, state.version))

    async def refused(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        return answer(Refusal(_line(request, status)), status)

    return Starlette(
        routes=[
            *(operation.route(state) for operation in OPERATIONS),
            Route(f"{PREFIX}/openapi.json", openapi, methods=["GET"], name="openapi"),
        ],
        middleware=[Middleware(SecurityHeaders)],
        exception_handlers={HTTPException: refused},
    )


def _line(request: Request, status: int) -> str:
    if status == 404:  # noqa: PLR2004
        return f"nothing is served at {request.url.path}: the API is described at {PREFIX}/openapi.json"
    return f"{request.method} {request.url.path} is refused with {status}"
