"""Read the two files of `compare` as response bodies or as recorded exchanges, and state how they were read.

A JSON body can look like an exchange. So two files are read as exchanges only if all their fields are fields of an
exchange. Fields that are not compared must also be equal, unless both files are complete. `--as` overrides this.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING, Any, Final, cast

import click

from shadowdiff.intake.record_parser import RecordLine
from shadowdiff.model import Observation, Side

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


TYPES: Final = {
    ".json": "application/json",
    ".ndjson": "application/x-ndjson",
    ".jsonl": "application/x-ndjson",
    ".xml": "application/xml",
    ".html": "text/html",
    ".htm": "text/html",
    ".txt": "text/plain",
    ".csv": "text/csv",
    ".md": "text/markdown",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
    ".cbor": "application/cbor",
    ".msgpack": "application/vnd.msgpack",
    ".sse": "text/event-stream",
    ".form": "application/x-www-form-urlencoded",
}
UNKNOWN_TYPE: Final = "application/octet-stream"
MEMBERS: Final = frozenset(RecordLine.__struct_fields__) | {"body"}
COMPARED: Final = frozenset({"status", "headers", "trailers", "body", "body_base64", "size"})
_WHOLE: Final = frozenset({"id", "id_source", "method", "path", "host", "status", "headers"})
Sides = tuple[Observation, Observation, str]


class _NotExchangeError(Exception):
    """A file is not a recorded exchange. is_alike: whether it looks like one, because it has an exchange's fields."""

    def __init__(self, reason: str, *, is_alike: bool = True) -> None:
        super().__init__(reason)
        self.is_alike = is_alike


def read_sides(v1: Path, v2: Path, content_type: str | None, read_as: str | None) -> Sides:
    """Return both files and a text that states how they were read. Raises: click.UsageError."""
    files = {Side.PRIMARY: v1, Side.CANDIDATE: v2}
    contents = {side: file.read_bytes() for side, file in files.items()}
    if content_type is not None and read_as == "exchange":
        raise click.UsageError("--content-type needs --as body, because an exchange has its own content-type header")
    if content_type is not None or read_as == "body":
        return _bodies(files, contents, content_type, "by --as body" if content_type is None else "by --content-type")
    found: dict[Side, Mapping[str, Any]] = {}
    reasons: list[str] = []
    for side, content in contents.items():
        try:
            found[side] = _exchange(content, is_explicit=read_as == "exchange")
        except _NotExchangeError as error:
            if read_as == "exchange":
                raise click.UsageError(f"{files[side]}: not a recorded exchange: {error}") from error
            reasons += [f"{files[side]} looks like a recorded exchange, but {error}"] if error.is_alike else []
    if len(found) < len(files):
        reasons += [f"only {files[side]} is a recorded exchange" for side in found]
    elif read_as is None and (lost := _lost(*found.values())):
        reasons.append(
            f"both look like recorded exchanges, but differ in {lost!r}, which a comparison of exchanges ignores"
        )
    if reasons or not found:
        return _bodies(files, contents, None, "; ".join(reasons[:1]))
    sides = {side: _from_exchange(files[side], side, exchange) for side, exchange in found.items()}
    skipped = sorted({name for exchange in found.values() for name in exchange} - COMPARED)
    without = f", without {', '.join(skipped)}" if skipped else ""
    how = "by --as exchange" if read_as else "--as body compares the files as JSON"
    reading = f"as recorded exchanges (status, headers, body{without}): {how}"
    return sides[Side.PRIMARY], sides[Side.CANDIDATE], reading


