"""The Starlette application of the web port: the API under `/api/v1`, and the pages.

Each error has a one-line text. Errors are JSON under `/api/`, and pages elsewhere.
"""

from __future__ import annotations

from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.routing import Route

from shadowdiff.queries.errors import RequestError
from shadowdiff.store import STORE_ERRORS
from shadowdiff.web.api import OPERATIONS, openapi_document
from shadowdiff.web.auth_middleware import AuthMiddleware
from shadowdiff.web.cause_pages import change_cause, show_cause
from shadowdiff.web.erasure_api import change_erase, show_erase
from shadowdiff.web.layout import Layout, WebParts, show_file
from shadowdiff.web.live import LiveStreams
from shadowdiff.web.login_page import log_in, log_out, show_login
from shadowdiff.web.operation import PREFIX, ErrorMessage, json_response
from shadowdiff.web.rules_page import change_rules, show_rules
from shadowdiff.web.sample_pages import change_fingerprint, show_fingerprint, show_sample
from shadowdiff.web.status_pages import show_audit, show_doctor, show_ledger
from shadowdiff.web.target_pages import show_overview, show_target

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECURITY_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; img-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # with `no-referrer`, browsers post forms with the origin `null`
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
PAGES: Final = {
    ("GET", "/"): show_overview,
    ("GET", "/audit"): show_audit,
    ("GET", "/causes/{id}"): show_cause,
    ("POST", "/causes/{id}"): change_cause,
    ("GET", "/doctor"): show_doctor,
    ("GET", "/erase"): show_erase,
    ("POST", "/erase"): change_erase,
    ("GET", "/fingerprints/{id}"): show_fingerprint,
    ("POST", "/fingerprints/{id}"): change_fingerprint,
    ("GET", "/ledger"): show_ledger,
    ("GET", "/login"): show_login,
    ("POST", "/login"): log_in,
    ("POST", "/logout"): log_out,
    ("GET", "/rules"): show_rules,
    ("POST", "/rules"): change_rules,
    ("GET", "/samples/{id}"): show_sample,
    ("GET", "/static/{name}"): show_file,
    ("GET", "/targets/{target}"): show_target,
}
EXPORTS_BY: Final = (("/fingerprints/{id}", "download"), ("/samples/{id}", "download"))
"""Pages that are exports if a parameter is set."""


def create_web(web: WebParts) -> Starlette:
    """Return the application of the web port."""
    layout = Layout(web)

    async def openapi(_request: Request) -> Response:
        return json_response(openapi_document(web.version, with_credentials=web.access().is_required))

    async def failed(request: Request, error: Exception) -> Response:
        status, line = _error_line(request, error)
        is_api = request.url.path.startswith(PREFIX)
        response = json_response(ErrorMessage(line), status) if is_api else await layout.error(status, line)
        if isinstance(error, HTTPException) and error.headers:  # for example, a 405 response needs its Allow header
            response.headers.update(error.headers)
        return response

    return Starlette(
        routes=[
            *(Route(path, partial(page, layout), methods=[method]) for (method, path), page in PAGES.items()),
            Route("/live", LiveStreams(web.queries, web.closing).stream),
            *(operation.route(web) for operation in OPERATIONS),
            Route(f"{PREFIX}/openapi.json", openapi),
        ],
        middleware=[
            Middleware(SecurityHeaders),
            Middleware(TrustedHostMiddleware, allowed_hosts=web.hosts or ("*",)),
            Middleware(AuthMiddleware, layout=layout, operations=OPERATIONS, exports_by=EXPORTS_BY),
        ],
        exception_handlers=dict.fromkeys((HTTPException, RequestError, *STORE_ERRORS), failed),
    )


def _error_line(request: Request, error: Exception) -> tuple[int, str]:
    """Return an error's status and its one-line text."""
    if isinstance(error, RequestError):
        return error.status, error.message
    if not isinstance(error, HTTPException):
        return (
            503,
            f"The store is unavailable ({type(error).__name__}). Numbers and samples return when the store does.",
        )
    if error.status_code != HTTPStatus.NOT_FOUND:
        return error.status_code, error.detail
    return 404, f"There is no page {request.url.path}; the API is described at {PREFIX}/openapi.json."


class SecurityHeaders:
    """ASGI middleware that adds security headers; a response's own headers take precedence."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and add the headers to its response."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers)
