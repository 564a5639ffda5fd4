"""The current request to the web port: caller, source address, body, and what it changes.

A context variable contains the request, so that templates and handlers do not need to pass it. The author of a change
is the user that a token, a login or a trusted proxy identifies. A name typed in a form is put before that user's name.
"""

from __future__ import annotations

import secrets
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import parse_qs

import msgspec
from markupsafe import Markup

from shadowdiff.queries.errors import RequestError
from shadowdiff.web.access import NAME_CHARACTERS, Caller

if TYPE_CHECKING:
    from starlette.requests import Request

FORM: Final = "application/x-www-form-urlencoded"
CSRF_FIELD: Final = "csrf"
MAX_BODY_BYTES: Final = 1 << 20
MAX_FORM_FIELDS: Final = 20
NOBODY: Final = Caller("", "anonymous")
Decoded = TypeVar("Decoded")


@dataclass(slots=True)
class Change:
    """A change that a request makes, for the audit log."""

    action: str
    target: str = ""
    details: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(slots=True)
class RequestContext:
    """A request's caller and source address.

    given_csrf: the CSRF token in the request's cookie; empty if absent.
    minted_csrf: the CSRF token created for a form in this response, if the request had no token.
    change: the change to log; a write that sets no change is logged under its path.
    changed_nothing: set by a handler if the POST was only a preview.
    """

    caller: Caller = NOBODY
    source: str = ""
    given_csrf: str = ""
    minted_csrf: str = ""
    change: Change | None = None
    changed_nothing: bool = False

    def csrf(self) -> str:
        """Return the CSRF token for the forms in this response."""
        given = self.caller.nonce or self.given_csrf
        if not given and not self.minted_csrf:
            self.minted_csrf = secrets.token_urlsafe(16)
        return given or self.minted_csrf


CURRENT: ContextVar[RequestContext] = ContextVar("current_request")


def current_request() -> RequestContext:
    """Return the context of the current request, or an anonymous context if there is no request."""
    return CURRENT.get(None) or RequestContext()


def audit(action: str, target: str, **details: Any) -> None:
    """Record what the current request changed, for the audit log."""
    current_request().change = Change(action, target, details)


def csrf_field() -> Markup:
    """Return the hidden form field with the CSRF token."""
    return Markup('<input type="hidden" name="{}" value="{}">').format(CSRF_FIELD, current_request().csrf())


def content_kind(request: Request) -> str:
    """Return the media type of a request's body, without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_body(request: Request, name: str = "body") -> bytes:
    """Return the body. Raises: RequestError if it is too large."""
    whole = bytearray()
    async for part in request.stream():
        whole += part
        if len(whole) > MAX_BODY_BYTES:
            raise RequestError(413, f"the {name} is larger than {MAX_BODY_BYTES:,} bytes")
    return bytes(whole)


async def read_json(request: Request, shape: type[Decoded]) -> Decoded:
    """Return the body as a typed value. Raises: RequestError if the body is invalid."""
    try:
        return msgspec.json.decode(await read_body(request) or b"{}", type=shape)
    except RecursionError:
        raise RequestError(400, "the body is nested too deeply") from None
    except msgspec.DecodeError as error:
        raise RequestError(400, f"invalid body: {error}") from error


async def read_form(request: Request) -> dict[str, str]:
    """Return the fields of a form. Raises: RequestError if the body is not a form."""
    kind = content_kind(request)
    if kind != FORM:
        raise RequestError(415, f"content-type is {kind or 'missing'!r}: send a form, or JSON to the API")
    try:
        fields = parse_qs((await read_body(request)).decode(), max_num_fields=MAX_FORM_FIELDS)
    except ValueError as error:
        raise RequestError(400, f"invalid form: {error}") from error
    return {name: values[0] for name, values in fields.items()}


def author_of(typed: str) -> str:
    """Return the author of a change; empty if no user is identified and no name was typed."""
    typed, identified = typed.strip(), current_request().caller.name
    both = f"{typed} ({identified})" if typed and identified and typed != identified else typed or identified
    return both[:NAME_CHARACTERS]


def required_author(typed: str) -> str:
    """Return the author of a change. Raises: RequestError if the author is empty."""
    author = author_of(typed)
    if not author:
        raise RequestError(400, "author is missing: send your name as `author`")
    return author
