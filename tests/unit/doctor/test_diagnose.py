"""The diagnosis as a pure function: what is named, what is not, and what explains what."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from shadowdiff.doctor import Ground, Misfit, Orphan, Patient, Process, diagnose
from shadowdiff.model import Candidate, Gate, HostPolicy, Side
from tests.fakes.patients import NOW_MS, WELL, alone, codes, evidence, orphan, target

P, C = Side.PRIMARY, Side.CANDIDATE


def _patient(counts: dict[str, int], *orphans: Orphan, **changes: object) -> Patient:
    whole = Patient(target=target(), counts=counts, orphans=orphans)
    return msgspec.structs.replace(whole, **changes)


def _many(side: Side, **changes: object) -> list[Orphan]:
    return [orphan(side, number, **changes) for number in range(20)]


def test_a_target_that_is_well_gives_no_finding() -> None:
    """Silence."""
    assert [] == codes(evidence())


@pytest.mark.parametrize(
    "figure",
    [
        {"primary.orphaned": 4, "primary.paired": 96},
        {"candidate.orphaned": 4, "candidate.paired": 96},
        {"mirrored.unidentified": 4},
        {"mirrored.blocked": 60, "mirrored.forwarded": 40, "candidate.parked": 40},
        {"mirrored.shed": 4},
        {"mirrored.looped": 40},
        {"recorded.refused": 4},
        {"candidate.late": 4},
        {"primary.ambiguous": 4, "candidate.ambiguous": 4},
        {"pair.failure.timeout": 40},
        {"pair.status.404": 80},
        {"pair.revision_same": 4, "pair.revision_other": 0},
        {"pair.revision_same": 50, "pair.revision_other": 50},
        {"pair.incomparable.v1 failed": 80},
        {"primary.waiting": 50, "candidate.waiting": 50},
    ],
)
def test_what_a_network_and_a_release_bring_with_them_is_no_finding(figure: dict[str, int]) -> None:
    """A few halves alone, a share that v2 gets wrong, methods that are blocked by design: none is a fault here."""
    assert [] == codes(evidence(_patient(WELL | figure)))


@pytest.mark.parametrize(
    ("figure", "code"),
    [
        ({"mirrored.unidentified": 6}, "no_id"),
        ({"mirrored.shed": 6}, "overloaded"),
        ({"recorded.store_lost": 6}, "overloaded"),
        ({"recorded.refused": 6}, "records_refused"),
        ({"mirrored.blocked": 100, "mirrored.forwarded": 0}, "methods_blocked"),
        ({"mirrored.looped": 96}, "answers_as_v1"),
        ({"candidate.late": 6, "primary.orphaned": 6}, "too_late"),
        ({"primary.late": 6, "candidate.orphaned": 6}, "too_late"),
        ({"candidate.late": 6, "primary.late": 6}, "ids_shared"),
        ({"primary.ambiguous": 6, "candidate.ambiguous": 6}, "ids_shared"),
        ({"pair.failure.refused": 10, "pair.failure.breaker_open": 85}, "v2_fails"),
        ({"pair.status.404": 95}, "v2_refuses"),
        ({"pair.revision_same": 100, "pair.revision_other": 0}, "answers_as_v1"),
        ({"pair.instance_same": 100}, "answers_as_v1"),
        ({"pair.incomparable.v1 failed": 95}, "nothing_comparable"),
        ({"candidate.orphaned": 10, "candidate.paired": 90}, "records_missing"),
        ({"primary.orphaned": 10, "primary.paired": 90}, "sampling_disagrees"),
    ],
)
def test_each_share_that_is_too_large_is_named(figure: dict[str, int], code: str) -> None:
    """The same figures past their bound."""
    assert [code] == codes(evidence(_patient(WELL | figure)))


def test_a_refused_connection_is_named_though_the_breaker_answered_most() -> None:
    """What opened the breaker is the cause, not the breaker."""
    found = diagnose(evidence(_patient(WELL | {"pair.failure.refused": 10, "pair.failure.breaker_open": 90})))
    assert "nothing listens there" in found.findings[0].title


def test_a_gate_that_asks_for_less_coverage_is_content_with_less() -> None:
    """Where half of v1's answers may stay alone, a third is no fault."""
    lenient = target(gate=Gate(min_coverage=0.5))
    figures = {"primary.orphaned": 30, "primary.paired": 70}
    assert [] == codes(evidence(_patient(WELL | figures, target=lenient)))


@pytest.mark.parametrize(
    ("ours", "theirs", "code"),
    [
        ({"id_source": "x-request-id"}, {"ids": {"x-request-id": "id-0"}}, "different_id_headers"),
        ({"path": "/v1/0", "id_source": "x-request-id"}, {"id_source": "x-request-id"}, "paths_rewritten"),
        ({"id": "ID-0"}, {}, "different_ids"),
        ({"id": "other"}, {}, "different_ids"),
        ({"key": "one"}, {"key": "one", "at_ms": NOW_MS}, "too_late"),
        ({"id": "other", "path": "/login"}, {"path": "/cart"}, "nothing_in_common"),
    ],
)
def test_two_halves_tell_why_they_missed_each_other(ours: dict[str, Any], theirs: dict[str, Any], code: str) -> None:
    """One request by hand is enough."""
    halves = (orphan(P, **ours), orphan(C, **theirs))
    found = diagnose(evidence(_patient(alone(1, 1), *halves))).findings
    assert [code] == [finding.code for finding in found]
    rows = {row.name: row for row in found[0].examples[0].rows}
    assert (halves[0].id, halves[1].id) == (rows["id"].primary, rows["id"].candidate)


