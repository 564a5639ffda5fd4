"""Collect the evidence for `diagnose` from this process, and from other processes through the store.

All evidence in the store is redacted, and limited in number and time. If the store is unavailable, the diagnosis
reports this.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar, cast

import msgspec
from redis.exceptions import ClusterError, RedisError, ResponseError

from shadowdiff.doctor.evidence import (
    KEEPS_ALL,
    Evidence,
    Orphan,
    Process,
    RecentCounts,
    RejectedExample,
    StoreHealth,
    TargetEvidence,
    UnreadPart,
    flatten,
)
from shadowdiff.doctor.pair_facts import (
    PAIRED_KEPT,
    PATH_CHARS,
    TIME_DIGITS,
    BodyTypes,
    PairFacts,
    Rows,
    paired_key,
    read_pair_facts,
    read_paired,
)
from shadowdiff.doctor.registry import diagnose
from shadowdiff.model import UNKNOWN_TARGET, Headers, Pair, Side, Target
from shadowdiff.store import STORE_ERRORS, UnreadableError, describe_error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Container, Iterable, Mapping, Sequence

    from shadowdiff.doctor.finding import Diagnosis
    from shadowdiff.pairing.sweep import Orphan as SweptOrphan
    from shadowdiff.store import Store

log = logging.getLogger(__name__)

EVERY_S: Final = 1.0
KEPT: Final = 100
"""The number of stored orphans for each side and target."""
TTL_S: Final = 3600
PROCESSES: Final = "doctor:processes"
ERASURES: Final = "doctor:erasures"
"""The key of the number of erasures. After each, every process forgets the examples that it has in memory."""
MOST_PROCESSES: Final = 256
EXAMPLE_CHARS: Final = 200
"""The number of characters stored of a rejected example, and of its path."""
SKEW_MS: Final = 5000
REWRITE_AFTER_MS: Final = 60_000
_PLACEHOLDER: Final = re.compile(r"‹redacted:[0-9a-f]+›")
"""A placeholder with its hash. Without a common key, processes have different hashes for equal paths."""

_ERROR_CHARS: Final = 200


Kept = TypeVar("Kept", Orphan, Process)
Part = TypeVar("Part")


class DiagnosedSettings(NamedTuple):
    """The part of the configuration that a diagnosis depends on."""

    targets: Sequence[Target]
    id_headers: tuple[str, ...]
    window_s: float


class PairingFunctions(NamedTuple):
    """Functions of the pairing, intake and comparison stages that a diagnosis uses.

    ledger: includes this process's latest counts. identifier: reads an id from headers. draw: returns an id's position
    in the sample. host_lookup: returns a function that returns the target of a host, if it belongs to one.
    routes: returns a target's counts by `route name`: lost requests (`GET /a primary.orphaned`), and `GET /a paired`.
    proposed_type: returns the type of a pair's bodies if they are JSON under another Content-Type.
    """

    ledger: Callable[[str], Awaitable[Mapping[str, Any]]]
    identifier: Callable[[Sequence[str]], Callable[[Headers], tuple[str, str] | None]]
    draw: Callable[[str], float]
    host_lookup: Callable[[Sequence[Target]], Callable[[str], str | None]]
    routes: Callable[[str], Awaitable[Mapping[str, int]]]
    proposed_type: Callable[[Pair, BodyTypes], str]


@dataclass(eq=False, kw_only=True)
class EvidenceCollector:
    """Collects the evidence of one process, and reads the evidence of all processes."""

    settings: DiagnosedSettings
    store: Store
    process: str
    examples: Callable[[], Mapping[str, Iterable[tuple[str, int, str]]]]
    forget_examples: Callable[[], None]
    redact: Callable[[str], str]
    redact_path: Callable[[str], str]
    pairing: PairingFunctions
    backend: str
    durable: bool

    def __post_init__(self) -> None:
        self._found: deque[Orphan] = deque(maxlen=2 * KEPT)
        self._recent = RecentCounts()
        self._written: Process | None = None
        self._erasures: bytes | None = None
        self.pair_facts = PairFacts(self._path, self.pairing.proposed_type)
        self.serve(self.settings)

    def serve(self, settings: DiagnosedSettings) -> None:
        """Use new settings, and stop treating counts from before the change as recent."""
        self.settings = settings
        self._identify = {name: self.pairing.identifier((name,)) for name in settings.id_headers}
        self.pair_facts.serve(
            {target.name: target.candidate.revision_header.encode() for target in settings.targets},
            {target.name: target.body_types for target in settings.targets},
        )
        self._recent.forget()

    def keep(self, orphans: Sequence[SweptOrphan]) -> None:
        """Take examples of orphans from the sweep."""
        self._found.extend(map(self._orphan, orphans))

    async def run(self) -> None:
        """Write new evidence until cancelled."""
        while True:
            try:
                await self._note_figures()
                await self._write_orphans()
                await self._write_process()
            except STORE_ERRORS as error:
                log.debug(
                    "store unavailable; will retry writing doctor evidence", extra={"error": describe_error(error)}
                )
            await asyncio.sleep(EVERY_S)

    async def diagnosis(self, target: str | None = None, visible: Container[str] | None = None) -> Diagnosis:
        """Return the diagnosis of every target, or of one target. visible: the targets that it may tell about."""
        try:
            evidence = await self._evidence()
        except STORE_ERRORS as error:
            log.warning("store unavailable; diagnosis has no evidence from it", extra={"error": describe_error(error)})
            evidence = self._evidence_with(self._health(up=False, error=describe_error(error)[:_ERROR_CHARS]))
        if visible is not None:
            evidence = evidence.limited_to(visible, self.pairing.host_lookup(self.settings.targets))
        found = diagnose(evidence)
        if target is None:
            return found
        concerned = tuple(one for one in found.findings if one.concerns(target))
        return msgspec.structs.replace(found, targets=(target,), findings=concerned)

    def _path(self, path: str) -> str:
        return _PLACEHOLDER.sub("‹redacted›", self.redact_path(path))

    def _orphan(self, swept: SweptOrphan) -> Orphan:
        """Return the stored part of an orphan: no body, and no headers except the ids."""
        seen = swept.observation
        found = {name: identify(seen.request_headers) for name, identify in self._identify.items()}
        ids = {seen.id_source: seen.id} | {name: one[0] for name, one in found.items() if one}
        return Orphan(
            side=seen.side,
            key=swept.key.hex(),
            id=self.redact(seen.id),
            id_source=seen.id_source,
            ids={source: self.redact(one) for source, one in ids.items()},
            method=seen.method,
            path=self._path(seen.path)[:PATH_CHARS],
            host=seen.host,
            status=seen.status,
            at_ms=seen.at_ms,
            draw=self.pairing.draw(seen.id),
            target=seen.target,
        )

    async def _note_figures(self) -> None:
        """Take a snapshot of every target's counts, to compute their growth."""
        for name in [*(target.name for target in self.settings.targets), UNKNOWN_TARGET]:
            if self._recent.is_due(name, _now_ms()):
                counts, _ = await self._counts(name, flatten(await self.pairing.ledger(name)))
                self._recent.note(name, _now_ms(), counts)

    async def _write_orphans(self) -> None:
        """Write new orphans to the store, which keeps the newest of each side and target for an hour."""
        new = list(self._found)
        for target, side in {(orphan.target, orphan.side) for orphan in new}:
            chosen = [orphan for orphan in new if (orphan.target, orphan.side) == (target, side)][-KEPT:]
            values = [f"{one.at_ms:0{TIME_DIGITS}d}".encode() + msgspec.json.encode(one) for one in chosen]
            key = self.store.keys.name(0, orphans_key(target, side))
            await self.store.command("LPUSH", key, *values)
            await self.store.command("LTRIM", key, 0, KEPT - 1)
            await self.store.command("EXPIRE", key, TTL_S)
        for orphan in new:
            if self._found and self._found[0] is orphan:
                self._found.popleft()

    async def _write_process(self) -> None:
        """Write this process's notes if the notes have changed or are a minute old."""
        erasures: Any = await self.store.command("GET", self.store.keys.name(0, ERASURES))
        if erasures != self._erasures:
            self._erasures = erasures
            self.forget_examples()
        before_s = time.time()
        answer: Any = await self.store.command("TIME")
        ahead_s = (before_s + time.time()) / 2 - int(answer[0]) - int(answer[1]) / 1e6
        clock_ms = round(ahead_s * 10) * 100  # rounded to a tenth of a second
        examples = {
            name: tuple(
                RejectedExample(self.redact(what)[:EXAMPLE_CHARS], count, self._path(path)[:EXAMPLE_CHARS])
                for what, count, path in found
            )
            for name, found in self.examples().items()
        }
        mine, written = Process(name=self.process, at_ms=_now_ms(), clock_ms=clock_ms, **examples), self._written
        if (
            written is not None
            and written == msgspec.structs.replace(mine, at_ms=written.at_ms)
            and mine.at_ms - written.at_ms < REWRITE_AFTER_MS
        ):
            return
        key = self.store.keys.name(0, PROCESSES)
        await self.store.command("HSET", key, self.process, msgspec.json.encode(mine))
        await self.store.command("EXPIRE", key, TTL_S)
        self._written = mine

    async def _evidence(self) -> Evidence:
        """Collect all evidence; list a part that fails as unread. Raises: STORE_ERRORS."""
        unread: list[UnreadPart] = []

        async def part(what: str, gathering: Awaitable[Part], otherwise: Part, target: str = "") -> Part:
            try:
                return await gathering
            except Exception as error:
                answered = isinstance(error, (UnreadableError, ResponseError)) and not isinstance(error, ClusterError)
                if isinstance(error, STORE_ERRORS) and not answered:  # the store is unavailable
                    raise
                text = describe_error(error)[:_ERROR_CHARS]
                about = {"part": what, "target": target, "error": text}
                log.warning("doctor evidence failed", extra=about, exc_info=not isinstance(error, RedisError))
                unread.append(UnreadPart(what=what, error=text, target=target))
                return otherwise

        await part("writing examples of unpaired halves", self._write_orphans(), None)
        await part("writing the evidence of this process", self._write_process(), None)
        unknown = await part("reading the ledger of unknown hosts", self.pairing.ledger(UNKNOWN_TARGET), {})
        of_targets = [
            await part(
                f"reading the counts of {target.name}",
                self._target_evidence(target),
                TargetEvidence(config=target, counts={}, is_readable=False),
                target.name,
            )
            for target in self.settings.targets
        ]
        health = await part("reading INFO of the servers", self._store_health(), self._health(up=True))
        return msgspec.structs.replace(
            self._evidence_with(health),
            targets=tuple(of_targets),
            unknown=self._recent.growth(UNKNOWN_TARGET, flatten(unknown)),
            processes=await part("reading the evidence of the processes", self._processes(), ()),
            unread=tuple(unread),
        )

    def _evidence_with(self, store: StoreHealth) -> Evidence:
        """Return the evidence that does not come from the store."""
        _, id_headers, window_s = self.settings
        return Evidence(now_ms=_now_ms(), window_s=window_s, id_headers=id_headers, store=store)

    def _health(self, *, up: bool, **facts: Any) -> StoreHealth:
        return StoreHealth(up=up, backend=self.backend, durable=self.durable, **facts)

    async def _store_health(self) -> StoreHealth:
        known: dict[str, dict[str, Any]] = {}
        for section in ("memory", "stats"):
            with suppress(ResponseError):  # INFO is forbidden, or the server has no INFO command
                for address, facts in (await self.store.info(section)).items():
                    known[address] = known.get(address, {}) | facts
        policies = {
            address: str(one.get("maxmemory_policy", ""))
            for address, one in known.items()
            if int(one.get("maxmemory", 0)) > 0
        }
        evicting = tuple(address for address, policy in policies.items() if policy not in KEEPS_ALL)
        return self._health(
            up=True,
            policy=policies[evicting[0]] if evicting else next(iter(policies.values()), ""),
            evicted=sum(int(one.get("evicted_keys", 0)) for one in known.values()),
            evicting=evicting,
            servers=max(1, len(known)),
        )

    async def _target_evidence(self, target: Target) -> TargetEvidence:
        ledger = await self.pairing.ledger(target.name)
        every, examples = await self._counts(target.name, flatten(ledger))
        counts, since_ms = self._recent.since(target.name, every)
        return TargetEvidence(
            config=target,
            counts=counts,
            balanced=ledger["balanced"],
            since_ms=since_ms,
            orphans=await self._orphans(target.name, since_ms),
            pairs=examples,
            paired=await self._paired(target.name, since_ms),
        )

    async def _counts(self, target: str, counts: dict[str, int]) -> tuple[dict[str, int], dict[str, Rows]]:
        """Return a target's counts with those of its pairs and routes, and examples of its pairs."""
        notes, examples = await read_pair_facts(self.store, target)
        return {**counts, **notes, **await self.pairing.routes(target)}, examples

    async def _orphans(self, target: str, since_ms: int | None) -> tuple[Orphan, ...]:
        first_ms = since_ms - SKEW_MS if since_ms is not None else 0
        found: dict[tuple[str, Side, int], Orphan] = {}
        for side in (Side.PRIMARY, Side.CANDIDATE):
            for value in await self.store.newest(orphans_key(target, side), KEPT):
                orphan = _read(value[TIME_DIGITS:], Orphan)
                if orphan is not None and orphan.at_ms >= first_ms:
                    found[orphan.key, orphan.side, orphan.at_ms] = orphan
        return tuple(found.values())

    async def _paired(self, target: str, since_ms: int | None) -> tuple[str, ...]:
        first_ms = since_ms - SKEW_MS if since_ms is not None else 0
        found: list[str] = []
        for value in await self.store.newest(paired_key(target), PAIRED_KEPT):
            with suppress(ValueError):  # another program wrote it
                at_ms, request = read_paired(value)
                found += [request] if at_ms >= first_ms else []
        return tuple(found)

    async def _processes(self) -> tuple[Process, ...]:
        """Return the notes of live processes, and delete the notes of dead processes."""
        key = self.store.keys.name(0, PROCESSES)
        stored = cast("dict[bytes, bytes]", await self.store.command("HGETALL", key))
        noted = [process for value in stored.values() if (process := _read(value, Process))]
        noted.sort(key=lambda process: -process.at_ms)
        living = [process for process in noted if _now_ms() - process.at_ms < TTL_S * 1000][:MOST_PROCESSES]
        gone = {process.name for process in noted} - {process.name for process in living}
        if gone:
            await self.store.command("HDEL", key, *gone)
        target_of = self.pairing.host_lookup(self.settings.targets)
        return tuple(_without_known(process, target_of) for process in living)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _read(value: bytes, kind: type[Kept]) -> Kept | None:
    """Decode a stored value; None if another version of the service wrote it."""
    with suppress(msgspec.DecodeError, RecursionError):
        return msgspec.json.decode(value, type=kind)
    return None


def orphans_key(target: str, side: Side) -> str:
    """Return the key of the stored orphans of a target and side. Each value begins with its time."""
    return f"doctor:orphans:{target}:{side}"


def _without_known(process: Process, target_of: Callable[[str], str | None]) -> Process:
    """Return a process's notes without hosts that now belong to a target."""
    mirrored, recorded = (
        tuple(example for example in examples if target_of(example.what) is None)
        for examples in (process.unknown_mirrored, process.unknown_recorded)
    )
    return msgspec.structs.replace(process, unknown_mirrored=mirrored, unknown_recorded=recorded)
