"""Generate hostile HTTP/1.1: smuggling, overflow, truncated and invalid requests, and randomly changed bytes.

The same seed gives the same bytes, so a finding can be sent again. `strict_http.py` decides whether bytes after or
inside a request count as a request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    Shape = Callable[[random.Random], bytes]

PATHS = (b"/", b"/record", b"/records", b"/metrics", b"/healthz", b"/api/v1/ledger?target=shop", b"/api/v1/rules", b"*")
METHODS = (
    b"GET",
    b"POST",
    b"HEAD",
    b"OPTIONS",
    b"PUT",
    b"DELETE",
    b"CONNECT",
    b"PRI",
    b"get",
    b"M-SEARCH",
    b"\xff",
    b"",
)
VERSIONS = (
    b"HTTP/1.1",
    b"HTTP/1.0",
    b"HTTP/2.0",
    b"HTTP/0.9",
    b"HTTP/9.9",
    b"http/1.1",
    b"HTTP/1.1 ",
    b"HTTP/1.10",
    b"",
)
ODD = (b"\0", b"\r", b"\n", b"\t", b"\x0b", b"\x7f", b"\xff", b" ", b":", b"\r\n", b"\r\n ", b"%00", b"\xc3\x28")
LENGTHS = (
    b"0",
    b"5",
    b"-1",
    b"+5",
    b"0x5",
    b"5, 5",
    b"5, 6",
    b"1e3",
    b"",
    b" 5",
    b"5 5",
    b"99999999999999999999",
    b"5;a",
)
CODINGS = (
    b"chunked",
    b"Chunked",
    b"xchunked",
    b"chunked, identity",
    b"identity",
    b"gzip, chunked",
    b" chunked",
    b"chunked\x0b",
    b"\x00chunked",
    b'"chunked"',
    b"chunked, chunked",
    b"",
    b"chunked;q=1",
)
CHUNKS = (
    b"5\r\nhello\r\n0\r\n\r\n",
    b"5\r\nhello0\r\n\r\n",
    b"-1\r\nx\r\n0\r\n\r\n",
    b"FFFFFFFFFFFFFFFFF\r\nx",
    b"0x5\r\nhello\r\n",
    b'5;ext="\r\nhello\r\n0\r\n\r\n',
    b"5\nhello\n0\n\n",
    b" 5\r\nhello\r\n0\r\n\r\n",
    b"5\r\nhel",
    b"\r\n\r\n",
    b"g\r\n",
    b"0\r\nx: y\r\ncontent-length: 9\r\n\r\n",
    b"00000000000000000005\r\nhello\r\n0\r\n\r\n",
    b"1\r\nab\r\n0\r\n\r\n",
    b"5;" + b"e" * 70_000 + b"\r\nhello\r\n0\r\n\r\n",
    b"0\r\n" + b"t: v\r\n" * 3_000 + b"\r\n",
    b"1\r\nx\r\n" * 500 + b"0\r\n\r\n",
)


def smuggled(draw: random.Random) -> bytes:
    """Draw a request that only a careless parser sees, or one where a request is allowed."""
    ident = b"smuggled-%d" % draw.randrange(1 << 60)
    return b"GET /smuggled HTTP/1.1\r\nhost: shop\r\nx-diff-id: %b\r\nx-request-id: %b\r\n\r\n" % (ident, ident)


def _head(draw: random.Random, *fields: bytes) -> bytes:
    ident = b"%d" % draw.randrange(1 << 60)
    known = (
        b"host: shop", b"x-diff-id: " + ident, b"x-request-id: " + ident, b"x-shadowdiff-id: " + ident,
        b"x-shadowdiff-method: GET", b"x-shadowdiff-path: /", b"x-shadowdiff-host: shop", b"x-shadowdiff-status: 200",
    )  # fmt: skip
    kept = [field for field in known if draw.random() < 0.9]
    line = b" ".join((draw.choice(METHODS[:4]), draw.choice(PATHS), b"HTTP/1.1"))
    return b"\r\n".join((line, *kept, *fields)) + b"\r\n\r\n"


def _lengths(draw: random.Random) -> bytes:
    """Draw contradictory or invalid lengths."""
    fields = [b"content-length: " + draw.choice(LENGTHS) for _ in range(draw.randint(1, 3))]
    return _head(draw, *fields) + b"hello" + draw.choice((b"", smuggled(draw)))


def _both(draw: random.Random) -> bytes:
    """Draw Content-Length together with chunked encoding, in either order and in unusual spellings."""
    fields = [b"content-length: " + draw.choice(LENGTHS), b"transfer-encoding:" + draw.choice(CODINGS)]
    draw.shuffle(fields)
    return _head(draw, *fields) + draw.choice(CHUNKS) + draw.choice((b"", smuggled(draw)))


def _chunks(draw: random.Random) -> bytes:
    """Draw valid and invalid chunks."""
    return _head(draw, b"Transfer-Encoding: chunked") + draw.choice(CHUNKS) + draw.choice((b"", smuggled(draw)))


def _fields(draw: random.Random) -> bytes:
    """Draw fields with characters that no field may contain, and folded fields."""
    name = (
        b"x" + draw.choice(ODD) + b"y"
        if draw.random() < 0.5
        else b"x-shadowdiff-" + draw.choice((b"status", b"h-a", b""))
    )
    return _head(
        draw,
        name + draw.choice((b":", b" :", b"", b":\r\n ")) + draw.choice(ODD) + draw.choice((b"v", b"x-smuggled: v")),
        b"content-length: 0",
    )


def _lines(draw: random.Random) -> bytes:
    """Draw an invalid request line."""
    parts = (
        draw.choice(METHODS),
        draw.choice((*PATHS, b"/" + draw.choice(ODD), b"http://a b/", b"")),
        draw.choice(VERSIONS),
    )
    return (
        draw.choice((b" ", b"  ", b"\t", b"")).join(parts)
        + draw.choice((b"\r\n", b"\n", b"\r"))
        + b"host: shop\r\nx-request-id: %d\r\n\r\n" % draw.randrange(1 << 60)
    )


def _forms(draw: random.Random) -> bytes:
    """Draw rare but valid HTTP: other target forms, versions, upgrades and expectations."""
    line = draw.choice((
        b"GET http://shop/a HTTP/1.1", b"GET http://169.254.169.254/ HTTP/1.1", b"OPTIONS * HTTP/1.1",
        b"CONNECT shop:443 HTTP/1.1", b"GET //shop/a HTTP/1.1", b"GET /../../a HTTP/1.1", b"GET /a#b HTTP/1.1",
        b"POST /record HTTP/1.0", b"POST /records HTTP/1.0", b"PRI * HTTP/2.0", b"GET http://[::1 HTTP/1.1",
        b"GET " + b"/%2e" * 500 + b" HTTP/1.1",
    ))  # fmt: skip
    fields = draw.sample((
        b"expect: 100-continue", b"expect: x", b"connection: keep-alive", b"connection: close, upgrade",
        b"connection: upgrade", b"upgrade: h2c", b"upgrade: websocket", b"http2-settings: AAMAAABkAAQAAP__",
        b"content-length: 5", b"transfer-encoding: chunked", b"te: trailers", b"trailer: host", b"host: other",
    ), draw.randint(0, 5))  # fmt: skip
    end = draw.choice((b"\r\n", b"\r\n", b"\n"))
    return (
        end.join((line, b"host: shop", *fields)) + end * 2 + draw.choice((b"", b"hello", *CHUNKS[:3])) + smuggled(draw)
    )


def _huge(draw: random.Random) -> bytes:
    """Draw a head near or above the size limit."""
    size = draw.choice((1_000, 60_000, 70_000, 255_000, 300_000))
    kind = draw.randrange(3)
    if kind == 0:
        return b"GET /" + b"a" * size + b" HTTP/1.1\r\nhost: shop\r\n\r\n"
    if kind == 1:
        return _head(draw, b"x: " + b"v" * size)
    return _head(draw, *(b"x-%d: y" % number for number in range(size // 10)))


def _pipelined(draw: random.Random) -> bytes:
    """Draw many pipelined requests, valid and invalid."""
    shapes = (_lengths, _chunks, _fields, _lines)
    drawn = (smuggled(draw) if draw.random() < 0.9 else draw.choice(shapes)(draw) for _ in range(draw.randint(2, 100)))
    return b"".join(drawn)


def _noise(draw: random.Random) -> bytes:
    """Draw bytes that are not HTTP."""
    starts = (
        b"",
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"*3\r\n$3\r\nSET\r\n",
        b"\r\n" * 50,
    )
    return draw.choice(starts) + draw.randbytes(draw.randint(0, 300))


_LINE = b'{"id":"3","id_source":"x-diff-id","method":"GET","path":"/","host":"shop","status":200,"headers":[]}'


def _batch(draw: random.Random) -> bytes:
    """Draw a batch of records with invalid lines."""
    line = (
        b'{"id":"1","method":"GET","path":"/","host":"shop","status":200,"headers":[["a","b"]],"body_base64":"aGk="}',
        b"{}",
        b"[]",
        b"null",
        b'{"id":1}',
        b"{" * 5_000,
        b'{"x":' + b"[" * 100_000,
        b'{"x":' * 5_000,
        b'"',
        b"\xff\xfe",
        b'{"id":"\\ud800"}',
        b'{"id":"a","status":1e999}',
        _LINE.replace(b"200", b'200,"size":1000000000000000000000000000000'),
        _LINE.replace(b"200", b'200,"duration_ms":1e308'),
        _LINE.replace(b"200", b'200,"attempt":99999999999999999999'),
        _LINE.replace(b"[]", b"[" + b",".join([b'["a","b"]'] * 1_100) + b"]"),
        b'{"id":"2","method":"GET","path":"\\r\\nx: y","host":"shop","status":200}',
        b"9" * 5_000,
        b"",
    )
    body = b"\n".join(draw.choice(line) for _ in range(draw.randint(0, 20)))
    return b"POST /records HTTP/1.1\r\nhost: s\r\ncontent-length: %d\r\n\r\n" % len(body) + body


SHAPES: tuple[Shape, ...] = (_lengths, _both, _chunks, _fields, _lines, _forms, _huge, _pipelined, _noise, _batch)


def hostile(draw: random.Random) -> bytes:
    """Return the bytes of one connection: one kind of attack, often changed at random, often truncated."""
    sent = draw.choice(SHAPES)(draw)
    if sent and draw.random() < 0.5:
        changed = bytearray(sent)
        for _ in range(draw.randint(1, 4)):
            at = draw.randrange(len(changed))
            if draw.random() < 0.5:
                changed[at] = draw.randrange(256)
            else:
                changed[at:at] = draw.choice(ODD)
        sent = bytes(changed)
    return sent[: draw.randrange(len(sent) + 1)] if draw.random() < 0.25 else sent
