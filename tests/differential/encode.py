"""Encode the values of a JSON case in other formats. The comparison must give the result of the JSON bodies.

The encoders share no code with shadowdiff. They choose at random between encodings that have the same value.
"""

from __future__ import annotations

import base64
import csv
import io
import json
import struct
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import msgspec
import yaml

from tests.differential.generate import MAX_ELEMENTS, Case, Rules, mutated, rule_for
from tests.differential.reference import ROUTE, Response
from tests.differential.vary import varied

if TYPE_CHECKING:
    from random import Random

GRAPHQL: Final = f"{ROUTE}#Items"
_MOST: Final = 2**63
_FIELDS: Final[tuple[str, ...]] = (
    "",
    "a",
    "A",
    "b",
    "1",
    "1.0",
    "2",
    "pod-1",
    "pod-2",
    'x "y", z',
    "10:01 a",
    "line\r\nline",
)
_FAILED: Final = [{"message": "m", "extensions": {"code": "INTERNAL_SERVER_ERROR"}}]
_ERRORS: Final[tuple[list[Any] | None, ...]] = (
    *(None, None, None, [], [{"message": "m"}], [{"message": "n"}], _FAILED),
    [{"message": "m", "extensions": {"code": "NOT_FOUND"}}],
)
_CONNECT: Final = ("application/proto", "application/protobuf")
_FRAMED: Final = ("application/grpc", "application/grpc-web", "application/grpc-web+proto")


class Encoded(NamedTuple):
    """Bodies with the values of a JSON case, and rules whose paths fit these bodies.

    bodies: v1's and v2's.  decided: the result if the format determines it without the values.
    """

    case: Case
    type: str
    bodies: Sequence[bytes]
    rules: Rules
    route: str = ROUTE
    decided: str = ""


Encoder = Callable[["Random", Case], Encoded | None]


def values(case: Case) -> tuple[Any, Any] | None:
    """Return both values if every format can express their numbers exactly; None otherwise."""
    if case.one.type != "application/json":
        return None
    read = [json.loads(side.body, parse_float=Decimal) for side in (case.one, case.other)]
    return (_floats(read[0]), _floats(read[1])) if all(map(_is_exact, read)) else None


def _is_exact(value: Any) -> bool:
    if isinstance(value, Decimal):
        return Decimal(float(value)) == value
    if isinstance(value, int):
        return -_MOST <= value < _MOST
    below = cast("dict[str, Any]", value).values() if isinstance(value, dict) else value
    return all(map(_is_exact, below)) if isinstance(value, (dict, list)) else True


