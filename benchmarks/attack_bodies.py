"""Bodies and rules that would cause unbounded work: for tests of a running service, and for `scripts/bench attacks`."""

from __future__ import annotations

import gzip
import json
import random
from dataclasses import dataclass
from typing import Any

JSON = "application/json"
WORDS = ("alpha", "beta", "gamma", "delta", "eps", "zeta", "eta", "theta")

Tree = dict[str, "Tree"] | int


@dataclass(frozen=True)
class Attack:
    """Two bodies, their media type, and their allowed results."""

    v1: bytes
    v2: bytes
    kind: str = JSON
    results: frozenset[str] = frozenset({"mismatch", "incomparable"})
    pairs: int = 2
    coding: str = "identity"


def _tree(depth: int, leaf: int) -> Tree:
    return {name: _tree(depth - 1, leaf) for name in "ab"} if depth else leaf


def _nested(depth: int, leaf: int) -> bytes:
    return b"[" * depth + b"%d" % leaf + b"]" * depth


def _page(seed: int) -> bytes:
    draw = random.Random(seed)
    return "\n".join(" ".join(draw.choice(WORDS) for _ in range(200)) for _ in range(100)).encode()


def _shuffled(seed: int) -> bytes:
    draw = random.Random(seed)
    elements = [{"id": number, "v": draw.randrange(3), "w": draw.randrange(3) + 10 * seed} for number in range(2000)]
    draw.shuffle(elements)
    return json.dumps(elements).encode()


def _numbers(seed: int) -> bytes:
    draw = random.Random(seed)
    return json.dumps([draw.random() for _ in range(100_000)]).encode()


def _zeros(digit: int) -> bytes:
    """Return 3 MB of JSON in 3 kB."""
    return gzip.compress(b"[%b%d]" % (b"0," * 1_500_000, digit))


def _form(digit: int) -> bytes:
    """Return a form with many names that may each name a secret."""
    return b"&".join(b"name%d%%41=%d" % (number, digit) for number in range(5000))


def _messages(digit: int) -> bytes:
    """Return the maximum number of gRPC messages, one byte each."""
    return b"\0\0\0\0\1%d" % digit * 60_000


def branching(count: int) -> list[dict[str, Any]]:
    """Return rules whose states differ after each path through a tree of `a` and `b`."""
    draw = random.Random(2)
    ways = ["".join(f"..{draw.choice('ab')}" for _ in range(60)) for _ in range(count)]
    return [{"tolerance": {"path": f"${way}.c{number}", "abs": 1}} for number, way in enumerate(ways)]


ATTACKS = {
    "rules": Attack(json.dumps(_tree(10, 1)).encode(), json.dumps(_tree(10, 2)).encode()),
    "nested": Attack(_nested(29, 1), _nested(29, 5), results=frozenset({"ignored", "incomparable"})),
    "html": Attack(_page(1), _page(2), "text/html; charset=utf-8"),
    "punycode": Attack(b"-" + b"a" * 90_000, b"-" + b"a" * 90_001, "text/plain; charset=punycode"),
    "unordered": Attack(_shuffled(1), _shuffled(2)),
    "required": Attack(_nested(200, 1), _nested(200, 2), results=frozenset({"incomparable"})),
    "decoding": Attack(_zeros(1), _zeros(2), coding="gzip"),
    "secrets": Attack(_form(1), _form(2), "application/x-www-form-urlencoded"),
    "messages": Attack(_messages(1), _messages(2), "application/grpc"),
    "large": Attack(_numbers(1), _numbers(2), pairs=20),
}
"""By request path."""

RULES = [
    *({**rule, "routes": ["GET /rules"]} for rule in branching(1000)),
    {"schema": "$", "routes": ["GET /nested"]},
    {"unordered": "$", "routes": ["GET /unordered"]},
    {"tolerance": {"path": "$[*].w", "abs": 1}, "routes": ["GET /unordered"]},
    {"require": "$" + "..*" * 10, "routes": ["GET /required"]},
]
"""The rules of the target for those paths."""

REQUESTS = {
    "a few long paths": [{"ignore": "$" + "..a" * 20 + ".b"}, {"ignore": "$" + "..a" * 40 + ".c"}],
    "a thousand long paths": branching(1000),
    "wildcards against descendants": [{"ignore": "$" + "..*" * 600}, {"ignore": "$" + ".*" * 600}] * 20,
    "a thousand patterns": [{"mask": {"path": "$..*", "pattern": f"(a|b)*a(a|b){{{n % 900}}}"}} for n in range(1000)],
}
"""Rules to preview."""

LIMITS = {"compare_ms": 10_000, "body": 4 << 20}
