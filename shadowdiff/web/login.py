"""The page on which a browser logs in with a token, and the way out.

In: a token, once.  Out: a cookie that no script sees and that bears no token, and a way back to the page asked for.
Holds: wrong tokens are counted per source, and slowed down; the way back stays on these pages.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from shadowdiff.web.entry import LOGIN_COOKIE, cookie, is_secure
from shadowdiff.web.operation import ApiError
from shadowdiff.web.rules_page import form_fields
from shadowdiff.web.visit import visit

if TYPE_CHECKING:
    from starlette.requests import Request

    from shadowdiff.web.rules_page import Render
    from shadowdiff.web.state import WebState

log = logging.getLogger(__name__)

_SEE_OTHER: Final = 303


class LoginPage:
    """Logging in and out."""

    def __init__(self, state: WebState, render: Render) -> None:
        self._state = state
        self._render = render

    def routes(self) -> list[Route]:
        """Return the routes of the page."""
        return [
            Route("/login", self.show, methods=["GET"], name="login-page"),
            Route("/login", self.login, methods=["POST"], name="login"),
            Route("/logout", self.logout, methods=["POST"], name="logout"),
        ]

    async def show(self, request: Request) -> Response:
        """Answer the form."""
        return await self._form(request.query_params.get("next", ""))

    async def login(self, request: Request) -> Response:
        """Take a token, and give a cookie."""
        try:
            given = await form_fields(request)
        except ApiError as refusal:
            return await self._form("", refusal.status, refusal.message)
        access, source, now_s = self._state.access(), visit().source, self._state.now_ms() / 1000
        if not access.may_try(source, now_s):
            return await self._form(given.get("next", ""), 429, "Too many wrong tokens: wait a minute.")
        caller = access.of_token(given.get("token", "").strip())
        if caller is None:
            access.failed(source, now_s)
            log.warning("a login failed", extra={"from": source})
            return await self._form(given.get("next", ""), 401, "This token is none of those that are configured.")
        log.info("a login", extra={"who": caller.name, "role": caller.role, "from": source})
        response = RedirectResponse(_way_back(given.get("next", "")), _SEE_OTHER)
        secure = is_secure(self._state, request)
        sealed = cookie(LOGIN_COOKIE, access.login(caller), secure=secure, max_age_s=access.session_s, same_site="Lax")
        response.headers.append("set-cookie", sealed)
        return response

    async def logout(self, request: Request) -> Response:
        """Take the cookie away."""
        response = RedirectResponse("/login", _SEE_OTHER)
        gone = cookie(LOGIN_COOKIE, "", secure=is_secure(self._state, request), max_age_s=0, same_site="Lax")
        response.headers.append("set-cookie", gone)
        return response

    async def _form(self, back: str, status: int = 200, refusal: str = "") -> Response:
        has_tokens = self._state.access().has_tokens
        return await self._render("login.html", status, back=_way_back(back), refusal=refusal, has_tokens=has_tokens)


def _way_back(path: str) -> str:
    """Return a path on these pages; the first page for anything else."""
    plain = path.isprintable() and "\\" not in path
    return path if plain and path.startswith("/") and not path.startswith("//") else "/"
