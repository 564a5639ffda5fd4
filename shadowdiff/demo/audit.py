"""Compare shadowdiff's reports with v2's journal of planted faults, and with the counts of users, v1, v2 and Envoy.

Faults are compared as sets of request ids, because equal totals would hide one lost and one duplicate fault. A missing
fault is excused only if its response never became a pair; the ledger's count of such responses limits the excuses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from shadowdiff.demo.shop import FAULT_DIFFERENCES, Fault, PathKind, explains

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from shadowdiff.demo.api import Difference, Ledger, Noise, PathCount, Sample
    from shadowdiff.demo.shop import JournalEntry
    from shadowdiff.demo.traffic import UserCounts


class FaultCount(msgspec.Struct, frozen=True):
    """The counts of one planted fault.  seen: found by shadowdiff.  unpaired: its request never became a pair."""

    fault: str
    planted: int
    seen: int
    unpaired: int

    def __str__(self) -> str:
        return f"{self.fault}: planted {self.planted}, seen {self.seen}, unpaired {self.unpaired}"

    @property
    def complete(self) -> bool:
        """Whether every planted fault was seen or is excused."""
        return self.planted == self.seen + self.unpaired


class CountCheck(msgspec.Struct, frozen=True):
    """One count: the expected number according to another source, and the service's number."""

    what: str
    expected: int
    actual: int


class Audit(NamedTuple):
    """The results of all checks."""

    faults: tuple[FaultCount, ...]
    false_mismatches: int
    checks: tuple[CountCheck, ...]

    @property
    def disagreements(self) -> tuple[CountCheck, ...]:
        """The counts that differ."""
        return tuple(one for one in self.checks if one.expected != one.actual)

    @property
    def sound(self) -> bool:
        """Whether each fault was found, no other difference was reported, and all counts agree."""
        return all(one.complete for one in self.faults) and not self.false_mismatches and not self.disagreements


class ProxyDrops(NamedTuple):
    """The copies and records that the proxy dropped because of its limits."""

    copies: int = 0
    records: int = 0


class Evidence(NamedTuple):
    """The counts of users and proxy, and the journals of v1 and v2."""

    users: UserCounts
    v1: Sequence[JournalEntry]
    v2: Sequence[JournalEntry]
    drops: ProxyDrops


class NoiseOutcome(msgspec.Struct, frozen=True):
    """The learned noise.  excluded: number of pairs that differ only in noise.  places: route, path and kind."""

    learned_from: int
    triples: int
    excluded: int
    places: tuple[tuple[str, str, str], ...]


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """The outcome that `demo --once` prints."""

    requests: int
    primary_errors: int
    ledger: dict[str, Any]
    found: tuple[FaultCount, ...]
    false_mismatches: int
    noise: NoiseOutcome | None = None


class Result(NamedTuple):
    """The outcome, its audit, and the counts behind it."""

    outcome: Outcome
    audit: Audit
    counts: UserCounts
    drops: ProxyDrops

    @property
    def sound(self) -> bool:
        """Whether the ledger balances and exactly the planted faults were found."""
        return bool(self.outcome.ledger["balanced"]) and self.audit.sound


def audit(ledger: Ledger, samples: Sequence[Sample], evidence: Evidence) -> Audit:
    """Check the reported differences and all counts."""
    planted = {fault: {entry.id for entry in evidence.v2 if fault in entry.faults} for fault in Fault}
    seen = {
        fault: {sample.request_id for sample in samples if difference in map(_place, sample.differences)}
        for fault, difference in FAULT_DIFFERENCES.items()
    }
    candidate = ledger.observations["candidate"]
    unpaired = sum(candidate.get(name, 0) for name in ("orphaned", "ambiguous", "late")) + ledger.pairs["incomparable"]
    faults = count_faults(planted, seen, unpaired)
    false = sum(not _is_explained(sample, planted) for sample in samples)
    unlisted = max(0, ledger.pairs["mismatch"] - len({sample.id for sample in samples}))
    return Audit(faults, false + unlisted, _count_checks(ledger, evidence))


def audit_noise(
    ledger: Ledger, samples: Sequence[Sample], evidence: Evidence, noise: Noise, top: Sequence[PathCount]
) -> Audit:
    """Check all results after a control showed the noise: the remaining differences must be the faults.

    A sample without remaining differences is noise, and its fault counts as not seen.
    """
    known = {(place.route, place.path, place.kind) for place in noise.places if place.state == "noise"}
    remaining = [_without_noise(sample, known) for sample in samples]
    audited = audit(ledger, [sample for sample in remaining if sample.differences], evidence)
    hidden = len({sample.id for sample in remaining if not sample.differences})
    unplanted = sum(_place(one) not in FAULT_DIFFERENCES.values() for one in top)
    checks = (
        CountCheck("the noise set is in force (1: yes)", 1, int(noise.phase == "in force")),
        CountCheck("noise excluded at least one pair (1: yes)", 1, int(noise.excluded > 0)),
        CountCheck("places without a planted fault that count in the verdict", 0, unplanted),
    )
    return Audit(audited.faults, audited.false_mismatches - hidden, (*audited.checks, *checks))


def _without_noise(sample: Sample, known: Collection[tuple[str, str, str]]) -> Sample:
    remaining = [one for one in sample.differences if (sample.route, one.pattern, one.kind) not in known]
    return msgspec.structs.replace(sample, differences=remaining)


def _place(one: Difference | PathCount) -> PathKind:
    return PathKind(one.path, one.kind)


def count_faults(
    planted: Mapping[Fault, set[str]], seen: Mapping[Fault, set[str]], excuses: int
) -> tuple[FaultCount, ...]:
    """Return the counts of each fault: planted, seen and excused.  excuses: number of ids that never became a pair."""
    missing = {fault: planted[fault] - seen[fault] for fault in Fault}
    excused = set(sorted(set[str]().union(*missing.values()))[:excuses])
    return tuple(
        FaultCount(str(fault), len(planted[fault]), len(planted[fault] & seen[fault]), len(missing[fault] & excused))
        for fault in Fault
    )


def _is_explained(sample: Sample, planted: Mapping[Fault, set[str]]) -> bool:
    """Return whether v2's journal explains every difference of a pair."""
    faults = [fault for fault in Fault if sample.request_id in planted[fault]]
    return bool(sample.differences) and all(
        any(explains(fault, _place(one)) for fault in faults) for one in sample.differences
    )


def _count_checks(ledger: Ledger, evidence: Evidence) -> tuple[CountCheck, ...]:
    mirrored, recorded = ledger.mirrored, ledger.recorded
    users, v1, v2, drops = evidence.users, evidence.v1, evidence.v2, evidence.drops
    writes = mirrored["blocked"] if drops.copies else users.writes  # it is unknown which copies were dropped
    return (
        CountCheck("ids of the requests to which v1 responded", users.sent, len({entry.id for entry in v1})),
        CountCheck("copies of requests that shadowdiff received", users.sent - drops.copies, mirrored["received"]),
        CountCheck("copies of writes that shadowdiff did not forward", writes, mirrored["blocked"]),
        CountCheck("copies that shadowdiff forwarded to v2", len(v2), mirrored["forwarded"]),
        CountCheck("records of v1's responses that shadowdiff received", len(v1) - drops.records, recorded["received"]),
        CountCheck("writes that reached v2", 0, sum(entry.method == "POST" for entry in v2)),
    )