def test_a_header_that_only_v1_has_is_told_by_the_request() -> None:
    """v1's half bears an id that the copy lost: the equal request within seconds joins them."""
    halves = [*_many(P), *(orphan(C, n, id_source="x-request-id", id=f"req-{n}") for n in range(20))]
    assert ["different_id_headers"] == codes(evidence(_patient(alone(20, 20), *halves)))


def test_a_guess_counts_only_where_nothing_pairs() -> None:
    """Where half pairs, equal paths with other ids are other requests: both sides draw their own."""
    halves = [*_many(P, path="/"), *(orphan(C, n, id=f"other-{n}", path="/") for n in range(20))]
    assert ["sampling_disagrees"] == codes(evidence(_patient(alone(20, 20, paired=20), *halves)))


def test_an_id_shared_by_a_trace_does_not_make_one_stray_call_a_rewrite() -> None:
    """One path of twenty that seems rewritten is a coincidence of one trace."""
    stray = (
        orphan(P, 0, id="trace", id_source="x-request-id", path="/a"),
        orphan(C, 0, id="trace", id_source="x-request-id", path="/b"),
    )
    others = [*(orphan(P, n) for n in range(1, 20)), *(orphan(C, n, id=f"o-{n}", path="/x") for n in range(1, 20))]
    assert ["sampling_disagrees"] == codes(evidence(_patient(alone(20, 20, paired=60), *stray, *others)))


def test_halves_of_two_targets_are_joined() -> None:
    """v1's half counts for one target, the copy's for another."""
    ours = _patient(alone(1, 0), orphan(P))
    theirs = Patient(target=target("twin"), counts=alone(0, 1), orphans=(orphan(C, target="twin", host="twin:8080"),))
    found = diagnose(evidence(ours, theirs)).findings
    assert [("different_targets", "shop", ("twin",))] == [(one.code, one.target, one.others) for one in found]


def test_the_rate_of_a_recorder_is_read_from_the_draws() -> None:
    """Copies without a record all have ids that are drawn above it."""
    halves = [orphan(C, n, draw=0.25 + n * 0.03) for n in range(20)]
    found = diagnose(evidence(_patient(alone(0, 75, paired=25), *halves))).findings
    assert [("sampling_disagrees", "    sample: 0.25")] == [(finding.code, finding.lines[-1]) for finding in found]


def test_draws_from_everywhere_are_no_sample() -> None:
    """Copies without a record whatever their draw: records are missing."""
    assert ["records_missing"] == codes(evidence(_patient(alone(0, 20, paired=40), *_many(C))))


def test_a_v2_too_slow_for_the_window_is_the_only_finding() -> None:
    """v1's halves are alone because v2's came too late."""
    counts = alone(20, 0, candidate__late=20, candidate__parked=20, mirrored__received=20)
    assert ["too_late"] == codes(evidence(_patient(counts, *_many(P))))


def test_halves_that_wait_where_nothing_was_decided_are_told_to_wait() -> None:
    """Too early to say why."""
    counts = {"mirrored.received": 5, "recorded.received": 5, "primary.waiting": 5, "candidate.waiting": 5}
    assert ["still_waiting"] == codes(evidence(_patient(counts)))


def test_both_sides_recorded_need_no_mirror() -> None:
    """A v2 whose own proxy records is a candidate as well."""
    counts = WELL | {"mirrored.received": 0, "mirrored.forwarded": 0, "recorded.received": 200}
    assert [] == codes(evidence(_patient(counts)))


def test_answers_of_v2_that_somebody_recorded_beside_those_asked_for_are_named() -> None:
    """One is enough: whoever records both halves decides what they say."""
    counts = alone(0, 0, paired=100) | {"candidate.parked": 101, "candidate.paired": 101, "primary.paired": 101}
    assert ["candidate_recorded"] == codes(evidence(_patient(counts)))


def _process(**notes: object) -> Process:
    return msgspec.structs.replace(Process(name="pod-1", at_ms=NOW_MS), **notes)


@pytest.mark.parametrize(
    ("host", "named"), [("shop.tutorial.svc.cluster.local", "shop"), ("shpo", "shop"), ("billing.example", "")]
)
def test_a_host_that_resembles_a_targets_is_offered_to_it(host: str, named: str) -> None:
    """A likely host comes with the line to write."""
    processes = (_process(unknown_mirrored=(Misfit(host, 7, "/"),)),)
    found = diagnose(evidence(unknown={"mirrored.received": 7}, processes=processes)).findings
    assert [("unknown_host", named)] == [(finding.code, finding.target) for finding in found]
    assert (f"    hosts: [shop, {host}]",) * bool(named) == found[0].lines[2:]


