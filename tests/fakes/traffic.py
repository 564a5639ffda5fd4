"""Pairs and comparisons in the stages' input form, for tests of counts, samples and pages.

A test passes only the fields that matter. Fields that a test does not pass have plausible values.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import msgspec

from shadowdiff.model import Comparison, Difference, Kind, Observation, Pair, Result, Severity, Side

PRODUCT: dict[str, Any] = {
    "id": 17,
    "name": "Brass desk lamp",
    "category": "lighting",
    "price": 21.99,
    "currency": "EUR",
    "stock": 12,
    "tags": ["brass", "desk", "warm"],
    "dimensions": {"width": 14, "height": 42, "depth": 14, "unit": "cm"},
    "seller": {"id": 4, "name": "Lampenladen", "rating": 4.7, "city": "Leipzig"},
    "served_at": "2026-03-01T10:00:00Z",
}


def observation(
    side: Side, body: bytes = b"", *, content_type: bytes = b"application/json", **changes: Any
) -> Observation:
    """Return one side's response to `GET /products/17`."""
    whole = Observation(
        side=side,
        target="shop",
        id="0b6f1f64-8f0e-4d7e-9d0e-9c1f5a2b3c4d",
        id_source="x-diff-id",
        method="GET",
        path="/products/17?view=full",
        host="shop",
        status=200,
        headers=((b"content-type", content_type), (b"server", b"uvicorn")),
        body=body,
        body_bytes=len(body),
        duration_ms=4.2 if side is Side.PRIMARY else 6.8,
        at_ms=1_772_000_000_000,
        request_headers=((b"x-request-id", b"7d9f5e52-66a1-4c1e-8a55-000000000017"), (b"accept", b"application/json")),
    )
    return msgspec.structs.replace(whole, **changes)


def pair(
    primary: Observation | None = None, candidate: Observation | None = None, *, number: int = 1, **changes: Any
) -> Pair:
    """Return a pair whose pairing key is derived from `number`."""
    whole = Pair(
        key=hashlib.blake2b(str(number).encode(), digest_size=16).digest(),
        target="shop",
        route="GET /products/{id}",
        primary=primary or observation(Side.PRIMARY, json.dumps(PRODUCT).encode()),
        candidate=candidate or observation(Side.CANDIDATE, json.dumps(PRODUCT).encode()),
    )
    return msgspec.structs.replace(whole, **changes)


def difference(path: str = "$['price']", **changes: Any) -> Difference:
    """Return one difference: a changed price."""
    whole = Difference(
        path=path,
        pattern=path,
        kind=Kind.VALUE,
        primary="21.99",
        candidate="19.99",
        severity=Severity.VALUE,
    )
    return msgspec.structs.replace(whole, **changes)


def mismatch(*differences: Difference) -> Comparison:
    """Return a comparison with the given differences, by default a changed price."""
    return Comparison(result=Result.MISMATCH, differences=differences or (difference(),))


MATCH = Comparison(result=Result.MATCH)
