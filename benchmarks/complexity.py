"""Measure hostile bodies: time, memory and work units of one comparison, a line each.

Run: scripts/bench complexity [--json].  `units_per_ms` is the number of units per millisecond of CPU time. The
budget of a comparison (`Limits.work`), and the event loop's part of it, are based on the smallest one.
"""

from __future__ import annotations

import argparse
import base64
import json
import random
import time
import tracemalloc
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from unittest import mock

from google.protobuf import descriptor_pb2, struct_pb2

from shadowdiff.compare import Limits, compare
from shadowdiff.compare.protobuf import Descriptors
from shadowdiff.compare.work import Budget
from shadowdiff.model import Observation, Pair, Side
from shadowdiff.rules import compile_rules, parse_rules

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SIZE = 100_000
JSON = "application/json"
GRAPHQL = "application/graphql-response+json"
ROUTE = "POST /x"

Case = tuple[str, str, list[dict[str, Any]], bytes, bytes]


def main() -> None:
    """Measure every case and print a line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    parser.add_argument("--kilobytes", type=int, default=SIZE // 1000, help="size of each body")
    arguments = parser.parse_args()
    for name, media, rules, one, other in cases(arguments.kilobytes * 1000):
        line = measure(media, rules, one, other)
        if arguments.json:
            print(json.dumps({"case": name, **line}))
        else:
            print(f"{name:34}" + "  ".join(f"{key}={value}" for key, value in line.items()))


def measure(media: str, rules: list[dict[str, Any]], one: bytes, other: bytes) -> dict[str, Any]:
    """Return what one comparison costs and gives."""
    compiled = compile_rules(parse_rules(rules), NOW)
    pair = Pair(
        key=b"k", target="t", route=f"{ROUTE}#Items" if media == GRAPHQL else ROUTE,
        primary=_side(Side.PRIMARY, media, one), candidate=_side(Side.CANDIDATE, media, other),
    )  # fmt: skip
    messages = Descriptors(_descriptors(), [(ROUTE, "google.protobuf.Value")])
    spent: list[Budget] = []

    def recorded(units: int) -> Budget:
        spent.append(Budget(units))
        return spent[-1]

    limits = Limits()
    with mock.patch("shadowdiff.compare.finding.Budget", recorded):
        begun = time.process_time()
        result = compare(pair, compiled, limits, messages)
        ms = (time.process_time() - begun) * 1000
        units = limits.work - spent[-1].left if spent else 0
        tracemalloc.start()
        compare(pair, compiled, limits, messages)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return {
        "ms": round(ms, 2),
        "units": units,
        "units_per_ms": round(units / ms),
        "peak_mib": round(peak / (1 << 20), 1),
        "result": result.reason or str(result.result),
    }


def _descriptors() -> bytes:
    found = descriptor_pb2.FileDescriptorSet()
    struct_pb2.DESCRIPTOR.CopyToProto(found.file.add())
    return found.SerializeToString()


def _side(side: Side, media: str, body: bytes) -> Observation:
    headers = ((b"content-type", media.encode()),)
    return Observation(
        side=side, target="t", id="i", id_source="x", method="POST", path="/x", host="h", status=200, headers=headers,
        body=body, body_bytes=len(body),
    )  # fmt: skip


def cases(size: int) -> Iterator[Case]:
    """Yield bodies of about this size that are expensive to compare."""
    drawn = random.Random(7)
    yield from _nested()
    yield from _arrays(size, drawn)
    yield from _texts(size)
    yield from _forms(size)
    yield from _values(size)


def _nested() -> Iterator[Case]:
    for depth in (29, 250):
        one, other = (b"[" * depth + value + b"]" * depth for value in (b"1", b"5"))
        yield f"nested-{depth}-schema", JSON, [{"schema": "$"}], one, other
        yield f"nested-{depth}-unordered", JSON, [{"unordered": "$..*"}, {"ignore": "$..z"}], one, other
    one, other = (b'{"%s":' % (b"n" * 400) * 250 + value + b"}" * 250 for value in (b"1", b"2"))
    yield "nested-250-long-names", JSON, [], one, other
    one = b"[[1,2]," * 200 + b"0" + b"]" * 200
    other = b"[[2,1]," * 200 + b"0" + b"]" * 200
    yield "nested-200-reordered", JSON, [{"unordered": "$..*"}, {"tolerance": {"path": "$..*", "abs": 0.5}}], one, other


def _arrays(size: int, drawn: random.Random) -> Iterator[Case]:
    count = size // 6
    numbers = [drawn.randrange(100_000) for _ in range(count)]
    others = [drawn.randrange(100_000) for _ in range(count)]
    shuffled = drawn.sample(numbers, count)
    yield "numbers-all-differ", JSON, [], _json(numbers), _json(others)
    yield "numbers-shuffled", JSON, [], _json(numbers), _json(shuffled)
    near = {"tolerance": {"path": "$[*]", "abs": 2}}
    yield "numbers-tolerance", JSON, [near], _json(numbers), _json([n + 1 for n in numbers])
    yield "numbers-tolerance-shifted", JSON, [near], _json(numbers), _json([0, *numbers])
    yield (
        "numbers-tolerance-unordered",
        JSON,
        [near, {"unordered": "$"}],
        _json(numbers),
        _json([n + 1 for n in shuffled]),
    )
    yield "numbers-unordered-differ", JSON, [near, {"unordered": "$"}], _json(numbers), _json(others)
    yield "numbers-subset", JSON, [{"subset": "$"}], _json(numbers[1::2]), _json(numbers)
    yield "numbers-subset-shifted", JSON, [{"subset": "$"}], _json([*numbers[1:], 1]), _json(numbers)
    yield (
        "numbers-null-or-missing",
        JSON,
        [{"equivalent": {"path": "$[*]", "as": ["null", "missing"]}}],
        _json([None, 1] * (count // 2)),
        _json([1, None, None] * (count // 3)),
    )
    rows = [{"id": n, "seq": i, "v": drawn.random()} for i, n in enumerate(numbers[: size // 45])]
    moved = [{**row, "seq": row["seq"] + 1} for row in drawn.sample(rows, len(rows))]
    changed = [{**row, "v": 1} for row in moved]
    seq = {"ignore": "$[*].seq"}
    yield "rows-shuffled-unordered", JSON, [seq, {"unordered": "$"}], _json(rows), _json(moved)
    yield "rows-shuffled-keyed", JSON, [seq, {"key": {"path": "$", "by": ["id"]}}], _json(rows), _json(moved)
    yield "rows-changed-keyed", JSON, [seq, {"key": {"path": "$", "by": ["id"]}}], _json(rows), _json(changed)
    yield "rows-changed-unordered", JSON, [seq, {"unordered": "$"}], _json(rows), _json(changed)
    yield "rows-shifted-in-order", JSON, [seq], _json(rows), _json([{"id": 0, "seq": 0, "v": 0}, *rows])
    yield "rows-schema", JSON, [{"schema": "$"}], _json(rows), _json(moved[:-3])
    yield "rows-subset-unordered", JSON, [{"subset": "$"}, {"unordered": "$"}], _json(rows), _json(changed)
    wide = {f"m{i}": i for i in range(size // 14)}
    yield "members-all-differ", JSON, [], _json(wide), _json({name: value + 1 for name, value in wide.items()})
    twice = b"{" + b",".join(b'"a":%d' % i for i in range(size // 9)) + b"}"
    yield "members-repeated", JSON, [], twice, twice[:-2] + b"1}"
    digits = [drawn.randrange(10**300) for _ in range(size // 300)]
    yield "long-numbers-tolerance", JSON, [near], _json(digits), _json([n + 1 for n in digits])


def _texts(size: int) -> Iterator[Case]:
    page = "".join(f'<p class="c{i}">line {i} of the page</p>\n' for i in range(size // 40))
    yield "html-every-line-differs", "text/html", [], page.encode(), page.replace("line", "row").encode()
    masks = [{"mask": {"path": "text", "pattern": pattern}} for pattern in (r"\d+", "row|line", "c[0-9]")]
    yield "html-masked", "text/html", masks, page.encode(), page.replace("line", "row").encode()
    yield (
        "html-masked-unordered",
        "text/html",
        [*masks, {"unordered": "text"}],
        page.encode(),
        "".join(reversed(page.replace("line", "row").splitlines(keepends=True))).encode(),
    )
    yield "text-short-lines", "text/plain", [], b"a\n" * (size // 2), b"b\n" * (size // 2)
    words = " ".join(f"{i % 97}" for i in range(1300))[:3990]
    lines = max(1, size // 4000)
    yield "text-long-lines", "text/plain", [], f"{words}\n".encode() * lines, f"{words[::-1]}\n".encode() * lines
    yield "text-one-line", "text/plain", [], b"ab" * (size // 2), b"ab" * (size // 2 - 1) + b"xx"


def _forms(size: int) -> Iterator[Case]:
    xml = "<r>" + "".join(f"<i a='{i}'>v</i>" for i in range(size // 18)) + "</r>"
    yield "xml", "application/xml", [], xml.encode(), xml.replace("v<", "w<").encode()
    deep = "<a>" * 250 + "v" + "</a>" * 250
    yield "xml-deep", "application/xml", [], deep.encode(), deep.replace("v", "w").encode()
    form = "&".join(f"k{i}={i}" for i in range(size // 12))
    yield "form", "application/x-www-form-urlencoded", [], form.encode(), form.replace("=1", "=2").encode()
    ndjson = b"".join(b'{"i":%d}\n' % i for i in range(size // 10))
    yield "ndjson", "application/x-ndjson", [], ndjson, ndjson.replace(b":1", b":2")
    events = b"".join(b"data: %d\n\n" % i for i in range(size // 14))
    yield "events", "text/event-stream", [], events, events.replace(b" 1", b" 2")
    part = b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
    parts = part * (size // len(part)) + b"--b--\r\n"
    yield "multipart", "multipart/form-data; boundary=b", [], parts, parts.replace(b"\r\n1\r\n", b"\r\n2\r\n")


def _values(size: int) -> Iterator[Case]:
    """Yield bodies with as many values as their bytes allow."""
    for name, media, value in (
        ("messagepack-maps", "application/msgpack", b"\x80"),
        ("messagepack-keys", "application/msgpack", b"\x81\x01\x01"),
        ("cbor-maps", "application/cbor", b"\xa0"),
        ("cbor-bytes", "application/cbor", b"\x41\x01"),
    ):
        head = b"\xdd" if media.endswith("msgpack") else b"\x9a"
        body = head + (size // len(value)).to_bytes(4, "big") + value * (size // len(value))
        yield (
            name,
            media,
            [],
            body,
            body[:-1] + (b"\x02" if len(value) > 1 else b"\xc2" if head == b"\xdd" else b"\xf4"),
        )
    for name, text in (("flow", b"[" + b"1," * (size // 2) + b"%d]"), ("keys", b"?\n" * (size // 2) + b"? %d"),
                       ("deep", b"[" * 250 + b"1," * (size // 2 - 250) + b"%d" + b"]" * 250)):  # fmt: skip
        yield f"yaml-{name}", "application/yaml", [], text % 1, text % 2
    rows = b"a\n" + b"1\n" * (size // 2)
    yield "csv", "text/csv; header=present", [], rows, rows[:-2] + b"2\n"
    chunks = b'data: {"t":"x"}\n\n' * (size // 17)
    joins = [{"join": "$[*].data.t"}]
    yield "events-joined", "text/event-stream", joins, chunks, chunks.replace(b'"x"', b'"xx"', 1)
    inner = b"--b\r\nContent-Type: application/http\r\n\r\nHTTP/1.1 200 OK\r\n\r\n\r\n" * (size // 70) + b"--b--"
    yield "multipart-http", "multipart/mixed; boundary=b", [], inner, inner.replace(b"200", b"201", 1)
    yield from _messages(size)


def _messages(size: int) -> Iterator[Case]:
    """Yield messages in frames, in sequences and in other messages."""
    boundary = b"multipart/mixed; boundary=b%d"
    for levels in (1, 8):
        deep = b"x" * (size - 60 * levels)
        for level in range(levels, -1, -1):
            kind = boundary % (level + 1) if level < levels else b"text/plain"
            deep = b"--b%d\r\nContent-Type: %b\r\n\r\n%b\r\n--b%d--" % (level, kind, deep, level)
        yield f"multipart-nested-{levels}", "multipart/mixed; boundary=b0", [], deep, deep.replace(b"xx\r\n", b"xy\r\n")
    for name, line in (
        ("vary", b"Vary: a,b,c\r\n"),
        ("cookies", b"Set-Cookie: a=1;Path=/\r\n"),
        ("urls", b"Link: <http://h/a>\r\n"),
        ("names", b"%d:\r\n"),
    ):
        lines = b"".join(line % at if b"%" in line else line for at in range(size // len(line)))
        head = b"HTTP/1.1 200 OK\r\n" + lines
        yield f"http-{name}", "application/http", [], head + b"\r\n1", head + b"\r\n2"
    part = b"--b\r\nVary: a\r\nSet-Cookie: a=1\r\nLocation: /x\r\nExpires: 0\r\n\r\n\r\n"
    parts = part * (size // len(part)) + b"--b--"
    yield "multipart-headers", "multipart/mixed; boundary=b", [], parts, parts.replace(b": a\r", b": b\r", 1)
    message = b"\x32" + _size(size - 20) + b"\x0a\x00" * ((size - 20) // 2)
    for kind in ("application/proto", "application/grpc", "application/grpc-web", "application/grpc-web-text"):
        framed, other = message, message + b"\x08\x00"
        if "grpc" in kind:
            framed, other = (b"\0" + len(each).to_bytes(4, "big") + each for each in (framed, other))
        if "text" in kind:
            framed, other = base64.b64encode(framed), base64.b64encode(other)
        yield kind.removeprefix("application/"), kind, [], framed, other
    frames = bytes(5) * (size // 5)
    yield "grpc-web-frames", "application/grpc-web", [], frames, frames[:-5] + b"\0\0\0\0\x01x"
    yield "json-seq", "application/json-seq", [], b"\x1e{}\n" * (size // 4), b"\x1e{}\n" * (size // 4 - 1) + b"\x1e[]\n"
    errors = b'{"errors":[' + b"{}," * (size // 3) + b'{}],"data":%d}'
    yield "graphql-errors", GRAPHQL, [], errors % 1, errors % 2


def _size(count: int) -> bytes:
    """Return a varint."""
    found = bytearray()
    while count > 0x7F:
        found.append(count & 0x7F | 0x80)
        count >>= 7
    return bytes([*found, count])


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


if __name__ == "__main__":
    main()
