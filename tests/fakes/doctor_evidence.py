"""Build evidence on targets for the doctor. All values are healthy by default; a test passes the others."""

from __future__ import annotations

from typing import Any

import msgspec

from shadowdiff.doctor.evidence import Evidence, Orphan, StoreHealth, TargetEvidence
from shadowdiff.doctor.registry import diagnose
from shadowdiff.model import Candidate, Side, Target

NOW_MS = 1_772_000_600_000

WELL = {
    "mirrored.received": 100, "mirrored.forwarded": 100, "recorded.received": 100, "recorded.accepted": 100,
    "primary.parked": 100, "primary.paired": 100, "candidate.parked": 100, "candidate.paired": 100,
    "pairs.ready": 100, "pairs.match": 100, "pair.seen": 100, "pair.revision_other": 100,
}  # fmt: skip


def target(name: str = "shop", **changes: Any) -> Target:
    """Return a target whose only host is the target's name."""
    whole = Target(name=name, hosts=(name,), candidate=Candidate(url=f"http://{name}-v2:8080"))
    return msgspec.structs.replace(whole, **changes)


def alone(primary: int, candidate: int, *, paired: int = 0, **more: int) -> dict[str, int]:
    """Return the doctor's figures for a target with orphans."""
    return {
        "mirrored.received": candidate + paired, "mirrored.forwarded": candidate + paired,
        "recorded.received": primary + paired, "primary.parked": primary + paired, "primary.paired": paired,
        "primary.orphaned": primary, "candidate.parked": candidate + paired, "candidate.paired": paired,
        "candidate.orphaned": candidate, "pair.seen": paired,
    } | {name.replace("__", "."): count for name, count in more.items()}  # fmt: skip


def orphan(side: Side, number: int = 0, **changes: Any) -> Orphan:
    """Return an orphan whose two sides differ only in the values of the arguments."""
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


def evidence(*targets: TargetEvidence, **changes: Any) -> Evidence:
    """Return evidence on targets with a healthy store."""
    whole = Evidence(
        now_ms=NOW_MS,
        window_s=30,
        id_headers=("x-diff-id", "x-request-id", "traceparent"),
        store=StoreHealth(up=True, backend="redis"),
        targets=targets or (TargetEvidence(config=target(), counts=WELL),),
    )
    return msgspec.structs.replace(whole, **changes)


def codes(of: Evidence) -> list[str]:
    """Return the codes of the findings."""
    return [finding.code for finding in diagnose(of).findings]
