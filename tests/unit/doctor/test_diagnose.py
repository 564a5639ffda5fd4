"""Test the diagnosis as a pure function: which findings it reports, and which ones explain others."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from shadowdiff.doctor.checks.candidate import FAILURES
from shadowdiff.doctor.evidence import (
    Evidence,
    Orphan,
    Process,
    RejectedExample,
    StoreHealth,
    TargetEvidence,
    UnreadPart,
)
from shadowdiff.doctor.finding import Finding, Severity
from shadowdiff.doctor.registry import Checks, all_checks, diagnose
from shadowdiff.model import Candidate, Failure, Gate, HostPolicy, Side
from tests.fakes.doctor_evidence import NOW_MS, WELL, alone, codes, evidence, orphan, target

if TYPE_CHECKING:
    from collections.abc import Iterator

P, C = Side.PRIMARY, Side.CANDIDATE


def _shop(counts: dict[str, int], *orphans: Orphan, **changes: object) -> TargetEvidence:
    whole = TargetEvidence(config=target(), counts=counts, orphans=orphans)
    return msgspec.structs.replace(whole, **changes)


def _many(side: Side, **changes: object) -> list[Orphan]:
    return [orphan(side, number, **changes) for number in range(20)]


def test_healthy_target_has_no_finding() -> None:
    """No check reports a finding."""
    assert [] == codes(evidence())


def test_limited_evidence_contains_no_other_targets_and_no_unknown_hosts() -> None:
    """Neither a finding nor an example may tell about a target that the reader may not see."""
    example = {host: RejectedExample(host, 9, f"/{host}/path") for host in ("shop", "vault", "vault-new")}
    blocked = RejectedExample("POST vault", 9, "/vault/path"), RejectedExample("POST shop", 9, "/shop/path")
    process = Process(
        name="pod", at_ms=NOW_MS, clock_ms=1, unknown_mirrored=(example["vault-new"],), blocked=blocked,
        unidentified=(example["vault"], example["shop"]), looped=(example["vault"],), refused=(example["vault"],),
    )  # fmt: skip
    whole = evidence(
        _shop(WELL), TargetEvidence(config=target("vault"), counts={}), unknown={"mirrored.received": 9},
        processes=(process,),
        unread=tuple(UnreadPart(what="x", error="e", target=name) for name in ("", "shop", "vault")),
    )  # fmt: skip
    hosts = {"shop": "shop", "vault": "vault"}
    limited = whole.limited_to({"shop"}, hosts.get)
    assert "vault" in str(msgspec.to_builtins(diagnose(whole)))
    assert "vault" not in str(msgspec.to_builtins(limited)) + str(msgspec.to_builtins(diagnose(limited)))
    assert ({}, "pod", 1) == (limited.unknown, limited.processes[0].name, limited.processes[0].clock_ms)
    assert ["shop", "POST shop"] == [limited.examples(kind)[0].what for kind in ("unidentified", "blocked")]
    assert ["", "shop"] == [part.target for part in limited.unread]


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
        {"pair.incomparable.not_modified": 4},
        {"pair.body_type.application/json": 4},
        {"primary.waiting": 50, "candidate.waiting": 50},
    ],
)
def test_small_losses_are_not_reported(figure: dict[str, int]) -> None:
    """A few unpaired halves, some v2 errors and blocked methods are not faults."""
    assert [] == codes(evidence(_shop(WELL | figure)))


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
        ({"pair.incomparable.not_modified": 6}, "not_modified"),
        ({"pair.incomparable.not_modified": 95}, "not_modified"),
        ({"pair.body_type.application/json": 5}, "json_under_another_type"),
        ({"candidate.orphaned": 10, "candidate.paired": 90}, "records_missing"),
        ({"primary.orphaned": 10, "primary.paired": 90}, "sampling_disagrees"),
    ],
)
def test_each_large_share_is_reported(figure: dict[str, int], code: str) -> None:
    """The same figures are above their limit."""
    assert [code] == codes(evidence(_shop(WELL | figure)))


@pytest.mark.parametrize(
    ("types", "paired", "unused"),
    [
        ({"GET /fed": "application/json"}, {"GET /feed": 90, "GET /x": 10}, "GET /fed"),
        ({"/fed": "application/json", "*": "text/plain"}, {"GET /feed": 100}, "/fed"),
        ({"GET /feed": "application/json", "/x": "text/xml", "*": "text/plain"}, {"GET /feed": 90, "GET /x": 10}, ""),
        ({"GET /fed": "application/json"}, {"GET /feed": 99}, ""),
        ({"GET /fed": "application/json"}, {"GET /feed": 100, "_other": 1}, ""),
        ({"GET /g#Op": "application/json"}, {"GET /g": 100}, ""),
    ],
)
def test_body_type_of_a_route_without_pairs_is_reported(
    types: dict[str, str], paired: dict[str, int], unused: str
) -> None:
    """If there are enough pairs, and every route has a name, each key must be the name of a route."""
    counts = WELL | {f"{route} paired": count for route, count in paired.items()}
    config = msgspec.structs.replace(target(), body_types=tuple(types.items()))
    found = diagnose(evidence(_shop(counts, config=config))).findings
    assert (["body_type_unused"] if unused else []) == [one.code for one in found]
    assert all(f"the route {unused}, so" in one.title for one in found)


def test_refused_connection_is_reported_although_the_breaker_answered_most() -> None:
    """The failure that opened the breaker is the cause."""
    found = diagnose(evidence(_shop(WELL | {"pair.failure.refused": 10, "pair.failure.breaker_open": 90})))
    assert "nothing listens there" in found.findings[0].title


def test_lower_min_coverage_allows_more_loss() -> None:
    """If half of v1's responses may have no partner, a third is not a fault."""
    lenient = target(gate=Gate(min_coverage=0.5))
    figures = {"primary.orphaned": 30, "primary.paired": 70}
    assert [] == codes(evidence(_shop(WELL | figures, config=lenient)))


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
def test_two_halves_show_why_they_did_not_pair(ours: dict[str, Any], theirs: dict[str, Any], code: str) -> None:
    """One request is enough."""
    halves = (orphan(P, **ours), orphan(C, **theirs))
    found = diagnose(evidence(_shop(alone(1, 1), *halves))).findings
    assert [code] == [finding.code for finding in found]
    rows = {row.name: row for row in found[0].examples[0].rows}
    assert (halves[0].id, halves[1].id) == (rows["id"].primary, rows["id"].candidate)


