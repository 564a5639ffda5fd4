"""Run the doctor on any evidence that Redis and the configuration can contain."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from shadowdiff.doctor.checks.arrivals import TOKENLESS
from shadowdiff.doctor.evidence import (
    Evidence,
    Orphan,
    Process,
    RejectedExample,
    StoreHealth,
    TargetEvidence,
    UnreadPart,
)
from shadowdiff.doctor.registry import diagnose
from shadowdiff.model import Candidate, Failure, Gate, HostPolicy, Side, Target
from tests.fakes.doctor_evidence import NOW_MS, evidence, target

if TYPE_CHECKING:
    from shadowdiff.doctor.finding import Finding

LARGEST = 2**63 - 1
FIGURES = sorted({
    *(f"mirrored.{name}" for name in ("received", "forwarded", "blocked", "unidentified", "looped", "shed")),
    "mirrored.store_lost",
    *(f"recorded.{name}" for name in ("received", "accepted", "refused", "shed", "store_lost")),
    *(f"{side}.{name}" for side in Side for name in ("parked", "paired", "orphaned", "late", "ambiguous", "waiting")),
    *(f"pair.failure.{failure}" for failure in Failure),
    *(f"pair.{kind}_{same}" for kind in ("revision", "instance") for same in ("same", "other")),
    "pair.seen", "pair.status.404", "pair.status.503", "pair.status.", "pair.status.²", "pair.status.99999",
    "pair.status." + "9" * 5000, "pair.incomparable.too_large", "pair.incomparable.", "pair.failure.of_another_version",
})  # fmt: skip
COUNTS = st.dictionaries(
    st.sampled_from(FIGURES), st.sampled_from([0, 0, 1, 5, 20, 100, LARGEST, -1, -LARGEST]) | st.integers(0, 200)
)
TEXT = st.text(max_size=12) | st.sampled_from(["", "shop", "shop:8080", ":", "POST shop", TOKENLESS + "10.0.0.1"])
WHEN = st.integers(NOW_MS - 10_000, NOW_MS) | st.sampled_from([0, LARGEST, -LARGEST])
REJECTED = st.lists(
    st.builds(RejectedExample, TEXT, st.integers(0, 50) | st.just(LARGEST), TEXT), max_size=3
).map(tuple)  # fmt: skip
ORPHANS = st.lists(
    st.builds(
        Orphan,
        side=st.sampled_from(Side),
        key=st.sampled_from(["a", "b", ""]),
        id=st.sampled_from(["1", "A", "a", ""]),
        id_source=st.sampled_from(["x-diff-id", "x-request-id", ""]),
        ids=st.dictionaries(st.sampled_from(["x-diff-id", "traceparent"]), st.sampled_from(["1", "a"])),
        method=st.sampled_from(["GET", ""]),
        path=st.sampled_from(["/", "/a", ""]),
        host=TEXT,
        status=st.sampled_from([0, 200]),
        at_ms=WHEN,
        draw=st.floats(0, 1),
        target=st.sampled_from(["shop", "cart", ""]),
    ),
    max_size=30,
).map(tuple)  # fmt: skip
PAIRS = st.dictionaries(
    st.sampled_from(["failure", "status", "incomparable", "revision_same"]),
    st.lists(st.tuples(TEXT, TEXT, TEXT), max_size=2).map(tuple),
)
TARGETS = st.builds(
    Target,
    name=st.sampled_from(["shop", "cart", ""]),
    hosts=st.lists(TEXT, max_size=2).map(tuple),
    candidate=st.builds(
        Candidate,
        url=st.sampled_from(["http://shop-v2:8080", "", "shop", "http://"]),
        host=st.sampled_from(HostPolicy),
        timeout_s=st.sampled_from([0.0, 5.0, 1e9]),
        revision_header=st.sampled_from(["x-version", ""]),
    ),
    methods=st.lists(st.sampled_from(["GET", "POST"]), max_size=2).map(tuple),
    sample=st.sampled_from([0.0, 0.5, 1.0]),
    gate=st.builds(Gate, min_coverage=st.sampled_from([0.0, 0.5, 1.0])),
)
TARGET_EVIDENCE = st.builds(
    TargetEvidence,
    config=TARGETS,
    counts=COUNTS,
    balanced=st.booleans(),
    orphans=ORPHANS,
    pairs=PAIRS,
    is_readable=st.booleans(),
)
PROCESSES = st.builds(
    Process,
    name=TEXT,
    at_ms=WHEN,
    clock_ms=st.sampled_from([0, 2001, -90_000, LARGEST, -LARGEST]),
    unknown_mirrored=REJECTED,
    unknown_recorded=REJECTED,
    unidentified=REJECTED,
    looped=REJECTED,
    blocked=REJECTED,
    refused=REJECTED,
)
STORES = st.builds(
    StoreHealth,
    up=st.booleans(),
    error=TEXT,
    backend=TEXT,
    durable=st.booleans(),
    policy=st.sampled_from(["", "noeviction", "allkeys-lru"]),
    evicted=st.sampled_from([0, LARGEST]),
    evicting=st.lists(TEXT, max_size=2).map(tuple),
    servers=st.integers(0, 3),
)
EVIDENCE = st.builds(
    Evidence,
    now_ms=WHEN,
    window_s=st.sampled_from([0.0, 30.0, 1e9]),
    id_headers=st.lists(TEXT, max_size=2).map(tuple),
    store=STORES,
    targets=st.lists(TARGET_EVIDENCE, max_size=3).map(tuple),
    unknown=st.dictionaries(st.sampled_from(["mirrored.received", "recorded.refused"]), st.integers(0, 9)),
    processes=st.lists(PROCESSES, max_size=2).map(tuple),
    unread=st.lists(st.builds(UnreadPart, what=TEXT, error=TEXT, target=TEXT), max_size=2).map(tuple),
)


def _failed(findings: tuple[Finding, ...]) -> list[str]:
    return [finding.title for finding in findings if finding.code == "check_failed"]


@given(EVIDENCE)
def test_no_check_raises_on_any_evidence(of: Evidence) -> None:
    """No check raises an exception for zero counts, no hosts, no targets, or contradictory counts."""
    found = diagnose(of)
    assert [] == _failed(found.findings)
    assert found == msgspec.json.decode(msgspec.json.encode(found), type=type(found))


@given(COUNTS, ORPHANS, PAIRS)
def test_no_share_is_above_all_of_it(
    counts: dict[str, int], orphans: tuple[Orphan, ...], pairs: dict[str, object]
) -> None:
    """No title reports that more than 100 % of the requests failed."""
    shop = msgspec.structs.replace(TargetEvidence(config=target(), counts=counts, orphans=orphans), pairs=pairs)
    titles = [finding.title for finding in diagnose(evidence(shop)).findings if finding.code.startswith("v2_")]
    shares = [float(share) for title in titles for share in re.findall(r"([0-9.]+) %", title)]
    assert all(0 < share <= 100 for share in shares), titles
