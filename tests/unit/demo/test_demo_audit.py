"""The audit compares ids with ids and counts with counts, and reports every disagreement."""

from __future__ import annotations

from shadowdiff.demo.api import Difference, Ledger, Sample
from shadowdiff.demo.audit import Evidence, FaultCount, ProxyDrops, audit, count_faults
from shadowdiff.demo.shop import (
    CATEGORY,
    ERROR_PRODUCT,
    FAULT_DIFFERENCES,
    STRING_AT,
    Fault,
    JournalEntry,
    PathKind,
    explains,
    faults_of,
)
from shadowdiff.demo.traffic import UserCounts

PRICE = FAULT_DIFFERENCES[Fault.WRONG_PRICE]
STRING = FAULT_DIFFERENCES[Fault.INTEGER_AS_STRING]


def _sample(name: str, *places: PathKind) -> Sample:
    return Sample(f"s-{name}", name, "GET /products/{id}", [Difference(p.path, p.path, p.kind) for p in places])


def _ledger(mismatch: int, *, orphaned: int = 0, received: int = 3, forwarded: int = 3) -> Ledger:
    return Ledger(
        balanced=True,
        mirrored={"received": received, "forwarded": forwarded, "blocked": 0, "in_flight": 0},
        recorded={"received": 3, "in_flight": 0},
        observations={"candidate": {"orphaned": orphaned, "waiting": 0}},
        pairs={"mismatch": mismatch, "incomparable": 0, "pending": 0},
        coverage={"ratio": 1.0},
    )


def _evidence(*requests: tuple[str, tuple[Fault, ...]]) -> Evidence:
    v1 = [JournalEntry(name, "GET", "/", 200) for name, _ in requests]
    v2 = [JournalEntry(name, "GET", "/", 200, tuple(map(str, faults))) for name, faults in requests]
    return Evidence(UserCounts(sent=len(requests)), v1, v2, ProxyDrops())


EVIDENCE = _evidence(("a", (Fault.WRONG_PRICE, Fault.INTEGER_AS_STRING)), ("b", ()), ("c", (Fault.WRONG_PRICE,)))


def test_all_planted_and_seen_is_sound() -> None:
    """Two faults in one request count once for each fault."""
    audited = audit(_ledger(2), [_sample("a", PRICE, STRING), _sample("c", PRICE)], EVIDENCE)

    assert audited.sound
    assert (FaultCount("wrong price", 2, 2, 0), FaultCount("integer as string", 1, 1, 0)) == (
        audited.faults[0],
        audited.faults[2],
    )


def test_a_fault_that_was_not_seen_is_reported() -> None:
    """The totals agree, but one id is missing."""
    audited = audit(_ledger(2), [_sample("a", PRICE, STRING), _sample("b", PRICE)], EVIDENCE)

    assert not audited.sound
    assert FaultCount("wrong price", 2, 1, 0) == audited.faults[0]
    assert audited.false_mismatches == 1


def test_an_id_is_excused_only_by_an_observation_without_a_partner() -> None:
    """One orphan in the ledger excuses one id in all its faults."""
    audited = audit(_ledger(1, orphaned=1), [_sample("c", PRICE)], EVIDENCE)

    assert (FaultCount("wrong price", 2, 1, 1), FaultCount("integer as string", 1, 0, 1)) == (
        audited.faults[0],
        audited.faults[2],
    )
    assert not any(
        count.complete for count in count_faults({**{key: {"x"} for key in Fault}}, {key: set() for key in Fault}, 0)
    )


def test_a_difference_next_to_the_planted_one_is_a_false_mismatch() -> None:
    """A difference that v2's journal does not explain is false, even if the pair has a planted one."""
    other = PathKind("$['name']", "value")
    audited = audit(_ledger(2), [_sample("a", PRICE, STRING, other), _sample("c", PRICE)], EVIDENCE)

    assert audited.false_mismatches == 1
    assert not audited.sound


def test_mismatches_that_are_not_listed_count_as_false() -> None:
    """If the ledger has more mismatches than samples, the rest cannot be checked."""
    audited = audit(_ledger(5), [_sample("a", PRICE, STRING), _sample("c", PRICE)], EVIDENCE)

    assert audited.false_mismatches == 3


def test_a_count_that_others_disagree_with_is_reported() -> None:
    """The report names both counts."""
    audited = audit(_ledger(2, received=2), [_sample("a", PRICE, STRING), _sample("c", PRICE)], EVIDENCE)

    assert [("copies of requests that shadowdiff received", 3, 2)] == [
        (one.what, one.expected, one.actual) for one in audited.disagreements
    ]
    assert not audited.sound


def test_a_copy_that_envoy_dropped_is_no_disagreement() -> None:
    """Envoy's circuit breaker rejected the copy, so the service cannot receive it."""
    with_drops = Evidence(EVIDENCE.users, EVIDENCE.v1, EVIDENCE.v2, ProxyDrops(copies=1))
    audited = audit(_ledger(2, received=2), [_sample("a", PRICE, STRING), _sample("c", PRICE)], with_drops)

    assert audited.sound


def test_faults_depend_only_on_id_and_product() -> None:
    """About one price in fifty is wrong, and every run has the same ones."""
    ids = [f"id-{number}" for number in range(10_000)]
    wrong = [name for name in ids if Fault.WRONG_PRICE in faults_of(name, 1, "books")]

    assert 150 < len(wrong) < 250
    assert wrong == [name for name in ids if faults_of(name, 1, "books")]
    assert (Fault.SERVER_ERROR,) == faults_of(wrong[0], ERROR_PRODUCT, CATEGORY)
    assert (Fault.WRONG_PRICE, Fault.MISSING_FIELD, Fault.INTEGER_AS_STRING) == faults_of(wrong[0], STRING_AT, CATEGORY)


def test_a_server_error_explains_every_difference_and_others_their_own() -> None:
    """A 500 also differs in body and type."""
    assert explains(Fault.SERVER_ERROR, PathKind("$['name']", "removed"))
    assert explains(Fault.WRONG_PRICE, PRICE)
    assert not explains(Fault.WRONG_PRICE, PathKind(PRICE.path, "type"))
