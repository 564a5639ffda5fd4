"""The input of the checks: counts, examples of halves without a partner, and the health of the store.

Paths and ids are already redacted; other headers are not part of the evidence.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container, Mapping
from itertools import chain
from typing import Annotated, Any, Final

import msgspec

from shadowdiff.model import OTHER, Side, Target

_MOST: Final = 2**63 - 1
Number = Annotated[int, msgspec.Meta(ge=-_MOST, le=_MOST)]
"""A count or a time within Redis' limits. A larger number in the store is corrupt, and arithmetic may raise."""

Counts = Mapping[str, int]
"""One target's figures by dotted name: the ledger's rows, and `pair.…` from `doctor.pair_facts`."""

NOTABLE: Final = 0.05
"""A smaller share of what arrived is normal network loss, not a fault of the setup."""

_LEVELS: Final = ("waiting", "pending", "in_flight")
"""Figures that are current amounts, not counts."""
_ARRIVALS: Final = ("mirrored.received", "recorded.received")
_SNAPSHOT_EVERY_MS: Final = 60_000


class Orphan(msgspec.Struct, frozen=True, kw_only=True):
    """An observation whose partner never arrived.

    key: the key for pairing, as hexadecimal.
    ids: all ids of the request, by header; a recorded response has only its recorded id.
    draw: the position of its id in the sample, 0 to 1; every higher rate includes it.
    """

    side: Side
    key: str
    id: str
    id_source: str
    ids: dict[str, str]
    method: str
    path: str
    host: str
    status: Number
    at_ms: Number
    draw: Annotated[float, msgspec.Meta(ge=0, le=1)]
    target: str = ""


class RejectedExample(msgspec.Struct, frozen=True, array_like=True):
    """A kind of rejected request or record, how often it arrived, and the path of the last one."""

    what: str
    count: Number
    last_path: str


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """The data that one process of the service has observed.

    clock_ms: how far the process's clock is ahead of the store's clock.
    unknown_mirrored, unknown_recorded: hosts that do not belong to a target. unidentified, looped: by host.
    blocked: methods that were not forwarded, as `METHOD host`. refused: why records were rejected.
    """

    name: str
    at_ms: Number
    clock_ms: Number = 0
    unknown_mirrored: tuple[RejectedExample, ...] = ()
    unknown_recorded: tuple[RejectedExample, ...] = ()
    unidentified: tuple[RejectedExample, ...] = ()
    looped: tuple[RejectedExample, ...] = ()
    blocked: tuple[RejectedExample, ...] = ()
    refused: tuple[RejectedExample, ...] = ()


KEEPS_ALL: Final = ("", "noeviction")
"""The values of `maxmemory-policy` with which no key is evicted."""


class StoreHealth(msgspec.Struct, frozen=True, kw_only=True):
    """The store's state, as this process observes it.

    error: why the store is unavailable.
    policy: the `maxmemory-policy` of a server that may evict keys, or else of any server; empty if memory has no limit
    or the policy is unknown. evicted: the number of keys that the servers evicted.
    evicting: the addresses in `servers` that may evict keys; an empty text represents a single server.
    """

    up: bool
    error: str = ""
    backend: str = ""
    durable: bool = True
    policy: str = ""
    evicted: int = 0
    evicting: tuple[str, ...] = ()
    servers: int = 1


class TargetEvidence(msgspec.Struct, frozen=True, kw_only=True):
    """One target: its configuration and its observed data.

    counts: by name; those of a route have the route before the name (`GET /orders mirrored.blocked`).
    since_ms: when `counts` begin; None: when the store was created. pairs: examples of pairs, as rows, by count name.
    paired: examples of paired requests, each a method and a path without a query.
    is_readable: whether the target's counts could be read from the store; if not, the target's checks do not run.
    """

    config: Target
    counts: dict[str, int]
    balanced: bool = True
    since_ms: int | None = None
    orphans: tuple[Orphan, ...] = ()
    pairs: dict[str, tuple[tuple[str, str, str], ...]] = {}
    paired: tuple[str, ...] = ()
    is_readable: bool = True

    @property
    def name(self) -> str:
        """The target's name."""
        return self.config.name

    def count(self, name: str) -> int:
        """Return a count; 0 if the count does not exist."""
        return self.counts.get(name, 0)

    @property
    def mirrored(self) -> int:
        """Requests that reached v2's side: mirrored to this service, or recorded at v2."""
        return self.count("mirrored.received") or self.count("candidate.parked")

    @property
    def recorded(self) -> int:
        """Records that might be from v1: excludes v2's records if v2 is also recorded."""
        at_v2 = 0 if self.count("mirrored.received") else self.count("candidate.parked")
        return max(0, self.count("recorded.received") - at_v2)

    def by_route(self, what: str) -> dict[str, int]:
        """Return a count of each route that has one, such as `mirrored.blocked` or `paired`; the largest first."""
        end = f" {what}"
        found = {name.removesuffix(end): count for name, count in self.counts.items() if count and name.endswith(end)}
        found.pop(OTHER, None)
        return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))

    def side(self, side: Side) -> tuple[Orphan, ...]:
        """Return one side's orphans."""
        return tuple(orphan for orphan in self.orphans if orphan.side is side)


