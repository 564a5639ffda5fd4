"""The known ways to smuggle a request or a field past a parser that is less strict than the next one.

Each case has the bytes of one connection to the mirror port, and the allowed results.

Source: RFC 9112, section 11.2; RFC 9110, section 17.
"""

from __future__ import annotations

from typing import NamedTuple

FIRST, SECOND = "first-##", "second-##"
"""Ids. The last two characters are replaced by the case number; the length stays the same, so lengths stay right."""


class Case(NamedTuple):
    """The sent bytes, the requests in them that v2 may receive, and the response statuses."""

    sent: bytes
    arrives: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ("400",)


_IDS = "x-diff-id: {0}\r\nx-request-id: {0}\r\n"
_SECOND = f"GET /smuggled HTTP/1.1\r\nhost: shop\r\n{_IDS.format(SECOND)}x-smuggled: 1\r\n\r\n".encode()
_CHUNKED = "transfer-encoding: chunked"
_NO_CHUNKS = b"0\r\n\r\n"


def _first(*fields: str, line: str = "POST /first HTTP/1.1") -> bytes:
    lines = (line, "host: shop", f"x-diff-id: {FIRST}", f"x-request-id: {FIRST}", *fields, "", "")
    return "\r\n".join(lines).encode("latin-1")


def _lengths() -> dict[str, Case]:
    """Return requests with contradictory or invalid body lengths."""
    hidden = _NO_CHUNKS + _SECOND
    fields: dict[str, tuple[str, ...]] = {
        "a length before chunks": (f"content-length: {len(hidden)}", _CHUNKED),
        "chunks before a length": (_CHUNKED, f"content-length: {len(hidden)}"),
        "a length of 0 before chunks": ("content-length: 0", _CHUNKED),
        "two lengths": ("content-length: 0", f"content-length: {len(hidden)}"),
        "the same length twice": ("content-length: 5", "content-length: 5"),
        "lengths in a list": ("content-length: 5, 5",),
        "a length with a sign": ("content-length: +5",),
        "a length below 0": ("content-length: -1",),
        "a length in hex": ("content-length: 0x5",),
        "a length with a blank": ("content-length: 5 5",),
        "a length without digits": ("content-length: ",),
        "a length past 64 bits": ("content-length: 18446744073709551621",),
        "a length on two lines": ("content-length:", " 5"),
        "a length with a blank before the colon": ("content-length : 5",),
    }
    codings = (
        "xchunked", "chunked, identity", "chunked, chunked", "identity", "", '"chunked"', "chunked;q=1", "chunked\x0b",
        "\x00chunked", "\x0bchunked", "chunked,", "chunked\xa0",
    )  # fmt: skip
    fields |= {f"the coding {coding!r}": (f"transfer-encoding: {coding}",) for coding in codings}
    fields["a folded coding"] = ("transfer-encoding:", " chunked")
    fields["chunked, then identity"] = (_CHUNKED, "transfer-encoding: identity")
    fields["a coding with a blank before the colon"] = ("transfer-encoding : chunked",)
    return {name: Case(_first(*lines) + hidden) for name, lines in fields.items()}


