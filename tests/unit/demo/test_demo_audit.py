"""The audit: ids against ids, and sums against sums; each way to be wrong is told."""

from __future__ import annotations

from shadowdiff.demo.api import Difference, Ledger, Sample
from shadowdiff.demo.audit import Finding, Lost, Witnesses, audit, find
from shadowdiff.demo.fault import CATEGORY, ERROR_PRODUCT, PLACES, STRING_AT, Fault, Seen, explains, faults_of
from shadowdiff.demo.shop import Entry
from shadowdiff.demo.traffic import Tally

PRICE = PLACES[Fault.WRONG_PRICE]
STRING = PLACES[Fault.INTEGER_AS_STRING]


def _sample(name: str, *places: Seen) -> Sample:
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


def _witnesses(*spoiled: tuple[str, tuple[Fault, ...]]) -> Witnesses:
    v1 = [Entry(name, "GET", "/", 200) for name, _ in spoiled]
    v2 = [Entry(name, "GET", "/", 200, tuple(map(str, faults))) for name, faults in spoiled]
    return Witnesses(Tally(sent=len(spoiled)), v1, v2, Lost())


WITNESSES = _witnesses(("a", (Fault.WRONG_PRICE, Fault.INTEGER_AS_STRING)), ("b", ()), ("c", (Fault.WRONG_PRICE,)))


def test_all_planted_and_seen_is_sound() -> None:
    """Two faults in one request count for each."""
    held = audit(_ledger(2), [_sample("a", PRICE, STRING), _sample("c", PRICE)], WITNESSES)

    assert held.sound
    assert (Finding("wrong price", 2, 2, 0), Finding("integer as string", 1, 1, 0)) == (
        held.findings[0],
        held.findings[2],
    )


def test_a_fault_that_was_not_seen_is_told() -> None:
    """The totals of pairs agree, and one id is missing all the same."""
    held = audit(_ledger(2), [_sample("a", PRICE, STRING), _sample("b", PRICE)], WITNESSES)

    assert not held.sound
    assert Finding("wrong price", 2, 1, 0) == held.findings[0]
    assert held.false_mismatches == 1


def test_an_id_is_excused_only_by_an_observation_that_stayed_alone() -> None:
    """One orphan in the ledger excuses one id, in each of its faults."""
    held = audit(_ledger(1, orphaned=1), [_sample("c", PRICE)], WITNESSES)

    assert (Finding("wrong price", 2, 1, 1), Finding("integer as string", 1, 0, 1)) == (
        held.findings[0],
        held.findings[2],
    )
    assert not any(
        finding.complete for finding in find({**{key: {"x"} for key in Fault}}, {key: set() for key in Fault}, 0)
    )


def test_a_difference_beside_the_planted_one_is_a_false_mismatch() -> None:
    """What v2 does not own up to is false, though the pair differs rightly elsewhere."""
    other = Seen("$['name']", "value")
    held = audit(_ledger(2), [_sample("a", PRICE, STRING, other), _sample("c", PRICE)], WITNESSES)

    assert held.false_mismatches == 1
    assert not held.sound


def test_mismatches_that_are_not_listed_count_as_false() -> None:
    """A ledger with more mismatches than samples cannot be vouched for."""
    held = audit(_ledger(5), [_sample("a", PRICE, STRING), _sample("c", PRICE)], WITNESSES)

    assert held.false_mismatches == 3


def test_a_sum_that_others_counted_differently_is_told() -> None:
    """Names the sum, and both counts."""
    held = audit(_ledger(2, received=2), [_sample("a", PRICE, STRING), _sample("c", PRICE)], WITNESSES)

    assert [("copies received, of the requests sent", 3, 2)] == [
        (one.what, one.expected, one.actual) for one in held.disagreements
    ]
    assert not held.sound


def test_what_envoy_did_not_send_on_is_no_disagreement() -> None:
    """A copy that Envoy's own breaker turned away cannot have been received."""
    lost = Witnesses(WITNESSES.tally, WITNESSES.v1, WITNESSES.v2, Lost(copies=1))
    held = audit(_ledger(2, received=2), [_sample("a", PRICE, STRING), _sample("c", PRICE)], lost)

    assert held.sound


def test_faults_are_drawn_by_id_and_product_alone() -> None:
    """About one price in fifty is wrong, and the same ones every time."""
    ids = [f"id-{number}" for number in range(10_000)]
    wrong = [name for name in ids if Fault.WRONG_PRICE in faults_of(name, 1, "books")]

    assert 150 < len(wrong) < 250
    assert wrong == [name for name in ids if faults_of(name, 1, "books")]
    assert (Fault.SERVER_ERROR,) == faults_of(wrong[0], ERROR_PRODUCT, CATEGORY)
    assert (Fault.WRONG_PRICE, Fault.MISSING_FIELD, Fault.INTEGER_AS_STRING) == faults_of(wrong[0], STRING_AT, CATEGORY)


def test_a_server_error_explains_every_difference_and_others_their_own() -> None:
    """An answer of 500 differs in body and type as well."""
    assert explains(Fault.SERVER_ERROR, Seen("$['name']", "removed"))
    assert explains(Fault.WRONG_PRICE, PRICE)
    assert not explains(Fault.WRONG_PRICE, Seen(PRICE.path, "type"))
