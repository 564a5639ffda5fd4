"""Every claim gets a result, also if its data is damaged."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from shadowdiff.compare import ComparedHeaders, Limits
from shadowdiff.display.wording import REASONS
from shadowdiff.model import MOST_WORKERS, Comparison, Failure, Incr, Observation, Pair, Result, Side, Write
from shadowdiff.pairing.claim import Claim
from shadowdiff.pairing.codec import Codec
from shadowdiff.pairing.ledger import balance
from shadowdiff.rules import parse_rules
from shadowdiff.worker import Judge, TargetRules
from shadowdiff.worker.judge import INLINE_WORK, Judgement, inline_limits

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
    made.rules_by_target = {"shop": TargetRules(("/products/{id}",), RULES)}
    return made


def judgement(of: Claim) -> Judgement:
    """Read and compare as the worker does."""
    read = judge().read(of)
    return read if isinstance(read, Judgement) else compared(judge(), of, read)


def compared(made: Judge, of: Claim, pair: Pair) -> Judgement:
    """Compare a pair that fits in the event loop's budget."""
    judged = made.compare(of, pair, 0.0)
    assert judged is not None
    return judged


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


def test_a_third_delivery_is_poison_and_is_not_decoded() -> None:
    """Two workers did not finish the pair, so a third does not try. The page shows their number."""
    assert 2 == MOST_WORKERS
    assert "2 workers exited while they compared it" == REASONS["poison"]
    assert "undecodable_observation" == judgement(claim(b"", b"", deliveries=2)).comparison.reason
    judged = judgement(claim(b"", b"", deliveries=3))
    assert (Result.INCOMPARABLE, "poison") == (judged.comparison.result, judged.comparison.reason)


def test_an_undecodable_pair_is_incomparable_with_a_reason() -> None:
    """Damage in the store becomes a result, not a crash."""
    judged = judgement(claim(b"\x07damaged", side(Side.CANDIDATE, b"{}")))
    assert "undecodable_observation" == judged.comparison.reason


def test_a_target_that_a_reload_removed_is_incomparable() -> None:
    """Pairs of a removed target still count in the ledger."""
    judged = judgement(claim(side(Side.PRIMARY, b"{}"), side(Side.CANDIDATE, b"{}"), target="gone"))
    assert "unknown_target" == judged.comparison.reason


@pytest.mark.parametrize(
    ("method", "path", "body", "route"),
    [
        ("POST", "/graphql?x", b'{"query": "query A{a}"}', "POST /graphql#A"),
        ("POST", "/graphql", b'{"query": 1}', "POST /graphql#_unreadable"),
        ("POST", "/graphql", b"", "POST /graphql#_unknown"),
        ("GET", "/graphql?query=query+A{a}", b"", "GET /graphql#A"),
        ("GET", "/graphql", b"", "GET /graphql"),
        ("POST", "/products/7", b'{"query": "query A{a}"}', "POST /products/{id}"),
    ],
)
def test_the_route_of_a_graphql_request_is_its_operation(method: str, path: str, body: bytes, route: str) -> None:
    """The candidate's observation has the request. A recorded response does not, so its operation is unknown."""
    rules = TargetRules(("/products/{id}",), (), graphql=("/graphql",))
    headers = ((b"content-type", b"application/json"),)
    request = msgspec.structs.replace(
        CODEC.decode(KEY, side(Side.CANDIDATE, b"")),
        method=method,
        path=path,
        request_body=body,
        request_headers=headers,
    )
    assert route == rules.route_of(request)


@pytest.mark.parametrize(
    ("v1", "v2"),
    [
        ({"status": 200}, {"status": 0, "failure": Failure.WITHHELD}),
        ({"status": 304, "headers": ((b"etag", b'"1"'),)}, {"status": 200, "headers": ((b"etag", b'"2"'),)}),
    ],
)
def test_a_pair_without_anything_to_compare_does_not_lower_the_coverage(v1: dict[str, Any], v2: dict[str, Any]) -> None:
    """The ledger counts the pair, and that coverage excludes it, if the request was withheld, or v1 answered 304."""
    one, other = (
        CODEC.encode(
            KEY,
            Observation(
                side=which, target="shop", id="i", id_source="x-diff-id", method="GET", path="/", host="shop", **fields
            ),
        )
        for which, fields in ((Side.PRIMARY, v1), (Side.CANDIDATE, v2))
    )
    made = judgement(claim(one, other))
    judged, _ = judge().judged(made, 0)
    counted = ["pairs.incomparable", "coverage.outside"]
    assert [Incr("ledger:shop", field) for field in counted] == list(judged.writes)
    counts = {"primary.paired": 3, "pairs.ready": 3, "pairs.match": 2, "pairs.incomparable": 1, "coverage.outside": 1}
    assert {"eligible": 2, "compared": 2, "ratio": 1.0} == balance("shop", counts, 0)["coverage"]


