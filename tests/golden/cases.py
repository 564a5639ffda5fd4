"""Read the golden cases: folders of two responses, rules, and the expected result.

`fixtures/pairs/<case>/` has `request.http`, `v1.http`, `v2.http`, `expected.json`, and optionally `rules.yaml` and
`settings.yaml`, which has settings of the target. A request file has a method, a path, and lines with header fields;
`:operation` names a GraphQL operation. A response file has a status line, fields, a blank line, and the body's bytes.
Fields whose name starts with a colon describe the transfer. `:coding` names a coding with which the body is encoded
before the comparison. `:authority` is the Host that v2 was sent. `:size` is the size of the sent body, if it is larger
than the body in the file. `:prefix` names v1's prefix of paths and the prefix that v2 receives. `:failure` means that
no response arrived.
"""

from __future__ import annotations

import gzip
import json
import zlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, cast

import brotli
import msgspec
import yaml
import zstandard

from shadowdiff.compare import Limits, compare
from shadowdiff.compare.compared_headers import ComparedHeaders
from shadowdiff.model import Comparison, Failure, Observation, Pair, Side
from shadowdiff.rules import CompiledRules, Router, compile_rules, parse_rules

CASES = Path(__file__).parents[2] / "fixtures" / "pairs"
NOW = datetime(2026, 6, 1, tzinfo=UTC)


class Case(NamedTuple):
    """A golden case that was read from a folder."""

    name: str
    pair: Pair
    rules: CompiledRules
    expected: dict[str, Any]
    limits: Limits = Limits()

    def compare(self) -> Comparison:
        """Compare the pair under the case's rules and settings."""
        return compare(self.pair, self.rules, self.limits)

    def complaint(self) -> str:
        """Return how the comparison differs from the expected result, or "" if they are equal."""
        said = spoken(self.compare())
        for key, value in self.expected.items():
            if said[key] != value:
                return f"{self.name}: {key}: expected {value!r}, got {said[key]!r}"
        return ""


def spoken(comparison: Comparison) -> dict[str, Any]:
    """Return a comparison in the format of the golden cases."""
    return {
        "result": str(comparison.result),
        "reason": comparison.reason,
        "unlisted": comparison.unlisted,
        "differences": [
            f"{difference.kind} {difference.path}" + (f" by {difference.rule}" if difference.rule else "")
            for difference in comparison.differences
        ],
        "severities": [str(difference.severity) for difference in comparison.differences],
        "values": [[difference.primary, difference.candidate] for difference in comparison.differences],
        "patterns": [difference.pattern for difference in comparison.differences],
    }


def names() -> list[str]:
    """Return the names of all cases."""
    return sorted(path.name for path in CASES.iterdir() if path.is_dir())


def load(name: str) -> Case:
    """Read one case."""
    folder = CASES / name
    line, *lines = (folder / "request.http").read_bytes().splitlines()
    method, path, *_ = line.decode().split()
    request = tuple((name.lower(), value.strip()) for name, colon, value in map(_field, lines) if colon)
    operation = dict(request).get(b":operation", b"").decode()
    rules = folder / "rules.yaml"
    declared = cast("list[object]", yaml.safe_load(rules.read_text())) if rules.exists() else []
    pair = Pair(
        key=b"golden",
        target="golden",
        route=Router(()).route(method, path, operation),
        primary=_observation(folder / "v1.http", Side.PRIMARY, method, path),
        candidate=msgspec.structs.replace(
            _observation(folder / "v2.http", Side.CANDIDATE, method, path), request_headers=request
        ),
    )
    expected = cast("dict[str, Any]", json.loads((folder / "expected.json").read_text()))
    settings = folder / "settings.yaml"
    named = cast("dict[str, dict[str, Any]]", yaml.safe_load(settings.read_text()) if settings.exists() else {})
    off = sorted(name for name, on in named.get("built_in_rules", {}).items() if not on)
    types = tuple(named.get("body_types", {}).items())
    headers = ComparedHeaders(**named.get("headers", {}))
    limits = Limits(body_types=types, built_in_off=tuple(off), headers=headers)
    return Case(name, pair, compile_rules(parse_rules(declared), NOW), expected, limits)


def _observation(file: Path, side: Side, method: str, path: str) -> Observation:
    head, _, body = file.read_bytes().partition(b"\n\n")
    status, *lines = head.split(b"\n")
    fields = [(name.lower(), value.strip()) for name, _, value in (_field(line) for line in lines)]
    transfer = {name: value.decode() for name, value in fields if name.startswith(b":")}
    if b":coding" in transfer:
        body = _coded(body, transfer[b":coding"])
    failure = transfer.get(b":failure")
    before, _, after = transfer.get(b":prefix", "").partition(" ")
    return Observation(
        side=side,
        target="golden",
        id="golden",
        id_source="x-request-id",
        method=method,
        path=path,
        host="shop.example",
        status=0 if failure else int(status.split()[1]),
        failure=Failure(failure) if failure else None,
        headers=tuple((name, value) for name, value in fields if not name.startswith(b":")),
        body=body,
        body_bytes=int(transfer.get(b":size", len(body))),
        authority=transfer.get(b":authority", ""),
        prefixes=((before, after),) if after else (),
    )


def _field(line: bytes) -> tuple[bytes, bytes, bytes]:
    if line.startswith(b":"):
        name, colon, value = line[1:].partition(b":")
        return b":" + name, colon, value
    return line.partition(b":")


def _coded(body: bytes, codings: str) -> bytes:
    for coding in codings.split():
        match coding:
            case "gzip":
                body = gzip.compress(body, mtime=0)
            case "deflate":
                body = zlib.compress(body)
            case "raw-deflate":
                stream = zlib.compressobj(wbits=-15)
                body = stream.compress(body) + stream.flush()
            case "br":
                body = brotli.compress(body)
            case "zstd":
                body = zstandard.ZstdCompressor().compress(body)
            case _:
                raise ValueError(f"{coding!r}: gzip, deflate, raw-deflate, br or zstd was expected")
    return body
