"""What a diagnosis is made of: counts, examples of what found no partner, and the state of the ground.

In: plain values, gathered elsewhere.  Out: the same as frozen types.
Holds: pure.  Paths come in with the secrets of their queries already taken out; no header but the ids is here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, cast

import msgspec

from shadowdiff.model import Side, Target

Counts = Mapping[str, int]
"""One target's figures by dotted name: the ledger's rows, and `pair.…` from `doctor.notes`."""

NOTABLE: Final = 0.05
"""A smaller share of what arrived is the wear of a network, and no fault in how things are set up."""

LEVELS: Final = ("waiting", "pending", "in_flight")
"""Figures that state how much there is now, and are no counts."""


class Orphan(msgspec.Struct, frozen=True, kw_only=True):
    """An observation whose partner never came.

    key: what it would have been paired by, as hexadecimal.
    ids: every id that the request bore, by header; of a recorded answer only the one it was recorded with.
    draw: where its id falls in the sample draw, 0 to 1: kept by every rate above.
    """

    side: Side
    key: str
    id: str
    id_source: str
    ids: dict[str, str]
    method: str
    path: str
    host: str
    status: int
    at_ms: int
    draw: float
    target: str = ""


class Misfit(msgspec.Struct, frozen=True, array_like=True):
    """Something that did not fit, how often, and the path of the last."""

    what: str
    count: int
    last_path: str


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """What one process of the service noted.

    clock_ms: how far its clock is ahead of the store's.
    unknown_mirrored, unknown_recorded: hosts that no target names. unidentified, looped: by host.
    blocked: methods that were not forwarded, as `METHOD host`. refused: why records were turned away.
    """

    name: str
    at_ms: int
    clock_ms: int = 0
    unknown_mirrored: tuple[Misfit, ...] = ()
    unknown_recorded: tuple[Misfit, ...] = ()
    unidentified: tuple[Misfit, ...] = ()
    looped: tuple[Misfit, ...] = ()
    blocked: tuple[Misfit, ...] = ()
    refused: tuple[Misfit, ...] = ()


class Ground(msgspec.Struct, frozen=True, kw_only=True):
    """What everything stands on: the store, as this process sees it.

    error: what it said, or did not, where it is not up.
    policy: the `maxmemory-policy` of a server that may throw keys away, or else of any; empty where memory has no bound
        or nothing is known. evicted: keys that the servers threw out.
    evicting: the addresses of the servers that may throw keys away, of `servers`; empty text for the only one.
    """

    up: bool
    error: str = ""
    backend: str = ""
    durable: bool = True
    policy: str = ""
    evicted: int = 0
    evicting: tuple[str, ...] = ()
    servers: int = 1


class Patient(msgspec.Struct, frozen=True, kw_only=True):
    """One target: what is configured, and what was seen of it.

    since_ms: from when on `counts` count; None: since the store was made.
    pairs: examples of pairs, as rows, by the figure that they are an example of.
    """

    target: Target
    counts: dict[str, int]
    balanced: bool = True
    since_ms: int | None = None
    orphans: tuple[Orphan, ...] = ()
    pairs: dict[str, tuple[tuple[str, str, str], ...]] = {}

    def count(self, name: str) -> int:
        """Return a figure; 0 where it was never counted."""
        return self.counts.get(name, 0)

    @property
    def mirrored(self) -> int:
        """How many requests reached v2's side: mirrored here, or recorded at v2 itself."""
        return self.count("mirrored.received") or self.count("candidate.parked")

    @property
    def recorded(self) -> int:
        """How many records arrived that may be v1's; where v2 is recorded too, less those that are v2's."""
        at_v2 = 0 if self.count("mirrored.received") else self.count("candidate.parked")
        return max(0, self.count("recorded.received") - at_v2)

    def side(self, side: Side) -> tuple[Orphan, ...]:
        """Return one side's orphans."""
        return tuple(orphan for orphan in self.orphans if orphan.side is side)


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """All there is to judge by, at one moment.

    unknown: the figures of requests that no target names.
    """

    now_ms: int
    window_s: float
    id_headers: tuple[str, ...]
    ground: Ground
    patients: tuple[Patient, ...] = ()
    unknown: dict[str, int] = {}
    processes: tuple[Process, ...] = ()


def gathered(listed: Iterable[Iterable[Misfit]]) -> list[Misfit]:
    """Return what all processes noted of one kind, the most frequent first."""
    total: dict[str, Misfit] = {}
    for misfit in (misfit for misfits in listed for misfit in misfits):
        before = total.get(misfit.what)
        total[misfit.what] = Misfit(misfit.what, misfit.count + (before.count if before else 0), misfit.last_path)
    return sorted(total.values(), key=lambda misfit: -misfit.count)


def flatten(ledger: Mapping[str, Any]) -> dict[str, int]:
    """Return the counts of a ledger by dotted name: `mirrored.received`, `primary.orphaned`, `pairs.match`."""
    rows: dict[str, Mapping[str, int]] = {name: ledger.get(name, {}) for name in ("mirrored", "recorded", "pairs")}
    rows |= cast("Mapping[str, Mapping[str, int]]", ledger.get("observations", {}))
    return {f"{row}.{name}": int(count) for row, counts in rows.items() for name, count in counts.items()}
