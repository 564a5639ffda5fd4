"""Whatever lies in the stream gives a result."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
import pytest

from shadowdiff.compare import Limits
from shadowdiff.model import Comparison, Failure, Incr, Observation, Pair, Result, Side, Write
from shadowdiff.pairing import Claim, Codec
from shadowdiff.rules import parse_rules
from shadowdiff.worker import Judge, Lens
from shadowdiff.worker.judge import Judgement

if TYPE_CHECKING:
    from shadowdiff.worker.judge import Stage

CODEC = Codec(b"b" * 32)
KEY = b"k" * 16
RULES = parse_rules([{"ignore": "$.at", "reason": "clock"}])


def side(which: Side, body: bytes) -> bytes:
    """Return one encoded side."""
    return CODEC.encode(
        KEY,
        Observation(
            side=which, target="shop", id="i", id_source="x-diff-id", method="GET", path="/products/7?x=1",
            host="shop", status=200, headers=((b"content-type", b"application/json"),), body=body,
            body_bytes=len(body),
        ),
    )  # fmt: skip


def claim(primary: bytes, candidate: bytes, *, deliveries: int = 1, target: str = "shop") -> Claim:
    """Return a claim of two encoded sides."""
    return Claim(0, target, b"1-1", KEY, primary, candidate, None, 0.0, deliveries)


def judge(*stages: Stage) -> Judge:
    """Return a judge of one target."""
    made = Judge(CODEC, Limits(), stages)
    made.lenses = {"shop": Lens(("/products/{id}",), RULES)}
    return made


def judgement(of: Claim) -> Judgement:
    """Read and compare as the worker does."""
    read = judge().read(of)
    return read if isinstance(read, Judgement) else judge().compare(of, read, 0.0)


@pytest.mark.parametrize(
    ("primary", "candidate", "expected"),
    [
        (b'{"a": 1, "at": 1}', b'{"a": 1, "at": 1}', Result.MATCH),
        (b'{"a": 1, "at": 1}', b'{"a": 1, "at": 2}', Result.IGNORED),
        (b'{"a": 1, "at": 1}', b'{"a": 2, "at": 2}', Result.MISMATCH),
    ],
)
def test_a_pair_is_compared_under_its_targets_rules(primary: bytes, candidate: bytes, expected: Result) -> None:
    """The route comes from the template, without the query."""
    judged = judgement(claim(side(Side.PRIMARY, primary), side(Side.CANDIDATE, candidate)))
    assert (expected, "GET /products/{id}") == (judged.comparison.result, judged.pair.route)


def test_a_third_delivery_is_poison_and_is_not_even_read() -> None:
    """Two workers died over it; a third does not look."""
    judged = judgement(claim(b"", b"", deliveries=3))
    assert (Result.INCOMPARABLE, "poison") == (judged.comparison.result, judged.comparison.reason)


def test_what_cannot_be_read_is_incomparable_and_says_so() -> None:
    """Damage in the store becomes a result, not a crash."""
    judged = judgement(claim(b"\x07damaged", side(Side.CANDIDATE, b"{}")))
    assert "undecodable_observation" == judged.comparison.reason


def test_a_target_that_a_reload_removed_is_incomparable() -> None:
    """Its pairs are still booked."""
    judged = judgement(claim(side(Side.PRIMARY, b"{}"), side(Side.CANDIDATE, b"{}"), target="gone"))
    assert "unknown_target" == judged.comparison.reason


def test_every_stages_writes_go_with_the_result() -> None:
    """The ledger's write comes first, then each stage's, in order."""

    def stage(pair: Pair, comparison: Comparison, at_ms: int) -> tuple[Write, ...]:
        return (Incr(f"seen:{pair.target}:{comparison.result}", str(at_ms)),)

    made = judge(stage, stage)
    of = claim(side(Side.PRIMARY, b"{}"), side(Side.CANDIDATE, b"{}"))
    read = made.read(of)
    assert isinstance(read, Pair)
    judged = made.judged(made.compare(of, read, 0.0), 5)
    write = Incr("seen:shop:match", "5")
    assert (Incr("ledger:shop", "pairs.match"), write, write) == judged.writes


def with_third(control: bytes | None, failure: Failure | None = None) -> list[tuple[Result, Result]]:
    """Return what triple stages were told of a pair that differs: v2's result, and the control's."""
    told: list[tuple[Result, Result]] = []

    def stage(_pair: Pair, raw: Comparison, noise: Comparison) -> tuple[Write, ...]:
        told.append((raw.result, noise.result))
        return ()

    third = None
    if control is not None:
        read = CODEC.decode(KEY, side(Side.CONTROL, control))
        third = CODEC.encode(KEY, msgspec.structs.replace(read, failure=failure))
    of = claim(side(Side.PRIMARY, b'{"a": 1}'), side(Side.CANDIDATE, b'{"a": 2}'))
    of = replace(of, control=third)
    made = Judge(CODEC, Limits(), (), (stage,))
    made.lenses = {"shop": Lens(("/products/{id}",), RULES)}
    pair = made.read(of)
    assert isinstance(pair, Pair)
    made.judged(made.compare(of, pair, 0.0), 5)
    return told


def test_a_control_is_compared_with_the_same_primary_under_the_same_rules() -> None:
    """And told beside v2's comparison."""
    assert [(Result.MISMATCH, Result.MATCH)] == with_third(b'{"a": 1}')
    assert [(Result.MISMATCH, Result.IGNORED)] == with_third(b'{"a": 1, "at": 3}')


def test_without_an_answer_of_the_control_there_is_no_triple() -> None:
    """A control that is away shows nothing of v1's noise."""
    assert [] == with_third(None)
    assert [] == with_third(b"", Failure.REFUSED)