def test_header_that_only_v1_has_is_found_by_an_equal_request() -> None:
    """The mirrored request lost v1's id; an equal request within seconds links them."""
    halves = [*_many(P), *(orphan(C, n, id_source="x-request-id", id=f"req-{n}") for n in range(20))]
    assert ["different_id_headers"] == codes(evidence(_shop(alone(20, 20), *halves)))


def test_guess_counts_only_if_nothing_pairs() -> None:
    """If half of the traffic pairs, equal paths with other ids are different requests."""
    halves = [*_many(P, path="/"), *(orphan(C, n, id=f"other-{n}", path="/") for n in range(20))]
    assert ["sampling_disagrees"] == codes(evidence(_shop(alone(20, 20, paired=20), *halves)))


def test_shared_trace_id_with_one_stray_call_is_not_a_rewrite() -> None:
    """One path of twenty that looks rewritten is a coincidence."""
    stray = (
        orphan(P, 0, id="trace", id_source="x-request-id", path="/a"),
        orphan(C, 0, id="trace", id_source="x-request-id", path="/b"),
    )
    others = [*(orphan(P, n) for n in range(1, 20)), *(orphan(C, n, id=f"o-{n}", path="/x") for n in range(1, 20))]
    assert ["sampling_disagrees"] == codes(evidence(_shop(alone(20, 20, paired=60), *stray, *others)))


def test_halves_of_two_targets_are_linked() -> None:
    """If v1's half and the mirrored request count for different targets, the finding links both."""
    ours = _shop(alone(1, 0), orphan(P))
    theirs = TargetEvidence(
        config=target("twin"), counts=alone(0, 1), orphans=(orphan(C, target="twin", host="twin:8080"),)
    )
    found = diagnose(evidence(ours, theirs)).findings
    assert [("different_targets", "shop", ("twin",))] == [(one.code, one.target, one.others) for one in found]


def test_recorder_rate_is_computed_from_the_draws() -> None:
    """All mirrored requests without a record have ids above the rate."""
    halves = [orphan(C, n, draw=0.25 + n * 0.03) for n in range(20)]
    found = diagnose(evidence(_shop(alone(0, 75, paired=25), *halves))).findings
    assert [("sampling_disagrees", "    sample: 0.25")] == [(finding.code, finding.lines[-1]) for finding in found]


def test_draws_of_all_values_are_not_a_sample() -> None:
    """Requests with any draw have no record, so records are missing."""
    assert ["records_missing"] == codes(evidence(_shop(alone(0, 20, paired=40), *_many(C))))


