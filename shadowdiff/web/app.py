"""The Starlette application of the web port.

In: `WebState`.  Out: an ASGI application: the API under `/api/v1`, the pages beside it.
Holds: an error is one line, as JSON under `/api/` and as a page elsewhere; nothing is served past the `Entry`.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from redis.exceptions import RedisError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.routing import Route

from shadowdiff.web.api import OPERATIONS
from shadowdiff.web.entry import Entry
from shadowdiff.web.fingerprint_page import FingerprintPage
from shadowdiff.web.layout import Layout
from shadowdiff.web.ledger_page import LedgerPage
from shadowdiff.web.live import Live
from shadowdiff.web.login import LoginPage
from shadowdiff.web.openapi import document
from shadowdiff.web.operation import PREFIX, Refusal, answer
from shadowdiff.web.overview_page import OverviewPage
from shadowdiff.web.pages import Pages
from shadowdiff.web.rules_page import RulePages
from shadowdiff.web.sample_page import SamplePage
from shadowdiff.web.security import SecurityHeaders
from shadowdiff.web.target_page import TargetPage

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from shadowdiff.web.state import WebState

NOT_FOUND: Final = 404


def create_web(state: WebState) -> Starlette:
    """Return the application of the web port."""
    layout = Layout(state)

    async def openapi(_request: Request) -> Response:
        return answer(document(OPERATIONS, state.version, asks=state.access().asks))

    async def failed(request: Request, error: Exception) -> Response:
        status, line = _told(request, error)
        is_api = request.url.path.startswith(PREFIX)
        response = answer(Refusal(line), status) if is_api else await layout.error(status, line)
        if isinstance(error, HTTPException) and error.headers:  # such as Allow, which a 405 must have
            response.headers.update(error.headers)
        return response

    return Starlette(
        routes=[
            *Pages(state, layout).routes(),
            *OverviewPage(state, layout).routes(),
            *TargetPage(state, layout).routes(),
            *FingerprintPage(state, layout).routes(),
            *LedgerPage(state, layout).routes(),
            *Live(state).routes(),
            *SamplePage(state, layout).routes(),
            *RulePages(state, layout.html).routes(),
            *LoginPage(state, layout.html).routes(),
            *(operation.route(state) for operation in OPERATIONS),
            Route(f"{PREFIX}/openapi.json", openapi, methods=["GET"], name="openapi"),
        ],
        middleware=[
            Middleware(SecurityHeaders),
            Middleware(TrustedHostMiddleware, allowed_hosts=state.hosts or ("*",)),
            Middleware(Entry, state=state, operations=OPERATIONS, page=layout.error),
        ],
        exception_handlers={HTTPException: failed, RedisError: failed, OSError: failed},
    )


def _told(request: Request, error: Exception) -> tuple[int, str]:
    """Return the status and the line that an error answers."""
    if not isinstance(error, HTTPException):
        return 503, f"The store does not answer ({type(error).__name__}): numbers and samples are back when it is."
    if error.status_code != NOT_FOUND or error.detail != HTTPStatus.NOT_FOUND.phrase:
        return error.status_code, error.detail
    return NOT_FOUND, f"Nothing is served at {request.url.path}; the API is described at {PREFIX}/openapi.json."
