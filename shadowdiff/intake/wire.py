"""What of HTTP/1.1 needs no connection: a request's target, an answer's head, a peer's address.

Source: RFC 9112, sections 3.2 and 4.
"""

from __future__ import annotations

import http
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import asyncio

    from shadowdiff.intake.headers import RawHeaders


def address_of(transport: asyncio.BaseTransport, name: str) -> tuple[str, int] | None:
    """Return `peername` or `sockname`, where it is a host and a port."""
    found = cast("tuple[str, int] | str | None", transport.get_extra_info(name))
    return (found[0], found[1]) if isinstance(found, tuple) else None


def path_and_query(url: bytes) -> tuple[bytes, bytes]:
    """Return path and query of a request target, in whichever of its four forms. Source: RFC 9112, section 3.2."""
    if url[:1] != b"/" and b"://" in url:
        after = url.partition(b"://")[2]
        slash = after.find(b"/")
        url = after[slash:] if slash >= 0 else b"/" + after[after.find(b"?") :] if b"?" in after else b"/"
    path, _, query = url.partition(b"?")
    return path, query


_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in http.HTTPStatus}


def head_of_answer(status: int, headers: RawHeaders, *, keep_alive: bool) -> bytes:
    """Return the bytes of an answer up to its body."""
    lines = [b"%b: %b\r\n" % each for each in headers]
    if not keep_alive:
        lines.append(b"connection: close\r\n")
    return b"".join((_LINES[status], *lines, b"\r\n"))
