"""Targets as a doctor sees them: well, but for what a test says.

In: the figures and orphans that matter.  Out: evidence, everything else as it is where all is well.
"""

from __future__ import annotations

from typing import Any

import msgspec

from shadowdiff.doctor import Evidence, Ground, Orphan, Patient, diagnose
from shadowdiff.model import Candidate, Side, Target

NOW_MS = 1_772_000_600_000

WELL = {
    "mirrored.received": 100, "mirrored.forwarded": 100, "recorded.received": 100, "recorded.accepted": 100,
    "primary.parked": 100, "primary.paired": 100, "candidate.parked": 100, "candidate.paired": 100,
    "pairs.ready": 100, "pairs.match": 100, "pair.seen": 100, "pair.revision_other": 100,
}  # fmt: skip


def target(name: str = "shop", **changes: Any) -> Target:
    """Return a target whose only host is its name."""
    whole = Target(name=name, hosts=(name,), candidate=Candidate(url=f"http://{name}-v2:8080"))
    return msgspec.structs.replace(whole, **changes)


def alone(primary: int, candidate: int, *, paired: int = 0, **more: int) -> dict[str, int]:
    """Return figures of halves that stayed alone."""
    return {
        "mirrored.received": candidate + paired, "mirrored.forwarded": candidate + paired,
        "recorded.received": primary + paired, "primary.parked": primary + paired, "primary.paired": paired,
        "primary.orphaned": primary, "candidate.parked": candidate + paired, "candidate.paired": paired,
        "candidate.orphaned": candidate, "pair.seen": paired,
    } | {name.replace("__", "."): count for name, count in more.items()}  # fmt: skip


def orphan(side: Side, number: int = 0, **changes: Any) -> Orphan:
    """Return a half that stayed alone, the same on both sides but for what differs."""
    one = f"id-{number}"
    whole = Orphan(
        side=side,
        key=f"{side}-{number}",
        id=one,
        id_source="x-diff-id",
        ids={"x-diff-id": one},
        method="GET",
        path=f"/{number}",
        host="shop:8080",
        status=200,
        at_ms=NOW_MS - 60_000 + number,
        draw=(number % 10) / 10,
        target="shop",
    )
    made = msgspec.structs.replace(whole, **changes)
    return made if "ids" in changes else msgspec.structs.replace(made, ids={made.id_source: made.id})


def evidence(*patients: Patient, **changes: Any) -> Evidence:
    """Return evidence on patients, on firm ground."""
    whole = Evidence(
        now_ms=NOW_MS,
        window_s=30,
        id_headers=("x-diff-id", "x-request-id", "traceparent"),
        ground=Ground(up=True, backend="redis"),
        patients=patients or (Patient(target=target(), counts=WELL),),
    )
    return msgspec.structs.replace(whole, **changes)


def codes(of: Evidence) -> list[str]:
    """Return the codes of what is found."""
    return [finding.code for finding in diagnose(of).findings]
