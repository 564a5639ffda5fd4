"""Accept or reject requests to the web port. Check the caller's role, check writes for CSRF, and log changes for audit.

A path without a declared operation also needs a role: `read` for GET and HEAD, `write` for other methods. Writes and
exports are audited before the response is sent. Hooks that cannot send headers check their own token. A request can use
only the targets of the role that it needs (`queries/visible.py`); until the caller is known, it can use none.

Writes that another site makes a browser send are rejected. Credentials that a browser sends automatically (a login
cookie, a proxy's header) are never enough. The Origin and Sec-Fetch-Site headers must show that the request comes from
these pages, and the request must carry a form's CSRF token. Bearer tokens need no such checks. Without access control,
a client that is not a browser can write only from this machine and under a local host name, because every client behind
a sidecar seems to be local. The Host check of a loopback port (`WebParts.hosts`) rejects DNS rebinding.
"""

from __future__ import annotations

import hmac
import logging
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, cast
from urllib.parse import parse_qs, quote, urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import compile_path

from shadowdiff.queries.errors import RequestError
from shadowdiff.queries.visible import VISIBLE
from shadowdiff.web.access import parse_address, peer_of
from shadowdiff.web.operation import PREFIX, ErrorMessage, Operation, json_response
from shadowdiff.web.request_context import CSRF_FIELD, CURRENT, FORM, Change, RequestContext, content_kind, read_body

if TYPE_CHECKING:
    import re
    from collections.abc import Collection, Iterable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from shadowdiff.web.access import Access, Caller, Role
    from shadowdiff.web.layout import Layout, WebParts

log = logging.getLogger(__name__)

LOGIN_COOKIE: Final = "shadowdiff_login"
CSRF_COOKIE: Final = "shadowdiff_csrf"
CSRF_HEADER: Final = "x-csrf-token"
FORMS: Final = frozenset({FORM, "multipart/form-data", "text/plain"})
"""Media types that any site's page can make a browser send without a CORS preflight."""
_READS: Final = frozenset({"GET", "HEAD"})
_UNAUTHORIZED, _TOO_MANY, _FIRST_ERROR = 401, 429, 400

Needs = Literal["public", "read", "write", "export", "own"]


class _Declared(NamedTuple):
    """The role that a path needs, and the role that it needs with a parameter."""

    method: str
    path: re.Pattern[str]
    needs: Needs
    by: dict[str, Role]