def test_the_writes_of_every_stage_go_with_the_result() -> None:
    """The ledger's write comes first, then each stage's, in order."""

    def stage(pair: Pair, comparison: Comparison, at_ms: int) -> tuple[Write, ...]:
        return (Incr(f"seen:{pair.target}:{comparison.result}", str(at_ms)),)

    made = judge(stage, stage)
    of = claim(side(Side.PRIMARY, b"{}"), side(Side.CANDIDATE, b"{}"))
    read = made.read(of)
    assert isinstance(read, Pair)
    judged, later = made.judged(compared(made, of, read), 5)
    assert [] == later
    write = Incr("seen:shop:match", "5")
    assert (Incr("ledger:shop", "pairs.match"), write, write) == judged.writes


def triple_results(control: bytes | None, failure: Failure | None = None) -> list[tuple[Result, Result]]:
    """Return the arguments of triple stages for a pair that differs: v2's result, and the control's."""
    results: list[tuple[Result, Result]] = []

    def stage(_pair: Pair, raw: Comparison, noise: Comparison) -> tuple[Write, ...]:
        results.append((raw.result, noise.result))
        return ()

    third = None
    if control is not None:
        read = CODEC.decode(KEY, side(Side.CONTROL, control))
        third = CODEC.encode(KEY, msgspec.structs.replace(read, failure=failure))
    of = claim(side(Side.PRIMARY, b'{"a": 1}'), side(Side.CANDIDATE, b'{"a": 2}'))
    of = replace(of, control=third)
    made = Judge(CODEC, Limits(), (), (stage,))
    made.rules_by_target = {"shop": TargetRules(("/products/{id}",), RULES)}
    pair = made.read(of)
    assert isinstance(pair, Pair)
    made.judged(compared(made, of, pair), 5)
    return results


def test_a_control_is_compared_with_the_same_primary_under_the_same_rules() -> None:
    """Triple stages receive its comparison after v2's."""
    assert [(Result.MISMATCH, Result.MATCH)] == triple_results(b'{"a": 1}')
    assert [(Result.MISMATCH, Result.IGNORED)] == triple_results(b'{"a": 1, "at": 3}')


def test_without_a_response_of_the_control_there_is_no_triple() -> None:
    """Without the control, v1's noise is unknown."""
    assert [] == triple_results(None)
    assert [] == triple_results(b"", Failure.REFUSED)


@pytest.mark.parametrize("control", [None, b'{"a": 1, "b": 1}'])
def test_a_pair_that_needs_too_much_work_for_the_loop_gets_no_result_here(control: bytes | None) -> None:
    """After a pair that needs too much work, the next pair is compared as usual."""
    third = None if control is None else side(Side.CONTROL, control)
    of = replace(claim(side(Side.PRIMARY, b'{"at": 1}'), side(Side.CANDIDATE, b'{"at": 2}')), control=third)
    hurried = Judge(CODEC, Limits(work=1), ())
    hurried.rules_by_target = judge().rules_by_target
    pair = hurried.read(of)
    assert isinstance(pair, Pair)
    assert hurried.compare(of, pair, 0.0) is None
    assert Result.IGNORED is compared(judge(), of, pair).comparison.result


def test_a_comparison_on_the_loop_has_a_small_part_of_the_whole_budget() -> None:
    """The budget is a few milliseconds, or the configured limit if it is smaller."""
    assert (INLINE_WORK, INLINE_WORK // 2) == (inline_limits(Limits(), 1).work, inline_limits(Limits(), 2).work)
    assert INLINE_WORK < Limits().work // 100
    assert 7 == inline_limits(Limits(work=7), 1).work


def test_a_pair_beyond_the_waiting_limit_is_incomparable() -> None:
    """A pair above the waiting limit has its own reason, unless it cannot be decoded."""
    of = claim(side(Side.PRIMARY, b"{}"), side(Side.CANDIDATE, b"{}"))
    assert "too_many_waiting" == judge().refused(of).comparison.reason
    assert "undecodable_observation" == judge().refused(replace(of, primary=b"\x07damaged")).comparison.reason


def test_rules_are_recompiled_only_if_one_expires() -> None:
    """Until then the automaton keeps its states."""
    expiring = parse_rules([{"ignore": "$.at"}, {"ignore": "$.b", "expires": "1970-01-01T00:05:00Z"}])
    target_rules = TargetRules((), expiring)
    first = target_rules.compiled(0.0)
    assert target_rules.compiled(120.0) is first
    assert [1] == [len(target_rules.compiled(400.0).rules)]


def test_a_target_has_its_own_compared_headers() -> None:
    """The target's header limits replace the judge's."""
    plain = judge()
    own = judge()
    own.rules_by_target = {
        "shop": TargetRules((), RULES, limits=Limits(headers=ComparedHeaders(exclude=("content-type",))))
    }
    sides = [
        CODEC.encode(
            KEY, msgspec.structs.replace(CODEC.decode(KEY, side(which, b"")), headers=((b"content-type", kind),))
        )
        for which, kind in ((Side.PRIMARY, b"text/html"), (Side.CANDIDATE, b"text/csv"))
    ]
    found: list[Result] = []
    for one in (plain, own):
        read = one.read(claim(*sides))
        assert isinstance(read, Pair)
        found.append(compared(one, claim(*sides), read).comparison.result)
    assert found == [Result.MISMATCH, Result.MATCH]
