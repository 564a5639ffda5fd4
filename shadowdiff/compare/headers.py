"""Compare header fields by what each means.

In: both sides' fields and what rules say of them.  Out: `header` differences, one per field (or cookie).
Holds: only allow-listed fields are compared; a field's own grammar decides what is equal, and nothing is split at
a comma that may be part of a value.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from shadowdiff.compare.fields import readings
from shadowdiff.compare.leaves import covers
from shadowdiff.compare.values import MISSING
from shadowdiff.model import Kind

if TYPE_CHECKING:
    from shadowdiff.compare.finding import Findings
    from shadowdiff.compare.limits import Limits
    from shadowdiff.model import Headers, Observation, Pair
    from shadowdiff.rules.compiled import Effect, RouteRules


GRPC_STATUS = b"grpc-status"
GRPC_FIELDS = frozenset({GRPC_STATUS, b"grpc-message", b"grpc-status-details-bin"})
"""gRPC's outcome, in the trailers; in the headers of an answer that has nothing else."""

Fields = list[tuple[bytes, bytes]]
"""Header fields in order, names in lower case."""


@lru_cache(maxsize=64)
def compared_names(names: tuple[str, ...]) -> frozenset[bytes]:
    """Return the fields to compare as bytes, with the coding, which the body's equality rests on."""
    return frozenset(name.encode() for name in names) | GRPC_FIELDS | {b"content-encoding", b"content-type"}


def fields_of(side: Observation) -> Headers:
    """Return a side's header fields, and of its trailers those that say how a gRPC call ended."""
    if not side.trailers:
        return side.headers
    return (*side.headers, *(field for field in side.trailers if field[0] in GRPC_FIELDS))


def relevant(primary: Headers, candidate: Headers, limits: Limits) -> tuple[Fields, Fields]:
    """Return the fields that a comparison rests on, in order: one list for both sides where they say the same."""
    names = compared_names(limits.headers)
    one = [field for field in primary if field[0] in names]
    other = [field for field in candidate if field[0] in names]
    return (one, one) if one == other else (one, other)


def value_of(headers: Fields | Headers, name: bytes) -> bytes:
    """Return the first value of a field; empty where there is none."""
    for field, value in headers:
        if field == name:
            return value
    return b""


def all_of(headers: Fields | Headers, name: bytes) -> list[bytes]:
    """Return the values of a field in order."""
    return [value for field, value in headers if field == name]


def hosts_of(pair: Pair) -> frozenset[str]:
    """Return the names that stand for the service itself in a pair."""
    return frozenset((pair.primary.host.lower(), pair.candidate.host.lower()))


def compare_headers(heads: tuple[Fields, Fields], hosts: frozenset[str], rules: RouteRules, findings: Findings) -> None:
    """Note the fields that differ, of those that a comparison rests on."""
    one, other = heads
    names = {name for name, _ in one} | {name for name, _ in other}
    for name in sorted(names - {b"content-encoding"}):
        left, right = all_of(one, name), all_of(other, name)
        if left == right:
            continue
        said, against = readings(name, left, hosts), readings(name, right, hosts)
        for part in [*said, *(part for part in against if part not in said)]:
            if said.get(part) != against.get(part):
                _note(name, part, (said.get(part), against.get(part)), rules, findings)


def _note(name: bytes, part: str, said: tuple[str | None, str | None], rules: RouteRules, findings: Findings) -> None:
    one, other = said
    effect = rules.headers.get(name)
    rule = _rule(effect, one, other) if effect else None
    path = f"header.{name.decode('latin-1')}" + (f"[{part!r}]" if part else "")
    findings.place(path, Kind.STATUS if name == GRPC_STATUS else Kind.HEADER, one, other, rule)


def _rule(effect: Effect, one: str | None, other: str | None) -> str | None:
    if effect.ignore:
        return effect.ignore
    left, right = MISSING if one is None else one, MISSING if other is None else other
    for leaf in effect.leaves:
        if covers(leaf, left, right) or (leaf.tolerance and covers(leaf, _number(one), _number(other))):
            return leaf.label
    return None


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 19 else None  # noqa: PLR2004