class AuthMiddleware:
    """ASGI middleware that accepts a request or rejects it with a one-line error."""

    def __init__(
        self, app: ASGIApp, *, layout: Layout, operations: Iterable[Operation], exports_by: Iterable[tuple[str, str]]
    ) -> None:
        """Take the declared operations, and the pages that are exports if a parameter is set."""
        self._app = app
        self._layout = layout
        self._web = layout.web
        self._declared = [
            *(_declared(one.method, PREFIX + one.path, one.needs, write=one.changes_by) for one in operations),
            *(_declared("GET", path, "read", export=(name,)) for path, name in exports_by),
            _declared("POST", "/logout", "read"),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        access = self._web.access()
        context = RequestContext(source=access.source(request), given_csrf=request.cookies.get(CSRF_COOKIE, "")[:64])
        token, visible = CURRENT.set(context), VISIBLE.set(frozenset())
        try:
            needs = self._needs_of(request)
            send = self._sending(send, request, context, needs)
            app = self._app
            try:
                receive = await self._let_in(request, access, context, needs)
            except RequestError as error:
                app = await self._rejected(request, access, error)
            await app(scope, receive, send)
        finally:
            VISIBLE.reset(visible)
            CURRENT.reset(token)

    def _needs_of(self, request: Request) -> Needs:
        path, method = request.scope["path"], request.method  # as the router reads it: `url.path` ends at an escaped ?
        if path == "/login" or (method in _READS and path.startswith("/static/")):
            return "public"
        for one in self._declared:
            if one.method == ("GET" if method == "HEAD" else method) and one.path.match(path):
                stronger: list[Needs] = [role for name, role in one.by.items() if request.query_params.get(name)]
                return stronger[0] if stronger else one.needs
        return "read" if method in _READS else "write"

    async def _let_in(self, request: Request, access: Access, context: RequestContext, needs: Needs) -> Receive:
        """Return the `receive` of a request that is accepted. Raises: RequestError if it is rejected."""
        if needs == "own":
            return request.receive
        if needs != "public":
            context.caller = self._caller(request, access, context.source)
            _check_role(context.caller, needs)
            VISIBLE.set(context.caller.roles[needs])
        if request.method in _READS:
            if needs == "write" and _is_ambient(request, context):
                check_origin(request)
            return request.receive
        return await self._check_write(request, access, context, needs)

    def _caller(self, request: Request, access: Access, source: str) -> Caller:
        """Return the caller. Raises: RequestError if the token is not configured."""
        named = access.of_proxy(request)
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if access.has_tokens and scheme.lower() == "bearer":
            found = access.check_token(given.strip(), source, self._web.now_s) or named
            if found is None:
                access.was_wrong(source, self._web.now_s)
                log.warning("rejected a wrong token", extra={"from": source, "path": request.url.path})
                raise RequestError(_UNAUTHORIZED, "the bearer token is not one of the configured tokens")
            return found
        login = access.of_login(request.cookies.get(LOGIN_COOKIE, ""))
        return login or named or access.anonymous

    async def _check_write(self, request: Request, access: Access, context: RequestContext, needs: Needs) -> Receive:
        """Check that no other site caused the write. Return a `receive` that replays the body if the check read it."""
        names = [urlsplit(self._web.queries.public_url or "").netloc]
        if access.is_proxied(request):
            names.append(request.headers.get("x-forwarded-host", ""))
        check_origin(request, [name.lower() for name in names if name])
        by = context.caller.by
        if needs == "write" and by == "anonymous" and not access.is_explicit:
            check_local(request)
        if not _is_ambient(request, context) and needs != "public":
            return request.receive
        if by in {"login", "proxy"} and not {"origin", "sec-fetch-site"} & set(request.headers.keys()):
            raise RequestError(403, "origin and sec-fetch-site are missing; a script must send a bearer token instead")
        if content_kind(request) != FORM:
            _check_csrf(context, request.headers.get(CSRF_HEADER, ""))
            return request.receive
        body = await read_body(request, "form")
        _check_csrf(context, request.headers.get(CSRF_HEADER) or _csrf_of(body))
        return _replay(body)

    async def _rejected(self, request: Request, access: Access, error: RequestError) -> Response:
        path = request.url.path
        if path.startswith(PREFIX):
            response = json_response(ErrorMessage(error.message), error.status)
        elif error.status == _UNAUTHORIZED and access.has_tokens and request.method in _READS:
            query = f"?{request.url.query}" if request.url.query else ""
            return RedirectResponse(f"/login?next={quote(path + query, safe='')}", 303)
        else:
            response = await self._layout.error(error.status, error.message)
        if error.status == _UNAUTHORIZED:
            response.headers["www-authenticate"] = 'Bearer realm="shadowdiff"'
        elif error.status == _TOO_MANY:
            response.headers["retry-after"] = "60"
        return response

    def _sending(self, send: Send, request: Request, context: RequestContext, needs: Needs) -> Send:
        """Return a `send` that first logs the change, and adds the CSRF cookie if a form needs it."""

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                if message["status"] < _FIRST_ERROR and not context.changed_nothing:
                    await self._log_change(request, context, needs)
                if context.minted_csrf:
                    minted = cookie(self._web, request, CSRF_COOKIE, context.minted_csrf)
                    MutableHeaders(scope=message).append("set-cookie", minted)
            await send(message)

        return sending

    async def _log_change(self, request: Request, context: RequestContext, needs: Needs) -> None:
        change = context.change
        if change is None and (needs == "export" or (needs == "write" and request.method not in _READS)):
            change = Change(f"{request.method} {request.url.path}")
        if change is not None and self._web.audit is not None:
            await self._web.audit.note(context, change)


def _declared(method: str, path: str, needs: Needs, **parameters: tuple[str, ...]) -> _Declared:
    by = {name: role for role in ("write", "export") for name in parameters.get(role, ())}
    return _Declared(method, compile_path(path)[0], needs, cast("dict[str, Role]", by))


def _check_role(caller: Caller, needs: Role) -> None:
    if needs in caller.roles:
        return
    if caller.by == "anonymous":
        raise RequestError(
            _UNAUTHORIZED, f"credentials are required to {needs}: send `Authorization: Bearer TOKEN`, or log in"
        )
    raise RequestError(403, f"{caller.name} needs the role {needs} for this request")


def check_origin(request: Request, also: Collection[str] = ()) -> None:
    """Check that no other site sent this request. Raises: RequestError 403.

    also: additional host names of these pages.
    """
    headers, host = request.headers, request.headers.get("host", "")
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None and site not in {"same-origin", "none"}:
        raise RequestError(403, f"sec-fetch-site is {site!r}: another site must not send writes to this service")
    if origin is not None and urlsplit(origin).netloc.lower() not in {host.lower(), *also}:
        raise RequestError(403, f"origin is {origin!r}: only pages of {host} can send writes to this service")


def check_local(request: Request) -> None:
    """Check that a write without credentials comes from a browser or from this machine. Raises: RequestError 403."""
    host = request.headers.get("host", "")
    address = parse_address(peer_of(request))
    is_loopback = address.is_loopback if address else peer_of(request) == ""  # a unix socket has no address
    if request.headers.get("origin") is None and not (is_loopback and _is_local_name(host)):
        raise RequestError(
            403,
            "a program on another machine needs a token to make changes: set `access.tokens`, or use a port forward",
        )


def _check_csrf(context: RequestContext, given: str) -> None:
    """Check that a request has the CSRF token of these pages' forms. Raises: RequestError 403."""
    expected = context.caller.nonce or context.given_csrf
    if not expected or not hmac.compare_digest(expected.encode(), given.encode("utf-8", "replace")):
        raise RequestError(403, "the form expired, or is not from these pages; reload the page and send it again")


def _is_ambient(request: Request, context: RequestContext) -> bool:
    """Return whether a browser could have sent this automatically, so that it needs a CSRF token."""
    if context.caller.by in {"login", "proxy"}:
        return True
    sent_by_browser = "origin" in request.headers or "sec-fetch-site" in request.headers
    is_form = content_kind(request) in FORMS and not request.url.path.startswith(PREFIX)  # the API accepts only JSON
    return context.caller.by == "anonymous" and (sent_by_browser or is_form)


def _is_local_name(host: str) -> bool:
    name = urlsplit(f"//{host}").hostname or ""
    return name == "localhost" or name.endswith(".localhost") or parse_address(name) is not None


def cookie(
    web: WebParts, request: Request, name: str, value: str, *, max_age_s: int | None = None, same_site: str = "Strict"
) -> str:
    """Return a cookie that scripts cannot read; if the browser uses TLS, it sends the cookie only over TLS."""
    is_forwarded = request.headers.get("x-forwarded-proto") == "https" and web.access().is_proxied(request)
    urls = (str(request.url), web.queries.public_url or "")
    is_secure = is_forwarded or any(url.startswith("https://") for url in urls)
    age = f"; Max-Age={max_age_s}" if max_age_s is not None else ""
    return f"{name}={value}; Path=/; HttpOnly; SameSite={same_site}{age}{'; Secure' if is_secure else ''}"


def _csrf_of(form: bytes) -> str:
    try:
        return parse_qs(form.decode(), max_num_fields=100).get(CSRF_FIELD, [""])[0]
    except ValueError:
        return ""


def _replay(body: bytes) -> Receive:
    """Return a `receive` that replays a body that was already read."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return messages.pop() if messages else {"type": "http.disconnect"}

    return receive
