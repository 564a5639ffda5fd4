"""Whether a write was meant by who sends it: no other site can make a browser write here.

In: a request and who sends it.  Out: nothing, or a refusal.
Holds: what a browser sends along by itself (a login's cookie, a proxy's header, being on this machine) is never enough:
the request must come from these pages, which its Origin and Sec-Fetch-Site say, and bear the token of one of their
forms. A bearer token is sent by nobody unasked. Without access control, a caller that is no browser may write only from
this machine under its own name: a sidecar makes every caller look like this machine. A name that was bent to this
address (DNS rebinding) is kept out before, where the port is bound to loopback (`WebState.hosts`).
"""

from __future__ import annotations

import hmac
import ipaddress
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from shadowdiff.web.operation import PREFIX, ApiError

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.requests import Request

    from shadowdiff.web.visit import Visit

CSRF_HEADER: Final = "x-csrf-token"
FORM: Final = "application/x-www-form-urlencoded"
FORMS: Final = frozenset({FORM, "multipart/form-data", "text/plain"})
"""What a page of any site can make a browser send without asking."""
_OWN: Final = frozenset({"same-origin", "none"})


def check_origin(request: Request, also: Collection[str] = ()) -> None:
    """Let a request through that no other site made a browser send. Raises: ApiError 403, saying why not.

    also: further names that these pages go by.
    """
    headers, host = request.headers, request.headers.get("host", "")
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None and site not in _OWN:
        raise ApiError(403, f"sec-fetch-site is {site!r}: another site may not write here")
    if origin is not None and urlsplit(origin).netloc.lower() not in {host.lower(), *also}:
        raise ApiError(403, f"origin is {origin!r}: only pages of {host} may write here")


def check_place(request: Request) -> None:
    """Let a write through without credentials: of a browser, or of this machine. Raises: ApiError 403."""
    host = request.headers.get("host", "")
    local = _is_loopback(request.client.host if request.client else "") and _is_local_name(host)
    if request.headers.get("origin") is None and not local:
        raise ApiError(403, "writing is for this machine, and for browsers on these pages; forward the port to write")


def check_csrf(seen: Visit, given: str) -> None:
    """Let a request through that bears the token of a form of these pages. Raises: ApiError 403."""
    wanted = seen.caller.nonce or seen.given_csrf
    if not wanted or not hmac.compare_digest(wanted.encode(), given.encode("utf-8", "replace")):
        raise ApiError(403, "the form is too old, or not of these pages: load the page again and send it once more")


def is_ambient(request: Request, seen: Visit) -> bool:
    """Return whether a browser may have sent this by itself: then it must bear a form's token."""
    if seen.caller.by in {"login", "proxy"}:
        return True
    sent_by_browser = "origin" in request.headers or "sec-fetch-site" in request.headers
    is_form = content_kind(request) in FORMS and not request.url.path.startswith(PREFIX)  # the API takes JSON alone
    return seen.caller.by == "anonymous" and (sent_by_browser or is_form)


def content_kind(request: Request) -> str:
    """Return the media type of a request's body, without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _is_loopback(address: str) -> bool:
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address == ""  # a unix socket has no address
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found).is_loopback


def _is_local_name(host: str) -> bool:
    name = urlsplit(f"//{host}").hostname or ""
    return name == "localhost" or name.endswith(".localhost") or _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