def test_v2_slower_than_the_window_is_the_only_finding() -> None:
    """v1's halves have no partner because v2's arrived too late."""
    counts = alone(20, 0, candidate__late=20, candidate__parked=20, mirrored__received=20)
    assert ["too_late"] == codes(evidence(_shop(counts, *_many(P))))


def test_waiting_halves_without_a_decided_one_are_reported_as_waiting() -> None:
    """Halves that still wait have no known reason yet."""
    counts = {"mirrored.received": 5, "recorded.received": 5, "primary.waiting": 5, "candidate.waiting": 5}
    assert ["still_waiting"] == codes(evidence(_shop(counts)))


def test_target_with_both_sides_recorded_needs_no_mirror() -> None:
    """A recorder at v2 counts as the candidate."""
    counts = WELL | {"mirrored.received": 0, "mirrored.forwarded": 0, "recorded.received": 200}
    assert [] == codes(evidence(_shop(counts)))


def test_recorded_v2_responses_next_to_requested_ones_are_reported() -> None:
    """One such response is enough, because a client that records both halves determines the result."""
    counts = alone(0, 0, paired=100) | {"candidate.parked": 101, "candidate.paired": 101, "primary.paired": 101}
    assert ["candidate_recorded"] == codes(evidence(_shop(counts)))


def _process(**notes: object) -> Process:
    return msgspec.structs.replace(Process(name="pod-1", at_ms=NOW_MS), **notes)


@pytest.mark.parametrize(
    ("host", "named"), [("shop.tutorial.svc.cluster.local", "shop"), ("shpo", "shop"), ("billing.example", "")]
)
def test_host_similar_to_a_targets_host_is_suggested(host: str, named: str) -> None:
    """The finding has the line to add to the configuration."""
    processes = (_process(unknown_mirrored=(RejectedExample(host, 7, "/"),)),)
    found = diagnose(evidence(unknown={"mirrored.received": 7}, processes=processes)).findings
    assert [("unknown_host", named)] == [(finding.code, finding.target) for finding in found]
    assert (f"    hosts: [shop, {host}]",) * bool(named) == found[0].lines[2:]


def test_unknown_host_explains_a_missing_half() -> None:
    """One fault gives only one finding."""
    processes = (_process(unknown_recorded=(RejectedExample("shop.tutorial:8080", 5, "/"),)),)
    shop = _shop({"mirrored.received": 5, "candidate.orphaned": 5}, orphan(C))
    found = diagnose(evidence(shop, unknown={"recorded.received": 5}, processes=processes)).findings
    assert [("unknown_host", "error")] == [(finding.code, finding.severity) for finding in found]
    host = found[0].examples[0].rows[0]
    assert ("shop.tutorial:8080", "–") == (host.primary, host.candidate)


def test_malformed_records_do_not_count_as_unknown_hosts() -> None:
    """Malformed records count for `_unknown` because their host is unreadable."""
    processes = (_process(unknown_recorded=(RejectedExample("billing.example", 1, "/"),)),)
    unknown = {"recorded.received": 7, "recorded.refused": 6}
    (found,) = diagnose(evidence(unknown=unknown, processes=processes)).findings
    assert ": 1 request recorded for hosts that are not configured." in found.title
    unknown = {"recorded.received": 6, "recorded.refused": 6}
    assert "unknown_host" not in codes(evidence(unknown=unknown, processes=processes))


def test_records_without_a_token_explain_a_missing_half() -> None:
    """The finding has their source address. Old records are not reported."""
    processes = (
        _process(
            refused=(RejectedExample("no valid token of access.records in a record from 10.0.0.7", 5, "/record"),)
        ),
    )
    shop = _shop({"mirrored.received": 5, "candidate.orphaned": 5}, orphan(C))
    unknown = {"recorded.received": 5, "recorded.refused": 5}
    found = diagnose(evidence(shop, unknown=unknown, processes=processes)).findings
    assert [("records_without_token", "error")] == [(finding.code, finding.severity) for finding in found]
    assert "10.0.0.7" == found[0].examples[0].rows[0].primary
    assert ["mirrors_without_records"] == codes(evidence(shop, processes=processes))


def test_old_unknown_hosts_are_not_reported() -> None:
    """Old notes do not count if no unknown host arrived recently."""
    processes = (_process(unknown_mirrored=(RejectedExample("shpo", 7, "/"),)),)
    assert [] == codes(evidence(unknown={"mirrored.received": 0}, processes=processes))


def test_unavailable_store_is_the_only_finding() -> None:
    """Checks do not guess data that they cannot read."""
    away = evidence(store=StoreHealth(up=False, error="ConnectionError: refused"), targets=())
    assert ["store_unavailable"] == codes(away)
    assert diagnose(away).findings[0].explanation.endswith("Error: ConnectionError: refused")


