"""The page where a user logs in with a token, and logs out.

The cookie does not contain the token, and scripts cannot read it. The number of wrong tokens per source is limited.
After a login, the user is redirected only to these pages.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from starlette.responses import RedirectResponse, Response

from shadowdiff.queries.errors import RequestError
from shadowdiff.web.auth_middleware import LOGIN_COOKIE, cookie
from shadowdiff.web.layout import SEE_OTHER
from shadowdiff.web.request_context import current_request, read_form

if TYPE_CHECKING:
    from starlette.requests import Request

    from shadowdiff.web.layout import Layout

log = logging.getLogger(__name__)


async def show_login(layout: Layout, request: Request) -> Response:
    """Return the login form."""
    return await _form(layout, request.query_params.get("next", ""))


async def log_in(layout: Layout, request: Request) -> Response:
    """Set the login cookie for a token, and redirect to the page that needed the login."""
    given: dict[str, str] = {}
    access, source, now_s = layout.web.access(), current_request().source, layout.web.now_s
    try:
        given = await read_form(request)
        caller = access.check_token(given.get("token", "").strip(), source, now_s)
    except RequestError as error:
        return await _form(layout, given.get("next", ""), error.status, error.message)
    if caller is None:
        access.was_wrong(source, now_s)
        log.warning("login failed", extra={"from": source})
        return await _form(layout, given.get("next", ""), 401, "This token is not one of the configured tokens.")
    log.info("login", extra={"user": caller.name, "roles": list(caller.roles), "from": source})
    back = _local_path(given.get("next", ""))
    return _redirect(layout, request, back, access.login(caller), access.session_s)


async def log_out(layout: Layout, request: Request) -> Response:
    """Delete the login cookie."""
    return _redirect(layout, request, "/login", "", 0)


def _redirect(layout: Layout, request: Request, path: str, login: str, max_age_s: int) -> Response:
    sealed = cookie(layout.web, request, LOGIN_COOKIE, login, max_age_s=max_age_s, same_site="Lax")
    return RedirectResponse(path, SEE_OTHER, {"set-cookie": sealed})


async def _form(layout: Layout, back: str, status: int = 200, error: str = "") -> Response:
    has_tokens = layout.web.access().has_tokens
    return await layout.html("login.html", status, back=_local_path(back), error=error, has_tokens=has_tokens)


def _local_path(path: str) -> str:
    """Return the path if it leads to these pages, otherwise the first page's path."""
    plain = path.isprintable() and "\\" not in path
    return path if plain and path.startswith("/") and not path.startswith("//") else "/"