class UnreadPart(msgspec.Struct, frozen=True, kw_only=True):
    """Evidence that is missing because a read or write failed although the store is available.

    target: empty if the evidence concerns all targets.
    """

    what: str
    error: str
    target: str = ""


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """All input of the checks at one point in time.

    unknown: the counts of requests for hosts that do not belong to a target.
    unread: the evidence that could not be read or written.
    """

    now_ms: int
    window_s: float
    id_headers: tuple[str, ...]
    store: StoreHealth
    targets: tuple[TargetEvidence, ...] = ()
    unknown: dict[str, int] = {}
    processes: tuple[Process, ...] = ()
    unread: tuple[UnreadPart, ...] = ()

    def examples(self, kind: str) -> list[RejectedExample]:
        """Return the examples of all processes in this field of `Process`, the most frequent first."""
        total: dict[str, RejectedExample] = {}
        for one in chain.from_iterable(getattr(process, kind) for process in self.processes):
            before = total.get(one.what)
            total[one.what] = RejectedExample(one.what, one.count + (before.count if before else 0), one.last_path)
        return sorted(total.values(), key=lambda one: -one.count)

    def limited_to(self, targets: Container[str], target_of: Callable[[str], str | None]) -> Evidence:
        """Return the evidence without other targets, unknown hosts, and records whose target is unknown.

        target_of: returns the target of a host.
        """

        def of_hosts(examples: tuple[RejectedExample, ...]) -> tuple[RejectedExample, ...]:
            return tuple(one for one in examples if (target_of(one.what.rpartition(" ")[2]) or "") in targets)

        return msgspec.structs.replace(
            self,
            targets=tuple(one for one in self.targets if one.name in targets),
            unknown={},
            processes=tuple(
                Process(
                    name=one.name,
                    at_ms=one.at_ms,
                    clock_ms=one.clock_ms,
                    **{kind: of_hosts(getattr(one, kind)) for kind in ("unidentified", "looped", "blocked")},
                )
                for one in self.processes
            ),
            unread=tuple(one for one in self.unread if not one.target or one.target in targets),
        )


def flatten(ledger: Mapping[str, Any]) -> dict[str, int]:
    """Return the counts of a ledger by dotted name: `mirrored.received`, `primary.orphaned`, `pairs.match`.

    `received` excludes requests in flight: between its write to the store and the next sync of its process, the ledger
    counts a request twice, as written and as in flight. Snapshots need counts that only grow.
    """
    rows: dict[str, Mapping[str, int]] = {name: ledger.get(name, {}) for name in ("mirrored", "recorded", "pairs")}
    rows |= ledger.get("observations", {})
    counts = {f"{row}.{name}": int(count) for row, one in rows.items() for name, count in one.items()}
    for row in ("mirrored", "recorded"):
        if f"{row}.received" in counts:
            counts[f"{row}.received"] -= counts.get(f"{row}.in_flight", 0)
    return counts


class RecentCounts:
    """A few snapshots of each target's counts, to compute recent growth, so that a solved problem soon disappears.

    Keeps at most one snapshot per minute and target. Callers pass the time.
    """

    def __init__(self) -> None:
        self._kept: dict[str, deque[tuple[int, dict[str, int]]]] = {}

    def is_due(self, target: str, at_ms: int) -> bool:
        """Return whether the last snapshot is at least a minute old."""
        kept = self._kept.get(target)
        return not kept or at_ms - kept[-1][0] >= _SNAPSHOT_EVERY_MS

    def note(self, target: str, at_ms: int, counts: Counts) -> None:
        """Take a snapshot."""
        self._kept.setdefault(target, deque(maxlen=10)).append((at_ms, dict(counts)))

    def forget(self) -> None:
        """Delete all snapshots, for example after a configuration change."""
        self._kept.clear()

    def since(self, target: str, counts: Counts) -> tuple[dict[str, int], int | None]:
        """Return the growth since the oldest snapshot, and the time of that snapshot.

        If nothing has arrived since that snapshot, or the store was emptied, return all counts and None.
        """
        kept = self._kept.get(target)
        at_ms, before = kept[0] if kept else (None, counts)
        if _is_emptied(counts, before) or all(counts.get(name, 0) == before.get(name, 0) for name in _ARRIVALS):
            return dict(counts), None
        return self.growth(target, counts), at_ms

    def growth(self, target: str, counts: Counts) -> dict[str, int]:
        """Return the growth since the oldest snapshot; if there is no snapshot, return all counts."""
        kept = self._kept.get(target)
        before = kept[0][1] if kept and not _is_emptied(counts, kept[0][1]) else {}
        return {name: _growth(name, count, before) for name, count in counts.items()}


def _is_emptied(counts: Counts, before: Counts) -> bool:
    """Return whether the store lost its counts (for example by FLUSHALL): without a loss, arrivals only increase."""
    return any(counts.get(name, 0) < before.get(name, 0) for name in _ARRIVALS)


def _growth(name: str, count: int, before: Mapping[str, int]) -> int:
    row, _, what = name.rpartition(".")
    if what in _LEVELS:
        return count
    growth = count - before.get(name, 0)
    if what == "orphaned":  # halves that waited at the time of the snapshot arrived before it
        growth -= before.get(f"{row}.waiting", 0)
    return max(0, growth)