def _bodies() -> dict[str, Case]:
    """Return requests inside bodies, chunks and trailers, which must stay body data."""
    first, one = (FIRST,), ("202",)
    length, last = f"content-length: {len(_SECOND)}", "connection: close"
    chunk = b"%x\r\n%b\r\n" % (len(_SECOND), _SECOND)
    in_chunks = {
        "LF alone after a size": b"5\nhello\r\n" + _NO_CHUNKS,
        "LF alone in an extension": b"5;a\nb\r\nhello\r\n" + _NO_CHUNKS,
        "a chunk longer than it says": b"1\r\nhello\r\n" + _NO_CHUNKS,
        "a chunk without an end": b"5\r\nhello" + _NO_CHUNKS,
        "a size in 0x": b"0x5\r\nhello\r\n" + _NO_CHUNKS,
        "a size below 0": b"-5\r\nhello\r\n" + _NO_CHUNKS,
        "a blank before a size": b" 5\r\nhello\r\n" + _NO_CHUNKS,
        "a size past 64 bits": b"10000000000000005\r\nhello\r\n" + _NO_CHUNKS,
        "a trailer with LF alone": b"0\r\nt: a\nx: y\r\n\r\n",
        "a folded trailer": b"0\r\nt: a\r\n b\r\n\r\n",
    }
    return {
        "a body that is a request": Case(_first(length) + _SECOND, first, one),
        "a GET with a body that is a request": Case(
            _first(length, line="GET /first HTTP/1.1") + _SECOND, first, one
        ),
        "a chunk that is a request": Case(_first(_CHUNKED) + chunk + _NO_CHUNKS, first, one),
        "a request in an extension": Case(
            _first(_CHUNKED) + b'5;x="GET /smuggled HTTP/1.1"\r\nhello\r\n' + _NO_CHUNKS, first, one
        ),
        "trailers that are fields": Case(
            _first(_CHUNKED) + b"0\r\nx-smuggled: 1\r\nhost: other\r\nx-request-id: other\r\n\r\n", first, one
        ),
        "a length in the trailers": Case(
            _first(_CHUNKED) + b"0\r\ncontent-length: %d\r\n\r\n" % len(_SECOND) + _SECOND
        ),
        "behind a last request": Case(_first(last) + _SECOND, first, one),
        "behind a request of HTTP/1.0": Case(_first(line="GET /first HTTP/1.0") + _SECOND, first, one),
        "behind an upgrade": Case(
            _first("connection: upgrade", "upgrade: h2c", "http2-settings: AAMAAABkAAQAAP__") + _SECOND, first, one
        ),
        "behind a tunnel": Case(_first(line="CONNECT shop:80 HTTP/1.1") + _SECOND, (), ("202",)),
        "behind a request that waits for 100 Continue": Case(
            _first("expect: 100-continue", "content-length: 5") + b"hello", first, one
        ),
        "two requests": Case(_first("content-length: 0") + _SECOND, (FIRST, SECOND), ("202", "202")),
        **{f"chunks: {name}": Case(_first(_CHUNKED) + chunks + _SECOND) for name, chunks in in_chunks.items()},
    }  # fmt: skip


def _fields() -> dict[str, Case]:
    """Return heads that have a field or a request inside one of their parts."""
    length = "content-length: 0"
    broken = {
        "CR in a value": "x: a\rx-smuggled: 1", "LF in a value": "x: a\nx-smuggled: 1",
        "NUL in a value": "x: a\x00x-smuggled: 1", "a folded value": "x: a\r\n x-smuggled: 1",
        "a value folded by a tab": "x: a\r\n\tx-smuggled: 1", "CR CR LF": "x: a\r\r\nx-smuggled: 1",
        "a field without a name": ": x-smuggled", "a field without a colon": "x-smuggled",
        "a blank in a name": "x y: x-smuggled", "NUL in a name": "x\x00y: x-smuggled",
        "a blank before the colon": "x-smuggled : 1", "a field that begins with a blank": " x-smuggled: 1",
    }  # fmt: skip
    lines = {
        "LF in the target": "GET /a\nx-smuggled:1 HTTP/1.1", "CR in the target": "GET /a\rx-smuggled:1 HTTP/1.1",
        "a blank in the target": "GET /a x HTTP/1.1", "a tab in the target": "GET /a\tx HTTP/1.1",
        "two versions": "GET / HTTP/1.1 HTTP/1.1", "no version": "GET /", "an invalid version": "GET / HTTP/1.10",
        "a version of long ago": "GET / HTTP/0.9", "a version that needs frames": "GET / HTTP/2.0",
    }  # fmt: skip
    hop_by_hop = "connection: close, host, content-length, x-shadowdiff, baggage, x-forwarded-host, x-secret"
    return {
        **{name: Case(_first(line, length)) for name, line in broken.items()},
        **{name: Case(_first(length, line=line)) for name, line in lines.items()},
        "connection names what is added": Case(
            _first(hop_by_hop, "x-secret: 1", "content-length: 5") + b"hello", (FIRST,), ("202",)
        ),
        "hosts that differ": Case(_first("host: other", length), (), ("202",)),
        "hosts that differ, the known one last": Case(
            _first("host: shop", length).replace(b"host: shop", b"host: other", 1), (FIRST,), ("202",)
        ),
        "an odd byte in a value": Case(_first("x: a\xff\xfe", length), (FIRST,), ("202",)),
    }  # fmt: skip


def cases() -> dict[str, Case]:
    """Return every case by name, each with its own ids."""

    def numbered(case: Case, number: str) -> Case:
        sent = case.sent.replace(b"##", number.encode())
        return case._replace(sent=sent, arrives=tuple(name.replace("##", number) for name in case.arrives))

    found = _lengths() | _bodies() | _fields()
    return {name: numbered(case, f"{number:02d}") for number, (name, case) in enumerate(found.items())}