@pytest.mark.parametrize(
    ("health", "expected"),
    [
        (StoreHealth(up=True, backend="fakeredis", durable=False), [("store_not_durable", "warning")]),
        (StoreHealth(up=True, policy="allkeys-lru"), [("store_evicts", "warning")]),
        (StoreHealth(up=True, policy="allkeys-lru", evicted=3), [("store_evicts", "error")]),
        (StoreHealth(up=True, policy="noeviction", evicted=3), []),
    ],
)
def test_store_that_loses_data_is_reported(health: StoreHealth, expected: list[tuple[str, str]]) -> None:
    """Eviction that has started is an error, and possible eviction is a warning."""
    assert expected == [(finding.code, finding.severity) for finding in diagnose(evidence(store=health)).findings]


@pytest.mark.parametrize(
    ("clock_ms", "expected"), [(1900, []), (-90_000, ["clocks_differ"]), (90_000, ["clocks_differ"])]
)
def test_clock_that_differs_from_the_stores_is_reported(clock_ms: int, expected: list[str]) -> None:
    """The clock is ahead or behind by more than NTP allows."""
    assert expected == codes(evidence(processes=(_process(), _process(name="pod-2", clock_ms=clock_ms))))


def test_unbalanced_ledger_is_reported() -> None:
    """The finding reports that observations disappeared."""
    assert ["ledger_unbalanced"] == codes(evidence(_shop(WELL, balanced=False)))


def test_a_preserved_host_is_reported_if_v1_answers_for_v2() -> None:
    """The fix is the setting that sends v2's own host."""
    preserving = target(candidate=Candidate(url="http://shop-v2:8080", host=HostPolicy.PRESERVE))
    counts = WELL | {"pair.revision_same": 100, "pair.revision_other": 0}
    found = diagnose(evidence(_shop(counts, config=preserving))).findings
    assert "candidate.host: candidate" in found[0].fix


def test_errors_come_before_warnings() -> None:
    """The order of the checks does not matter."""
    counts = WELL | {"mirrored.unidentified": 6, "pair.status.404": 95}
    assert ["error", "warning"] == [finding.severity for finding in diagnose(evidence(_shop(counts))).findings]


TLS_FIXES = {
    "tls_untrusted": "candidate.ca",
    "tls_expired": "Renew",
    "tls_name_mismatch": "candidate.server_name",
    "tls_client_certificate_required": "candidate.cert_key",
    "tls_failed": "http://",
}


@pytest.mark.parametrize(("failure", "fix"), TLS_FIXES.items())
def test_each_tls_failure_has_its_fix(failure: str, fix: str) -> None:
    """The finding never reports a missing listener."""
    figures = {f"pair.failure.{failure}": 10, "pair.failure.breaker_open": 90}
    (found,) = diagnose(evidence(_shop(WELL | figures))).findings
    assert "v2_fails" == found.code
    assert "nothing listens" not in found.title
    assert "TLS" in found.title or "certificate" in found.title
    assert fix in found.fix


def test_every_failure_has_its_own_text() -> None:
    """Only the failure of the breaker shares a text."""
    titles = [diagnose(evidence(_shop(WELL | {f"pair.failure.{one}": 100}))).findings[0].title for one in Failure]
    assert len(titles) == len(set(titles))


def test_counts_without_growth_are_not_reported_and_raise_nothing() -> None:
    """Every status was counted before the snapshot, so the growth is 0 of 0."""
    stale = {"pair.seen": 0, "pair.status.404": 0, "pair.incomparable.v1 failed": 0, "pair.failure.timeout": 0}
    assert ["mirrors_without_records"] == codes(evidence(_shop(alone(0, 5) | stale)))


def test_every_failure_has_an_explanation() -> None:
    """A new kind of failure of v2 needs its own text."""
    assert set(Failure) - {Failure.WITHHELD} == set(FAILURES)


