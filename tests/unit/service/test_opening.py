"""What the report is given of Protocol Buffers: JSON, whose names say what is secret, and nothing else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from shadowdiff.compare import Limits
from shadowdiff.compare.protobuf import Descriptors
from shadowdiff.model import Comparison, Observation, Pair, Result, Side
from shadowdiff.service.opening import opening
from tests.fakes.shop_proto import SERVICE, Ask, Product, descriptor_set, framed

if TYPE_CHECKING:
    from shadowdiff.compare import Messages
    from shadowdiff.model import Write

GRPC = (b"content-type", b"application/grpc")
MESSAGES = Descriptors(descriptor_set())
ANSWER = framed(Product(sku="A1", unit_price=2**60).SerializeToString())
ASKED = framed(Ask(sku="A1").SerializeToString())


def side(which: Side, **changes: Any) -> Observation:
    """Return one side of a call."""
    stated: dict[str, Any] = {
        "side": which, "target": "shop", "id": "1", "id_source": "x-diff-id", "method": "POST",
        "path": f"{SERVICE}/Get", "host": "shop", "status": 200, "headers": (GRPC,), "body": ANSWER,
        "body_bytes": len(ANSWER), "trailers": ((b"grpc-status", b"0"),),
    }  # fmt: skip
    return Observation(**(stated | changes))


def given(result: Result, messages: Messages | None, **changes: Any) -> Pair:
    """Return the pair as the stage sees it."""
    seen: list[Pair] = []

    def stage(pair: Pair, _comparison: Comparison, _at_ms: int) -> tuple[Write, ...]:
        seen.append(pair)
        return ()

    asked = {"request_headers": (GRPC,), "request_body": ASKED}
    candidate = side(Side.CANDIDATE, **asked, **changes)
    pair = Pair(key=b"", target="shop", route="r", primary=side(Side.PRIMARY), candidate=candidate)
    opening(stage, lambda _target: messages, Limits())(pair, Comparison(result=result), 0)
    return seen[0]


def test_messages_are_given_as_json() -> None:
    """Of both answers and of the request, with the outcome beside the headers."""
    pair = given(Result.MISMATCH, MESSAGES)
    for answer in (pair.primary, pair.candidate):
        assert {"sku": "A1", "unitPrice": 2**60} == json.loads(answer.body)
        assert not answer.truncated
        assert (b"grpc-status", b"0") in answer.headers
        assert (b"content-type", b'application/json; from="application/grpc"') in answer.headers
    assert {"sku": "A1"} == json.loads(pair.candidate.request_body)


@pytest.mark.parametrize(("messages", "body"), [(None, ANSWER), (MESSAGES, b"\x00\x00\x00\x00\x02\x0a\xff")])
def test_what_nothing_reads_does_not_come_to_rest(messages: Messages | None, body: bytes) -> None:
    """And is known to be cut, so that no sample is taken for the whole."""
    answer = given(Result.MISMATCH, messages, body=body, body_bytes=len(body)).candidate
    assert (b"", True) == (answer.body, answer.truncated)


def test_a_match_and_other_bodies_are_given_as_they_are() -> None:
    """A match has no sample, and costs nothing here."""
    assert ANSWER == given(Result.MATCH, MESSAGES).primary.body
    plain = given(Result.MISMATCH, MESSAGES, headers=((b"content-type", b"text/plain"),), body=b"x", body_bytes=1)
    assert b"x" == plain.candidate.body