def _floats(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _floats(below) for name, below in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return list(map(_floats, cast("list[Any]", value)))
    return float(value) if isinstance(value, Decimal) else value


def moved(rules: Rules, place: str) -> Rules:
    """Return the rules for a value that is at another place than the whole body."""
    return [{key: _moved(options, place) for key, options in rule.items()} for rule in rules]


def _moved(options: Any, place: str) -> Any:
    if isinstance(options, str):
        return place + options[1:] if options.startswith("$") else options
    if isinstance(options, dict):
        stated = cast("dict[str, Any]", options)
        return {key: _moved(text, place) if key in {"path", "from", "to"} else text for key, text in stated.items()}
    return options


def shuffled(random: Random, value: Any) -> Any:
    """Return the value with the members of its objects in another order."""
    if isinstance(value, list):
        return [shuffled(random, below) for below in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    members = [(name, shuffled(random, below)) for name, below in cast("dict[str, Any]", value).items()]
    random.shuffle(members)
    return dict(members)


def _each(kind: str, write: Callable[[Random, Any], bytes]) -> Encoder:
    """Return an encoder that writes each side alone."""

    def encode(random: Random, case: Case) -> Encoded | None:
        both = values(case)
        return both and Encoded(case, kind, [write(random, shuffled(random, each)) for each in both], case.rules)

    return encode


def _yaml(random: Random, value: Any) -> bytes:
    flow = random.choice([True, False, None])
    text = yaml.dump(value, Dumper=yaml.SafeDumper, default_flow_style=flow, sort_keys=False, explicit_start=flow)
    return text.encode()


# CBOR: RFC 8949


def _cbor(random: Random, value: Any) -> bytes:
    match value:
        case None | bool():
            return bytes([{False: 0xF4, True: 0xF5, None: 0xF6}[value]])
        case int():
            return _head(random, 0, value) if value >= 0 else _head(random, 1, -1 - value)
        case float():
            return b"\xfb" + struct.pack(">d", value)
        case str():
            return _cbor_text(random, value)
        case list():
            inside = [_cbor(random, below) for below in cast("list[Any]", value)]
            return _container(random, 4, len(inside), b"".join(inside))
        case _:
            members = cast("dict[str, Any]", value).items()
            inside = [_cbor(random, name) + _cbor(random, below) for name, below in members]
            return _container(random, 5, len(inside), b"".join(inside))


def _head(random: Random, major: int, number: int) -> bytes:
    """Return a head of any length that has room for the number."""
    fitting = [at for at in range(4) if number < 1 << (8 << at)]
    at = random.choice([-1, *fitting] if number < 24 else fitting)
    return bytes([major << 5 | number]) if at < 0 else bytes([major << 5 | 24 + at]) + number.to_bytes(1 << at, "big")


def _container(random: Random, major: int, count: int, inside: bytes) -> bytes:
    if random.random() < 0.3:
        return bytes([major << 5 | 31]) + inside + b"\xff"
    return _head(random, major, count) + inside


def _cbor_text(random: Random, text: str) -> bytes:
    if random.random() < 0.2:
        cut = random.randint(0, len(text))
        chunks = [part.encode() for part in (text[:cut], text[cut:])]
        return b"\x7f" + b"".join(_head(random, 3, len(chunk)) + chunk for chunk in chunks) + b"\xff"
    return _head(random, 3, len(text.encode())) + text.encode()


# Protocol Buffers: google.protobuf.Value, which has only floating-point numbers


def _with_floats(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _with_floats(below) for name, below in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return list(map(_with_floats, cast("list[Any]", value)))
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _field(number: int, content: bytes) -> bytes:
    size, length = len(content), bytearray()
    while size > 0x7F:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([number << 3 | 2, *length, size]) + content


def _message(random: Random, value: Any) -> bytes:
    match value:
        case None:
            return b"\x08\x00"
        case bool():
            return bytes([0x20, value])
        case float():
            return b"\x11" + struct.pack("<d", value)
        case str():
            return _field(3, value.encode())
        case list():
            return _field(6, b"".join(_field(1, _message(random, below)) for below in cast("list[Any]", value)))
        case _:
            members = cast("dict[str, Any]", value).items()
            entries = ([_field(1, name.encode()), _field(2, _message(random, below))] for name, below in members)
            return _field(5, b"".join(_field(1, b"".join(random.sample(entry, 2))) for entry in entries))


def _frame(message: bytes, flag: int = 0) -> bytes:
    return bytes([flag]) + len(message).to_bytes(4, "big") + message


def _protobuf(random: Random, case: Case) -> Encoded | None:
    both = values(case)
    if both is None:
        return None
    one, other = map(_with_floats, both)
    case = case._replace(one=case.one._replace(body=json.dumps(one)), other=case.other._replace(body=json.dumps(other)))
    bodies = [_message(random, shuffled(random, value)) for value in (one, other)]
    kind = random.choice([*_CONNECT, *_FRAMED, "application/grpc-web-text"])
    if kind not in _CONNECT:
        bodies = [_frame(body) for body in bodies]
    if "web" in kind:
        bodies = [body + _frame(b"grpc-status:0\r\n", 0x80) for body in bodies]
    if "text" in kind:
        bodies = [_base64(random, body) for body in bodies]
    return Encoded(case, kind, bodies, case.rules)


def _base64(random: Random, body: bytes) -> bytes:
    """Return a body in one or two pieces of base64, each with its own padding."""
    cut = random.randint(0, len(body))
    return b"".join(map(base64.b64encode, (body[:cut], body[cut:])))


# Messages in messages


def _multipart(random: Random, case: Case) -> Encoded | None:
    wraps = [random.choice(["part", "http"]), *random.choice([[], [], ["part"], ["http"]])]
    before = random.choice([0, 0, 1])
    place, kind, bodies = "$", "application/json", [side.body.encode() for side in (case.one, case.other)]
    if case.one.type != kind:
        return None
    for level, wrap in enumerate(wraps):
        if wrap == "http":
            bodies = [_http(random, body, kind) for body in bodies]
            kind, place = "application/http", f"$.body{place[1:]}"
        boundary = f"b{level}{random.choice('xy')}"
        bodies = [_parts(random, body, kind, boundary, before) for body in bodies]
        index = random.choice(["*", str(before)])
        kind, place = f"multipart/mixed; boundary={boundary}", f"$[{index}].body{place[1:]}"
    return Encoded(case, kind, bodies, moved(case.rules, place))


def _http(random: Random, body: bytes, kind: str) -> bytes:
    lines = [f"Content-Type: {kind}", f"Date: {random.random()}", "Vary: a, b", 'ETag: "1"']
    if random.random() < 0.5:
        lines = [lines[0].lower().replace("; ", ";"), f'eTag: "{random.random()}"', "vary: B,A"]
    random.shuffle(lines)
    start = random.choice(["HTTP/1.1 200 OK", "HTTP/1.1 200 Fine", "HTTP/1.0 200"])
    return "\r\n".join([start, *lines, "", ""]).encode() + body


def _parts(random: Random, body: bytes, kind: str, boundary: str, before: int) -> bytes:
    head = random.choice(["Content-Type: ", "content-type:"])
    parts = [b"\r\n\r\nx"] * before + [f"\r\n{head}{kind}\r\n\r\n".encode() + body]
    return b"".join(b"--%b%b\r\n" % (boundary.encode(), part) for part in parts) + f"--{boundary}--".encode()


# Sequences and tables


def _sequence(random: Random, case: Case) -> Encoded | None:
    both = values(case)
    if both is None or not all(isinstance(value, list) for value in both):
        return None
    kind = random.choice(["application/json-seq", "application/x-ndjson", "application/stream+json"])
    return Encoded(case, kind, [sequence(random, value, kind) for value in both], case.rules)


def sequence(random: Random, elements: Any, kind: str) -> bytes:
    """Return a body with one JSON text for each element."""
    texts = [json.dumps(shuffled(random, each)) for each in elements]
    if "seq" in kind:
        return "".join(f"\x1e{text}{random.choice([' ', chr(10)])}" for text in texts).encode()
    return "".join(f"{text}{random.choice(['', ' ', chr(13)])}\n" for text in texts).encode()


def _csv(random: Random, _: Case) -> Encoded | None:
    case = _case_of_tables(random)
    both = values(case)
    if both is None or not all(map(_is_table, both)):
        return None
    return Encoded(case, "text/csv; header=present", [_table(random, each) for each in both], case.rules)


def _case_of_tables(random: Random) -> Case:
    header = random.sample(["a", "b", "id", "at"], random.randint(1, 3))
    pool: list[str] = random.sample(_FIELDS, 4)
    one = {"header": header, "rows": [_row(random, header, pool) for _ in range(random.randint(0, 4))]}
    rules = [rule_for(random, one) for _ in range(random.choice([0, 1, 1, 2, 3]))]
    other = mutated(random, varied(random, one, rules), random.choice([0, 0, 1]))
    sides = [Response(200, {}, "application/json", json.dumps(value)) for value in (one, other)]
    return Case(sides[0], sides[1], rules)


def _row(random: Random, header: list[str], pool: list[str]) -> Any:
    if random.random() < 0.1:
        return [random.choice(pool)] * random.choice([0, len(header) + 1])
    return {name: random.choice(pool) for name in header}


def _is_table(value: Any) -> bool:
    if not isinstance(value, dict) or {*cast("dict[str, Any]", value)} != {"header", "rows"}:
        return False
    header, rows = cast("dict[str, Any]", value)["header"], cast("dict[str, Any]", value)["rows"]
    if not isinstance(header, list) or not isinstance(rows, list):
        return False
    header, rows = cast("list[Any]", header), cast("list[Any]", rows)
    if len(rows) > MAX_ELEMENTS or not header:
        return False
    return _are_texts(header) and len({*header}) == len(header) and all(_is_row(row, header) for row in rows)


def _is_row(row: Any, header: list[str]) -> bool:
    if isinstance(row, dict):
        members = cast("dict[str, Any]", row)
        return {*members} == {*header} and _are_texts(members.values())
    return isinstance(row, list) and _are_texts(row) and len(cast("list[Any]", row)) != len(header)


def _are_texts(fields: Any) -> bool:
    return all(isinstance(field, str) for field in fields)


def _table(random: Random, value: Any) -> bytes:
    quoting = csv.QUOTE_ALL if random.random() < 0.5 else csv.QUOTE_MINIMAL
    written = io.StringIO()
    writer = csv.writer(written, quoting=quoting, lineterminator=random.choice(["\r\n", "\n"]))
    header, rows = (cast("list[Any]", value[name]) for name in ("header", "rows"))
    writer.writerow(header)
    writer.writerows([row[name] for name in header] if isinstance(row, dict) else row for row in rows)
    return written.getvalue().encode()


def _graphql(random: Random, case: Case) -> Encoded | None:
    if case.one.type != "application/json":
        return None
    errors = random.choice(_ERRORS), random.choice(_ERRORS)
    if random.random() < 0.5:
        errors = errors[0], errors[0]
    bodies = [_result(side.body, found) for side, found in zip((case.one, case.other), errors, strict=True)]
    kind = random.choice(["application/json", "application/graphql-response+json"])
    rules = moved(case.rules, "$.data")
    sides = [side._replace(body=body) for side, body in zip((case.one, case.other), bodies, strict=True)]
    decided = ""
    if max(case.one.status, case.other.status) < 300:
        decided = "incomparable" if errors[0] == _FAILED else "mismatch" if bool(errors[0]) != bool(errors[1]) else ""
    case = Case(sides[0], sides[1], rules)
    return Encoded(case, kind, [body.encode() for body in bodies], rules, GRAPHQL, decided)


def _result(body: str, errors: list[Any] | None) -> str:
    return f'{{"data": {body}}}' if errors is None else f'{{"errors": {json.dumps(errors)}, "data": {body}}}'


ENCODERS: Final[dict[str, Encoder]] = {
    "MessagePack": _each("application/msgpack", lambda _, value: msgspec.msgpack.encode(value)),
    "CBOR": _each("application/cbor", _cbor),
    "YAML": _each("application/yaml", _yaml),
    "Protocol Buffers": _protobuf,
    "multipart": _multipart,
    "sequence": _sequence,
    "CSV": _csv,
    "GraphQL": _graphql,
}
"""The encoders by the name of the format. An encoder returns None if it cannot express a case."""