def test_check_that_raises_becomes_a_finding_and_the_others_run(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The earlier findings of a failed check stay, and the log has the traceback."""

    def breaks(_evidence: Evidence, shop: TargetEvidence) -> Iterator[Finding]:
        yield Finding(code="before", severity=Severity.WARNING, target=shop.name, title="", explanation="", fix="")
        raise ZeroDivisionError("division by zero")

    def breaks_at_once(_evidence: Evidence) -> Iterator[Finding]:
        raise KeyError("hosts")

    real = all_checks()
    broken = Checks((breaks_at_once, *real.general), (breaks, *real.per_target), real.explains)
    monkeypatch.setattr(importlib.import_module("shadowdiff.doctor.registry"), "all_checks", lambda: broken)
    two = (_shop(alone(0, 5)), _shop(WELL, config=target("cart")))
    found = diagnose(evidence(*two)).findings
    assert [
        ("mirrors_without_records", "shop"),
        ("check_failed", ""),
        ("before", "shop"),
        ("check_failed", "shop"),
        ("before", "cart"),
        ("check_failed", "cart"),
    ] == [(one.code, one.target) for one in found]
    titles = [one.title for one in found if one.code == "check_failed"]
    assert "The check test_diagnose.breaks_at_once failed: KeyError: 'hosts'" == titles[0]
    assert ["The check test_diagnose.breaks failed: ZeroDivisionError: division by zero"] * 2 == titles[1:]
    logged = [record for record in caplog.records if record.message == "doctor check failed"]
    assert (3, True) == (len(logged), all(record.exc_info for record in logged))


def test_target_with_unreadable_figures_is_not_checked() -> None:
    """The finding names the missing data, and no check reads zeros in its place."""
    part = UnreadPart(what="reading the figures of shop", error="UnreadableError: no number", target="shop")
    shop = TargetEvidence(config=target(), counts={}, is_readable=False)
    found = diagnose(evidence(shop, _shop(alone(0, 5), config=target("cart")), unread=(part, part)))
    assert [("mirrors_without_records", "cart"), ("evidence_unreadable", "shop")] == [
        (one.code, one.target) for one in found.findings
    ]
    assert ("shop", "cart") == found.targets


def _routes(side: Side, by_route: dict[str, int], paired: dict[str, int]) -> dict[str, int]:
    """Return figures of a target whose halves of one side stay alone, by route."""
    total = sum(by_route.values())
    figures = alone(*((total, 0) if side is P else (0, total)), paired=sum(paired.values()))
    figures |= {f"{route} {side}.orphaned": count for route, count in by_route.items()}
    return figures | {f"{route} paired": count for route, count in paired.items()}


@pytest.mark.parametrize(("side", "code"), [(P, "routes_not_mirrored"), (C, "routes_not_recorded")])
def test_routes_of_one_side_are_named_instead_of_a_sample(side: Side, code: str) -> None:
    """The shorter list is the proposed setting."""
    figures = _routes(side, {"GET /b": 60, "GET /c": 30}, {"GET /a": 40})
    (finding,) = diagnose(evidence(_shop(figures, *_many(side)))).findings
    assert (code, '    include: ["GET /a"]') == (finding.code, finding.lines[-1])
    assert "90 " in finding.title
    assert "GET /b, GET /c" in finding.title
    figures = _routes(side, {"GET /b": 90}, {"GET /a": 40, "GET /d": 40})
    assert '    exclude: ["GET /b"]' == diagnose(evidence(_shop(figures, *_many(side)))).findings[0].lines[-1]


@pytest.mark.parametrize("by_route", [{"GET /a": 90}, {"GET /a": 60, "GET /b": 30}, {"_other": 90}])
def test_a_route_that_also_pairs_is_a_matter_of_sampling(by_route: dict[str, int]) -> None:
    """If most halves that stay alone are of routes with pairs, the routes are not the reason."""
    figures = _routes(P, by_route, {"GET /a": 40})
    assert ["sampling_disagrees"] == codes(evidence(_shop(figures, *_many(P))))


def test_paths_of_one_inferred_route_are_distinguished() -> None:
    """`/route/1` and `/route/2` have the route `/route/{id}`. The examples show which path pairs."""
    figures = _routes(P, {"GET /route/{id}": 120}, {"GET /route/{id}": 40})
    halves = _many(P, path="/route/2?q=1")
    shop = _shop(figures, *halves, paired=("GET /route/1",) * 20)
    (finding,) = diagnose(evidence(shop)).findings
    assert ("routes_not_mirrored", '    include: ["GET /route/1"]') == (finding.code, finding.lines[-1])
    assert finding.title.startswith("120 v1 responses of GET /route/2 have no mirrored request")
    few = _shop(figures, *halves, paired=("GET /route/1",) * 9)
    same = _shop(figures, *halves, paired=("GET /route/1",) * 90 + ("GET /route/2",))
    ids = _shop(figures, *_many(P), paired=tuple(f"GET /other/{number}" for number in range(20)))
    assert [["sampling_disagrees"]] * 3 == [codes(evidence(each)) for each in (few, same, ids)]
