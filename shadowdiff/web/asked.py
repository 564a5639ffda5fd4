"""What handlers read of a request, alike everywhere: the target, a body as JSON, who says so.

In: a name, a request, what somebody typed.  Out: checked values.
Holds: a refusal is one line that says what would be right; a body has a bound. Whoever is identified, by a token, a
login or a trusted proxy, is the author of what they change: a name that came along stands before theirs, never in its
place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from shadowdiff.web.operation import ApiError
from shadowdiff.web.visit import visit

if TYPE_CHECKING:
    from starlette.requests import Request

    from shadowdiff.web.state import TargetView, WebState

MAX_BODY_BYTES: Final = 1 << 20
NAME_CHARS: Final = 200


def known(state: WebState, name: str) -> TargetView:
    """Return a target by name. Raises: ApiError, listing the names there are."""
    view = state.target(name)
    if view is None:
        raise ApiError(404, f"no target is called {name!r}: configured are {', '.join(state.names) or 'none'}")
    return view


async def payload(request: Request, what: str = "body") -> bytes:
    """Return the body, called `what` in a refusal. Raises: ApiError where it is too large."""
    whole = b""
    async for part in request.stream():
        whole += part
        if len(whole) > MAX_BODY_BYTES:
            raise ApiError(413, f"the {what} is larger than {MAX_BODY_BYTES:,} bytes")
    return whole


def decoded(body: bytes, shape: type[Any]) -> Any:
    """Return a body as a typed value. Raises: ApiError, saying what is wrong with it."""
    try:
        return msgspec.json.decode(body or b"{}", type=shape)
    except RecursionError:
        raise ApiError(400, "the body is nested too deeply") from None
    except msgspec.DecodeError as error:
        raise ApiError(400, f"the body is not what is expected: {error}") from error


def author_of(typed: str) -> str:
    """Return under which name a change is noted; empty where nobody is identified and nothing was typed."""
    typed, identified = typed.strip(), visit().caller.name
    if not identified or typed == identified:
        return typed[:NAME_CHARS]
    return f"{typed} ({identified})"[:NAME_CHARS] if typed else identified[:NAME_CHARS]


def named_author(typed: str) -> str:
    """Return who says so. Raises: ApiError where nobody does."""
    author = author_of(typed)
    if not author:
        raise ApiError(400, "say who you are (`author`), so that others know whom to ask")
    return author
