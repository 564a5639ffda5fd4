"""Who may change something by the web port, until access control says more.

In: a request.  Out: nothing, or a refusal.
Holds: a browser's request counts only from these pages themselves (no other site can make it write), and one without a
browser only from this machine under its own name: a sidecar makes every caller look like this machine. A name that was
bent to this address (DNS rebinding) is kept out before, where the port is bound to loopback (`WebState.hosts`).
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from shadowdiff.web.operation import ApiError

if TYPE_CHECKING:
    from starlette.requests import Request

_OWN: Final = frozenset({"same-origin", "none"})


def check_write(request: Request) -> None:
    """Let a write through. Raises: ApiError 403, saying why not."""
    headers, host = request.headers, request.headers.get("host", "")
    local = _is_loopback(request.client.host if request.client else "") and _is_local_name(host)
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None and site not in _OWN:
        raise ApiError(403, f"sec-fetch-site is {site!r}: another site may not write here")
    if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
        raise ApiError(403, f"origin is {origin!r}: only pages of {host} may write here")
    if origin is None and not local:
        raise ApiError(403, "writing is for this machine, and for browsers on these pages; forward the port to write")


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