def _lost(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Return the name of a field that differs but is not compared; empty if both are complete records."""
    if one.keys() >= _WHOLE and other.keys() >= _WHOLE:
        return ""
    return next((name for name in sorted(one.keys() & other.keys() - COMPARED) if one[name] != other[name]), "")


def _bodies(files: Mapping[Side, Path], contents: Mapping[Side, bytes], content_type: str | None, why: str) -> Sides:
    types = {side: content_type or TYPES.get(file.suffix.lower(), UNKNOWN_TYPE) for side, file in files.items()}
    sides = {
        side: Observation(
            side=side, target="", id="", id_source="", method="GET", path="/", host="", status=200,
            headers=((b"content-type", types[side].encode()),), body=content, body_bytes=len(content),
        )
        for side, content in contents.items()
    }  # fmt: skip
    named = " and ".join(dict.fromkeys(types.values()))
    if content_type is None and UNKNOWN_TYPE in types.values():
        why = "; ".join(filter(None, (why, "the file name has no known extension: set the type with --content-type")))
    return sides[Side.PRIMARY], sides[Side.CANDIDATE], f"as bodies of {named}" + (f": {why}" if why else "")


def _exchange(content: bytes, *, is_explicit: bool) -> Mapping[str, Any]:
    repeated: list[str] = []

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) < len(pairs):
            repeated.append(next(name for name, _ in pairs if [one for one, _ in pairs].count(name) > 1))
        return made

    try:
        read = cast("object", json.loads(content, object_pairs_hook=members))
    except (ValueError, RecursionError) as error:
        raise _NotExchangeError("it is not JSON", is_alike=False) from error
    if not isinstance(read, dict):
        raise _NotExchangeError("it is not a JSON object", is_alike=False)
    found = cast("Mapping[str, Any]", read)
    has_body = isinstance(found.get("body"), str) or isinstance(found.get("body_base64"), str)
    if type(found.get("status")) is not int or not isinstance(found.get("headers"), (dict, list)) or not has_body:
        is_alike = {"status", "headers"} <= found.keys()
        raise _NotExchangeError("status, headers or body is missing or has the wrong type", is_alike=is_alike)
    unknown = [name for name in found if name not in MEMBERS]
    if unknown and not is_explicit:
        raise _NotExchangeError(f"an exchange has no field {unknown[0]!r}")
    if repeated:
        raise _NotExchangeError(f"the field {repeated[0]!r} occurs twice")
    return found


def _from_exchange(file: Path, side: Side, exchange: Mapping[str, Any]) -> Observation:
    try:
        text: Any = exchange.get("body")
        body = text.encode() if isinstance(text, str) else base64.b64decode(exchange["body_base64"], validate=True)
        size = exchange.get("size")
        return Observation(
            side=side,
            target="",
            id="",
            id_source="",
            method=str(exchange.get("method", "GET")).upper(),
            path=str(exchange.get("path", "/")),
            host=str(exchange.get("host", "")),
            status=exchange["status"],
            headers=tuple(_fields(exchange["headers"])),
            trailers=tuple(_fields(exchange.get("trailers", []))),
            body=body,
            body_bytes=len(body) if size is None else _size(size, len(body)),
        )
    except (TypeError, ValueError, binascii.Error) as error:
        raise click.UsageError(
            f"{file}: not a recorded exchange: {error}; status must be a number, headers an object or a list of pairs, "
            "body text, body_base64 base64, size a number. To compare the files as JSON, use --as body"
        ) from error


def _size(size: object, body_bytes: int) -> int:
    if type(size) is not int or size < body_bytes:
        raise ValueError(f"size is {size!r}, but the body has {body_bytes} bytes")
    return size


def _fields(headers: Any) -> Iterator[tuple[bytes, bytes]]:
    """Yield header fields. In an object, a list of values becomes several fields with the same name."""
    pairs: Any = cast("Mapping[str, Any]", headers).items() if isinstance(headers, dict) else headers
    for pair in pairs:
        if not isinstance(pair, (list, tuple)):
            raise TypeError(f"{pair!r} is not a header: write [name, value]")
        name, values = cast("list[object]", pair)
        several = cast("list[object]", values) if isinstance(values, list) else [values]
        for value in several:
            if not isinstance(name, str) or type(value) not in {str, int}:
                raise TypeError(f"the header {name!r} has the value {value!r}, which is neither text nor a number")
            yield name.lower().encode("latin-1"), str(value).encode("latin-1")
