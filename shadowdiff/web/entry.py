"""The door of the web port: who may come in, whether a write was meant, and the audit of what it changed.

In: every request, before any route.  Out: the application's answer, or a refusal of one line.
Holds: what nobody declared needs a role all the same: GET and HEAD `read`, anything else `write`. A write is noted in
the audit log before its answer leaves. Hooks that cannot send headers check a token of their own.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import parse_qs, quote

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from shadowdiff.web.access import Access, Caller
from shadowdiff.web.asked import payload
from shadowdiff.web.operation import PREFIX, ApiError, Operation, Refusal, answer
from shadowdiff.web.visit import CSRF_FIELD, VISIT, Change, Visit
from shadowdiff.web.writes import CSRF_HEADER, FORM, check_csrf, check_origin, check_place, content_kind, is_ambient

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from shadowdiff.web.state import WebState

log = logging.getLogger(__name__)

LOGIN_COOKIE: Final = "shadowdiff_login"
CSRF_COOKIE: Final = "shadowdiff_csrf"
_READS: Final = frozenset({"GET", "HEAD"})
_LOGIN, _LOGOUT = "/login", "/logout"

Needs = Literal["public", "read", "write", "own"]


class Entry:
    """ASGI middleware: lets requests in, or says why not."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        state: WebState,
        operations: Iterable[Operation],
        page: Callable[[int, str], Awaitable[Response]],
    ) -> None:
        self._app = app
        self._state = state
        self._page = page
        listed = list(operations)
        self._needs: dict[tuple[str, str], Needs] = {("POST", _LOGOUT): "read"}
        self._needs.update({(one.method, PREFIX + one.path): one.needs for one in listed if "{" not in one.path})
        self._changes_by = {(one.method, PREFIX + one.path): one.changes_by for one in listed if one.changes_by}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        access = self._state.access()
        seen = Visit(source=access.source(request), given_csrf=request.cookies.get(CSRF_COOKIE, "")[:64])
        token = VISIT.set(seen)
        try:
            needs = self._needs_of(request)
            try:
                receive = await self._let_in(request, access, seen, needs)
            except ApiError as refusal:
                response = await self._refused(request, refusal)
                await response(scope, receive, self._sending(send, request, seen, needs))
                return
            await self._app(scope, receive, self._sending(send, request, seen, needs))
        finally:
            VISIT.reset(token)

    def _needs_of(self, request: Request) -> Needs:
        path, method = request.url.path, request.method
        if path == _LOGIN or (method in _READS and path.startswith("/static/")):
            return "public"
        if any(request.query_params.get(name) for name in self._changes_by.get((method, path), ())):
            return "write"
        return self._needs.get((method, path)) or ("read" if method in _READS else "write")

    async def _let_in(self, request: Request, access: Access, seen: Visit, needs: Needs) -> Receive:
        """Return what to read the body from. Raises: ApiError, saying why this may not come in."""
        if needs == "own":
            return request.receive
        if needs != "public":
            seen.caller = self._caller(request, access, seen.source)
            self._check_role(seen.caller, needs)
        if request.method in _READS:
            if needs == "write" and is_ambient(request, seen):
                check_origin(request)
            return request.receive
        return await self._check_write(request, access, seen, needs)

    def _caller(self, request: Request, access: Access, source: str) -> Caller:
        """Return who asks. Raises: ApiError where a token is brought that nobody has."""
        named = access.of_proxy(request)
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if access.has_tokens and scheme.lower() == "bearer":
            now_s = self._state.now_ms() / 1000
            if not access.may_try(source, now_s):
                raise ApiError(429, "too many wrong tokens came from this address: wait a minute")
            found = access.of_token(given.strip()) or named
            if found is None:
                access.failed(source, now_s)
                log.warning("a wrong token was brought", extra={"from": source, "path": request.url.path})
                raise ApiError(401, "the bearer token is none of those that are configured")
            return found
        cookie = request.cookies.get(LOGIN_COOKIE)
        login = access.of_login(cookie) if cookie else None
        return login or named or Caller("", access.anonymous, "anonymous")

    def _check_role(self, caller: Caller, needs: Literal["read", "write"]) -> None:
        if caller.may(needs):
            return
        if caller.by == "anonymous":
            raise ApiError(401, f"credentials are needed to {needs}: send `Authorization: Bearer TOKEN`, or log in")
        raise ApiError(403, f"{caller.name} may not {needs} here: the role {needs} is needed")

    async def _check_write(self, request: Request, access: Access, seen: Visit, needs: Needs) -> Receive:
        """Check that a write was meant; return what to read its body from, which may have been read for that."""
        check_origin(request, self._own_names(request, access))
        if needs == "write" and seen.caller.by == "anonymous" and not access.said:
            check_place(request)
        if not is_ambient(request, seen) and needs != "public":
            return request.receive
        if seen.caller.by in {"login", "proxy"} and not {"origin", "sec-fetch-site"} & set(request.headers.keys()):
            raise ApiError(403, "neither origin nor sec-fetch-site came along: a script brings a bearer token instead")
        if content_kind(request) != FORM:
            check_csrf(seen, request.headers.get(CSRF_HEADER, ""))
            return request.receive
        body = await payload(request, "form")
        check_csrf(seen, request.headers.get(CSRF_HEADER) or _field(body, CSRF_FIELD))
        return _again(body)

    def _own_names(self, request: Request, access: Access) -> list[str]:
        """Return the names that these pages go by, beside the Host that was asked."""
        names = [self._state.public_url.partition("://")[2].partition("/")[0].lower()] if self._state.public_url else []
        if access.trusts(request.client.host if request.client else ""):
            names.append(request.headers.get("x-forwarded-host", "").lower())
        return [name for name in names if name]

    async def _refused(self, request: Request, refusal: ApiError) -> Response:
        path = request.url.path
        if path.startswith(PREFIX):
            response = answer(Refusal(refusal.message), refusal.status)
        elif refusal.status == 401 and self._state.access().has_tokens and request.method in _READS:  # noqa: PLR2004
            query = f"?{request.url.query}" if request.url.query else ""
            return RedirectResponse(f"/login?next={quote(path + query, safe='')}", 303)
        else:
            response = await self._page(refusal.status, refusal.message)
        if refusal.status == 401:  # noqa: PLR2004
            response.headers["www-authenticate"] = 'Bearer realm="shadowdiff"'
        elif refusal.status == 429:  # noqa: PLR2004
            response.headers["retry-after"] = "60"
        return response

    def _sending(self, send: Send, request: Request, seen: Visit, needs: Needs) -> Send:
        """Return a `send` that notes what was changed, and sets the cookie of a form that was laid out."""

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                if message["status"] < 400 and not seen.changed_nothing:  # noqa: PLR2004
                    await self._note(request, seen, needs)
                if seen.minted_csrf:
                    MutableHeaders(scope=message).append(
                        "set-cookie", cookie(CSRF_COOKIE, seen.minted_csrf, secure=self.is_secure(request))
                    )
            await send(message)

        return sending

    async def _note(self, request: Request, seen: Visit, needs: Needs) -> None:
        if seen.change is None and needs == "write" and request.method not in _READS:
            seen.change = Change(f"{request.method} {request.url.path}")
        if seen.change is not None and self._state.audit is not None:
            await self._state.audit.note(seen)

    def is_secure(self, request: Request) -> bool:
        """Return whether the browser came by TLS, so that its cookies shall."""
        return is_secure(self._state, request)


def is_secure(state: WebState, request: Request) -> bool:
    """Return whether the browser came by TLS, so that its cookies shall."""
    forwarded = request.headers.get("x-forwarded-proto", "")
    trusted = state.access().trusts(request.client.host if request.client else "")
    public = state.public_url or ""
    return request.url.scheme == "https" or (trusted and forwarded == "https") or public.startswith("https://")


def cookie(name: str, value: str, *, secure: bool, max_age_s: int | None = None, same_site: str = "Strict") -> str:
    """Return a cookie that no script sees."""
    age = f"; Max-Age={max_age_s}" if max_age_s is not None else ""
    return f"{name}={value}; Path=/; HttpOnly; SameSite={same_site}{age}{'; Secure' if secure else ''}"


def _field(body: bytes, name: str) -> str:
    try:
        return parse_qs(body.decode(), max_num_fields=100).get(name, [""])[0]
    except ValueError:
        return ""


def _again(body: bytes) -> Receive:
    """Return a `receive` that tells a body that was read already."""
    told = False

    async def receive() -> dict[str, Any]:
        nonlocal told
        if told:
            return {"type": "http.disconnect"}
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive
