"""Hold what shadowdiff says against what v2 wrote down of its own faults, and what everybody counted.

In: journals, samples, the ledger, the users' tally.  Out: findings, false mismatches, and sums that disagree.
Holds: faults are matched as sets of request ids, never as totals, since totals hide one lost and one doubled.
A fault not seen is excused only by an observation that the ledger says stayed alone; each excuses one id.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from shadowdiff.demo.fault import PLACES, Fault, Seen, explains

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from shadowdiff.demo.api import Ledger, Noise, Sample, TopPath
    from shadowdiff.demo.shop import Entry
    from shadowdiff.demo.traffic import Tally


class Finding(msgspec.Struct, frozen=True):
    """One planted fault: how often it was planted, how often seen, how often its pair never came to be."""

    fault: str
    planted: int
    seen: int
    unpaired: int

    @property
    def complete(self) -> bool:
        """Whether nothing is missing."""
        return self.planted == self.seen + self.unpaired


class Sum(msgspec.Struct, frozen=True):
    """One figure that two parties counted."""

    what: str
    expected: int
    actual: int


@dataclass(frozen=True, slots=True)
class Audit:
    """All that was held against each other."""

    findings: tuple[Finding, ...]
    false_mismatches: int
    sums: tuple[Sum, ...]

    @property
    def disagreements(self) -> tuple[Sum, ...]:
        """The figures that two parties counted differently."""
        return tuple(one for one in self.sums if one.expected != one.actual)

    @property
    def sound(self) -> bool:
        """Whether each fault was found, nothing else was blamed, and every sum agrees."""
        return all(one.complete for one in self.findings) and not self.false_mismatches and not self.disagreements


@dataclass(frozen=True, slots=True)
class Lost:
    """What the proxy itself says it did not send on, since a bound of its own was reached."""

    copies: int = 0
    records: int = 0


@dataclass(frozen=True, slots=True)
class Witnesses:
    """What all others than the service wrote down: the users, v1, v2 and the proxy."""

    tally: Tally
    v1: Sequence[Entry]
    v2: Sequence[Entry]
    lost: Lost


def audit(ledger: Ledger, samples: Sequence[Sample], witnesses: Witnesses) -> Audit:
    """Hold everything against everything."""
    planted = planted_ids(witnesses.v2)
    seen = seen_ids(samples)
    false = sum(not _explained(sample, planted) for sample in samples)
    unlisted = max(0, ledger.pairs["mismatch"] - len({sample.id for sample in samples}))
    findings = find(planted, seen, alone(ledger))
    return Audit(findings, false + unlisted, sums(ledger, witnesses))


def audit_noise(
    ledger: Ledger, samples: Sequence[Sample], witnesses: Witnesses, noise: Noise, top: Sequence[TopPath]
) -> Audit:
    """Hold everything against everything where a control showed the noise: what is left beside it must be the faults.

    A sample without anything left is noise; a fault that it bore is then not seen.
    """
    known = {(place.route, place.path, place.kind) for place in noise.places if place.state == "noise"}
    left = [_beside(sample, known) for sample in samples]
    held = audit(ledger, [sample for sample in left if sample.differences], witnesses)
    hidden = len({sample.id for sample in left if not sample.differences})
    planted = {(place.path, place.kind) for place in PLACES.values()}
    strange = sum((place.path, place.kind) not in planted for place in top)
    told = (
        Sum("whether the noise is in force", 1, int(noise.phase == "in force")),
        Sum("whether any pair was left out as noise", 1, int(noise.left_out > 0)),
        Sum("places that count in the verdict and were not planted", 0, strange),
    )
    return Audit(held.findings, held.false_mismatches - hidden, (*held.sums, *told))


def _beside(sample: Sample, known: Collection[tuple[str, str, str]]) -> Sample:
    """Return a sample without the differences that are noise."""
    left = [one for one in sample.differences if (sample.route, one.pattern, one.kind) not in known]
    return msgspec.structs.replace(sample, differences=left)


def planted_ids(journal: Iterable[Entry]) -> dict[Fault, set[str]]:
    """Return the ids that each fault spoiled, by v2's own journal."""
    planted: dict[Fault, set[str]] = {fault: set() for fault in Fault}
    for entry in journal:
        for fault in entry.faults:
            planted[Fault(fault)].add(entry.id)
    return planted


def seen_ids(samples: Iterable[Sample]) -> dict[Fault, set[str]]:
    """Return the ids under which shadowdiff shows each fault at its place."""
    seen: dict[Fault, set[str]] = {fault: set() for fault in Fault}
    for sample in samples:
        places = {Seen(one.path, one.kind) for one in sample.differences}
        for fault, place in PLACES.items():
            if place in places:
                seen[fault].add(sample.request_id)
    return seen


def find(planted: Mapping[Fault, set[str]], seen: Mapping[Fault, set[str]], excuses: int) -> tuple[Finding, ...]:
    """Return what became of each fault.

    excuses: how many ids may be missing altogether because they never became a pair.
    """
    missing = sorted({name for fault in Fault for name in planted[fault] - seen[fault]})
    excused = set(missing[:excuses])
    return tuple(
        Finding(
            str(fault),
            len(planted[fault]),
            len(planted[fault] & seen[fault]),
            len((planted[fault] - seen[fault]) & excused),
        )
        for fault in Fault
    )


def alone(ledger: Ledger) -> int:
    """Return how many of v2's answers never became a pair that could be compared."""
    candidate = ledger.observations["candidate"]
    unpaired = sum(candidate.get(name, 0) for name in ("orphaned", "ambiguous", "late"))
    return unpaired + ledger.pairs["incomparable"]


def _explained(sample: Sample, planted: Mapping[Fault, set[str]]) -> bool:
    """Whether v2 owns up to every difference of a pair."""
    faults = [fault for fault in Fault if sample.request_id in planted[fault]]
    return bool(sample.differences) and all(
        any(explains(fault, Seen(one.path, one.kind)) for fault in faults) for one in sample.differences
    )


def sums(ledger: Ledger, witnesses: Witnesses) -> tuple[Sum, ...]:
    """Return the figures that the service counted beside the ones that others counted."""
    mirrored, recorded = ledger.mirrored, ledger.recorded
    tally, v1, v2, lost = witnesses.tally, witnesses.v1, witnesses.v2, witnesses.lost
    writes = mirrored["blocked"] if lost.copies else tally.writes  # which copies were lost is not known
    return (
        Sum("requests that v1 answered, by id", tally.sent, len({entry.id for entry in v1})),
        Sum("copies received, of the requests sent", tally.sent - lost.copies, mirrored["received"]),
        Sum("copies not forwarded, of the writes sent", writes, mirrored["blocked"]),
        Sum("copies forwarded, of what v2 answered", len(v2), mirrored["forwarded"]),
        Sum("records received, of what v1 answered", len(v1) - lost.records, recorded["received"]),
        Sum("writes that reached v2", 0, sum(entry.method == "POST" for entry in v2)),
    )
