"""Say what keeps a target from being compared.

In: evidence.  Out: findings, the gravest first; none when all is well.
Holds: pure.  What explains another finding stands in its place, so that one fault is one finding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shadowdiff.doctor import arrivals, candidate, ground, hosts, strangers, unpaired
from shadowdiff.doctor.finding import Diagnosis, Finding, Gravity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from shadowdiff.doctor.evidence import Evidence, Patient

_GROUND: Final[tuple[Callable[[Evidence], Iterator[Finding]], ...]] = (
    ground.store,
    ground.clocks,
    ground.books,
    hosts.unknown_hosts,
    arrivals.without_token,
)
_PATIENT: Final[tuple[Callable[[Evidence, Patient], Iterator[Finding]], ...]] = (
    candidate.nothing_kept,
    arrivals.nothing_arrives,
    arrivals.loops,
    arrivals.one_half_missing,
    arrivals.unidentified,
    arrivals.blocked,
    arrivals.refused,
    arrivals.shed,
    arrivals.recorded_for_v2,
    unpaired.too_late,
    unpaired.shared_ids,
    strangers.strangers,
    unpaired.missing_records,
    unpaired.still_waiting,
    candidate.fails,
    candidate.refuses,
    candidate.is_v1,
    candidate.incomparable,
)

EXPLAINED: Final = {
    "store_away": frozenset({"nothing_arrives", "mirrors_without_records", "records_without_mirrors", "overloaded"}),
    "unknown_host": frozenset({"nothing_arrives", "mirrors_without_records", "records_without_mirrors"}),
    "sample_is_zero": frozenset({"nothing_arrives", "mirrors_without_records", "records_without_mirrors"}),
    "methods_blocked": frozenset({"mirrors_without_records"}),
    "no_id": frozenset({"mirrors_without_records", "sampling_disagrees", "nothing_in_common"}),
    "records_refused": frozenset({"records_missing", "sampling_disagrees", "mirrors_without_records"}),
    "records_without_token": frozenset({"mirrors_without_records", "records_missing", "sampling_disagrees"}),
    "overloaded": frozenset({"sampling_disagrees", "records_missing"}),
    "answers_as_v1": frozenset({"mirrors_without_records"}),
    "different_targets": frozenset({"records_without_mirrors", "mirrors_without_records"}),
    "v2_fails": frozenset({"nothing_comparable"}),
}
"""What each finding explains of the same target: that is not said a second time."""


def diagnose(evidence: Evidence) -> Diagnosis:
    """Return every finding that no other one explains."""
    found = list(_found(evidence))
    told = [finding for finding in found if not any(_explains(other, finding) for other in found)]
    told = [finding for at, finding in enumerate(told) if _names(finding) not in map(_names, told[:at])]
    told.sort(key=lambda finding: finding.gravity is not Gravity.ERROR)
    names = tuple(patient.target.name for patient in evidence.patients)
    return Diagnosis(at_ms=evidence.now_ms, targets=names, findings=tuple(told))


def _found(evidence: Evidence) -> Iterator[Finding]:
    for of_all in _GROUND:
        yield from of_all(evidence)
    for patient in evidence.patients:
        for of_one in _PATIENT:
            yield from of_one(evidence, patient)


def _names(finding: Finding) -> tuple[str, str]:
    return finding.code, finding.target


def _explains(finding: Finding, other: Finding) -> bool:
    """Return whether one finding is the cause of another; one without a target concerns all."""
    return other.code in EXPLAINED.get(finding.code, ()) and finding.concerns(other.target)