def test_an_unknown_host_explains_the_half_that_is_missing() -> None:
    """One fault is one finding."""
    processes = (_process(unknown_recorded=(Misfit("shop.tutorial:8080", 5, "/"),)),)
    patient = _patient({"mirrored.received": 5, "candidate.orphaned": 5}, orphan(C))
    found = diagnose(evidence(patient, unknown={"recorded.received": 5}, processes=processes)).findings
    assert [("unknown_host", "error")] == [(finding.code, finding.gravity) for finding in found]
    host = found[0].examples[0].rows[0]
    assert ("shop.tutorial:8080", "–") == (host.primary, host.candidate)


def test_malformed_records_are_not_counted_as_hosts_that_nobody_configured() -> None:
    """They were refused, and lie under `_unknown` because their host could not be told."""
    processes = (_process(unknown_recorded=(Misfit("billing.example", 1, "/"),)),)
    unknown = {"recorded.received": 7, "recorded.refused": 6}
    (found,) = diagnose(evidence(unknown=unknown, processes=processes)).findings
    assert ": 1 request recorded under hosts that nobody configured." in found.title
    unknown = {"recorded.received": 6, "recorded.refused": 6}
    assert "unknown_host" not in codes(evidence(unknown=unknown, processes=processes))


def test_records_without_a_token_explain_the_half_that_is_missing() -> None:
    """And they name from where they came; of long ago they are forgotten."""
    processes = (_process(refused=(Misfit("no token of access.records came from 10.0.0.7", 5, "/record"),)),)
    patient = _patient({"mirrored.received": 5, "candidate.orphaned": 5}, orphan(C))
    unknown = {"recorded.received": 5, "recorded.refused": 5}
    found = diagnose(evidence(patient, unknown=unknown, processes=processes)).findings
    assert [("records_without_token", "error")] == [(finding.code, finding.gravity) for finding in found]
    assert "10.0.0.7" == found[0].examples[0].rows[0].primary
    assert ["mirrors_without_records"] == codes(evidence(patient, processes=processes))


def test_unknown_hosts_of_long_ago_are_forgotten() -> None:
    """Where nothing unknown came lately, what a process noted once is past."""
    processes = (_process(unknown_mirrored=(Misfit("shpo", 7, "/"),)),)
    assert [] == codes(evidence(unknown={"mirrored.received": 0}, processes=processes))


def test_a_store_that_is_away_is_the_only_finding() -> None:
    """What cannot be read is not guessed at."""
    away = evidence(ground=Ground(up=False, error="ConnectionError: refused"), patients=())
    assert ["store_away"] == codes(away)
    assert diagnose(away).findings[0].explanation.endswith("It fails so: ConnectionError: refused")


@pytest.mark.parametrize(
    ("ground", "expected"),
    [
        (Ground(up=True, backend="fakeredis", durable=False), [("store_not_durable", "warning")]),
        (Ground(up=True, policy="allkeys-lru"), [("store_evicts", "warning")]),
        (Ground(up=True, policy="allkeys-lru", evicted=3), [("store_evicts", "error")]),
        (Ground(up=True, policy="noeviction", evicted=3), []),
    ],
)
def test_a_store_that_forgets_is_named(ground: Ground, expected: list[tuple[str, str]]) -> None:
    """Eviction that has begun is graver than eviction that may."""
    assert expected == [(finding.code, finding.gravity) for finding in diagnose(evidence(ground=ground)).findings]


@pytest.mark.parametrize(
    ("clock_ms", "expected"), [(1900, []), (-90_000, ["clocks_differ"]), (90_000, ["clocks_differ"])]
)
def test_a_clock_that_is_not_the_stores_is_named(clock_ms: int, expected: list[str]) -> None:
    """Ahead or behind, beyond what NTP leaves."""
    assert expected == codes(evidence(processes=(_process(), _process(name="pod-2", clock_ms=clock_ms))))


def test_books_that_do_not_balance_are_named() -> None:
    """Something took observations away."""
    assert ["books_do_not_balance"] == codes(evidence(_patient(WELL, balanced=False)))


def test_a_preserved_host_is_blamed_where_v1_answers_for_v2() -> None:
    """The way out is the setting that sends v2 its own host."""
    preserving = target(candidate=Candidate(url="http://shop-v2:8080", host=HostPolicy.PRESERVE))
    counts = WELL | {"pair.revision_same": 100, "pair.revision_other": 0}
    found = diagnose(evidence(_patient(counts, target=preserving))).findings
    assert "candidate.host: candidate" in found[0].way_out


def test_the_gravest_come_first() -> None:
    """Errors before warnings."""
    counts = WELL | {"mirrored.unidentified": 6, "pair.status.404": 95}
    assert ["error", "warning"] == [finding.gravity for finding in diagnose(evidence(_patient(counts))).findings]
