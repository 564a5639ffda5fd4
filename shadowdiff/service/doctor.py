"""Gather what `doctor` judges by, from this process and through the store from the others.

In: orphans as the sweep finds them, the intake's examples, the ledgers.  Out: a diagnosis, whenever asked.
Holds: what is kept in the store is bounded in number and time, and secrets in queries are taken out first; nothing
here is counted, so what a lost answer writes twice does no harm.  A store that is away is a diagnosis, no error.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import msgspec
from redis.exceptions import RedisError, ResponseError

from shadowdiff.doctor import (
    KEEPS_ALL,
    Diagnosis,
    Evidence,
    Ground,
    Misfit,
    Orphan,
    PairNotes,
    Patient,
    Process,
    Recent,
    diagnose,
    flatten,
    read_notes,
)
from shadowdiff.intake.hosts import HostIndex
from shadowdiff.model import UNKNOWN_TARGET, Side
from shadowdiff.pairing import identifier, read_ledger
from shadowdiff.pairing.sample import SPAN, fnv1a32
from shadowdiff.store import said

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from shadowdiff.config import Config
    from shadowdiff.intake.books import Books, Examples
    from shadowdiff.model import Headers, Target
    from shadowdiff.pairing import Ledger
    from shadowdiff.pairing import Orphan as Found
    from shadowdiff.report import Redactor
    from shadowdiff.store import Store

log = logging.getLogger(__name__)

EVERY_S: Final = 1.0
KEPT: Final = 100
"""Orphans of each side and target."""
TTL_S: Final = 3600
PROCESSES: Final = "doctor:processes"
MOST_PROCESSES: Final = 256
_TIME_DIGITS: Final = 13
SKEW_MS: Final = 5000
TOLD_AGAIN_MS: Final = 60_000
_PLACEHOLDER: Final = re.compile(r"‹redacted:[0-9a-f]+›")
"""Without a common key each process redacts to placeholders of its own; here equal paths must stay equal."""

_AWAY = (RedisError, OSError, TimeoutError)


Kept = TypeVar("Kept", Orphan, Process)


class Doctor:
    """One process's hand in the evidence of all."""

    def __init__(
        self,
        *,
        store: Store,
        process: str,
        books: Books,
        redactor: Redactor,
        config: Config,
        ledger: Callable[[str], Awaitable[Mapping[str, Any]]],
        backend: str,
        durable: bool,
    ) -> None:
        self._store = store
        self._process = process
        self._books = books
        self._redactor = redactor
        self._ledger = ledger
        self._backend = backend
        self._durable = durable
        self._found: deque[Orphan] = deque(maxlen=2 * KEPT)
        self._recent = Recent()
        self._told: tuple[int, Process | None] = (0, None)
        self._clock_ms = 0
        self.notes = PairNotes(self._path)
        self.serve(config)

    def serve(self, config: Config) -> None:
        """Take a configuration; what was counted under another one is past."""
        self._config = config
        headers = config.pairing.id_headers
        self._identify = {name: identifier((name,)) for name in headers}
        self.notes.serve({one.name: one.candidate.revision_header.encode() for one in self._targets()})
        self._recent.forget()

    def keep(self, found: Sequence[Found]) -> None:
        """Take examples of orphans from the sweep."""
        self._found.extend(map(self._orphan, found))

    async def run(self) -> None:
        """Write down what is new until cancelled."""
        while True:
            try:
                await self._note_figures()
                await self._write_orphans()
                await self._write_process()
            except _AWAY as error:
                log.debug("the evidence waits for the store", extra={"error": said(error)})
            await asyncio.sleep(EVERY_S)

    async def diagnosis(self, target: str | None = None) -> Diagnosis:
        """Return what is wrong with every target, or with one."""
        try:
            await self._write_orphans()
            await self._write_process()
            evidence = await self._evidence()
        except _AWAY as error:
            log.warning("a diagnosis without the store", extra={"error": said(error)})
            evidence = self._alone(said(error)[:200])
        found = diagnose(evidence)
        if target is None:
            return found
        concerned = tuple(one for one in found.findings if one.concerns(target))
        return msgspec.structs.replace(found, targets=(target,), findings=concerned)

    def _targets(self) -> list[Target]:
        return [one.target for one in self._config.targets]

    def _path(self, path: str) -> str:
        return _PLACEHOLDER.sub("‹redacted›", self._redactor.path(path))

    def _orphan(self, found: Found) -> Orphan:
        """Return what is kept of an orphan: neither body nor header but the ids."""
        seen = found.observation
        ids = {seen.id_source: seen.id} | dict(self._ids(seen.request_headers))
        return Orphan(
            side=seen.side,
            key=found.key.hex(),
            id=seen.id,
            id_source=seen.id_source,
            ids=ids,
            method=seen.method,
            path=self._path(seen.path)[:500],
            host=seen.host,
            status=seen.status,
            at_ms=seen.at_ms,
            draw=fnv1a32(seen.id) / SPAN,
            target=seen.target,
        )

    def _ids(self, headers: Headers) -> Iterable[tuple[str, str]]:
        for name, identify in self._identify.items():
            found = identify(headers)
            if found is not None:
                yield name, found[0]

    async def _note_figures(self) -> None:
        """Take a snapshot of every target's figures, so that what is recent can be told."""
        for name in [*(target.name for target in self._targets()), UNKNOWN_TARGET]:
            if self._recent.is_due(name, _now_ms()):
                counts = flatten(await read_ledger(self._store, name, prove=False))
                notes, _ = await read_notes(self._store, name)
                self._recent.note(name, _now_ms(), counts | notes)

    async def _write_orphans(self) -> None:
        """Bring new orphans into the store; the newest of each side and target stay, for a while."""
        new = list(self._found)
        for target, side in {(orphan.target, orphan.side) for orphan in new}:
            values = [_timed(orphan) for orphan in new if (orphan.target, orphan.side) == (target, side)][-KEPT:]
            key = self._store.keys.name(0, _orphans(target, side))
            await self._store.command("LPUSH", key, *values)
            await self._store.command("LTRIM", key, 0, KEPT - 1)
            await self._store.command("EXPIRE", key, TTL_S)
        for orphan in new:
            if self._found and self._found[0] is orphan:
                self._found.popleft()

    async def _write_process(self) -> None:
        """Say what this process noted, where that changed or is a minute old."""
        self._clock_ms = await self._measured_clock_ms()
        mine = self._mine()
        at_ms, told = self._told
        if (
            told is not None
            and told == msgspec.structs.replace(mine, at_ms=told.at_ms)
            and mine.at_ms - at_ms < TOLD_AGAIN_MS
        ):
            return
        key = self._store.keys.name(0, PROCESSES)
        await self._store.command("HSET", key, self._process, msgspec.json.encode(mine))
        await self._store.command("EXPIRE", key, TTL_S)
        self._told = (mine.at_ms, mine)

    def _mine(self) -> Process:
        books = self._books
        return Process(
            name=self._process,
            at_ms=_now_ms(),
            clock_ms=self._clock_ms,
            unknown_mirrored=_misfits(books.unknown_mirrored),
            unknown_recorded=_misfits(books.unknown_recorded),
            unidentified=_misfits(books.unidentified),
            looped=_misfits(books.loops),
            blocked=_misfits(books.blocked),
            refused=_misfits(books.refusals),
        )

    async def _measured_clock_ms(self) -> int:
        """Return how far this process's clock is ahead of the store's, to a tenth of a second."""
        before = time.time()
        answer: Any = await self._store.command("TIME")
        here = (before + time.time()) / 2
        return round((here - int(answer[0]) - int(answer[1]) / 1e6) * 10) * 100

    async def _evidence(self) -> Evidence:
        unknown = flatten(await self._ledger(UNKNOWN_TARGET))
        return Evidence(
            now_ms=_now_ms(),
            window_s=self._config.pairing.window_s,
            id_headers=self._config.pairing.id_headers,
            ground=await self._ground(),
            patients=tuple([await self._patient(target) for target in self._targets()]),
            unknown=self._recent.growth(UNKNOWN_TARGET, unknown),
            processes=await self._processes(),
        )

    def _alone(self, error: str) -> Evidence:
        """Return the evidence without a store."""
        return Evidence(
            now_ms=_now_ms(),
            window_s=self._config.pairing.window_s,
            id_headers=self._config.pairing.id_headers,
            ground=Ground(up=False, error=error, backend=self._backend, durable=self._durable),
        )

    async def _ground(self) -> Ground:
        known: dict[str, dict[str, Any]] = {}
        for section in ("memory", "stats"):
            try:
                told = await self._store.info(section)
            except ResponseError:  # forbidden, or a stand-in that knows no INFO
                continue
            for address, section_of in told.items():
                known[address] = known.get(address, {}) | section_of
        policies = {
            address: str(one.get("maxmemory_policy", ""))
            for address, one in known.items()
            if int(one.get("maxmemory", 0)) > 0
        }
        evicting = tuple(address for address, policy in policies.items() if policy not in KEEPS_ALL)
        return Ground(
            up=True,
            backend=self._backend,
            durable=self._durable,
            policy=policies[evicting[0]] if evicting else next(iter(policies.values()), ""),
            evicted=sum(int(one.get("evicted_keys", 0)) for one in known.values()),
            evicting=evicting,
            servers=max(1, len(known)),
        )

    async def _patient(self, target: Target) -> Patient:
        ledger = cast("Ledger", await self._ledger(target.name))
        notes, examples = await read_notes(self._store, target.name)
        counts, since_ms = self._recent.since(target.name, flatten(ledger) | notes)
        return Patient(
            target=target,
            counts=counts,
            balanced=ledger["balanced"],
            since_ms=since_ms,
            orphans=await self._orphans(target.name, since_ms),
            pairs=examples,
        )

    async def _orphans(self, target: str, since_ms: int | None) -> tuple[Orphan, ...]:
        first_ms = since_ms - SKEW_MS if since_ms is not None else 0
        found: dict[tuple[str, Side, int], Orphan] = {}
        for side in (Side.PRIMARY, Side.CANDIDATE):
            for value in await self._store.newest(_orphans(target, side), KEPT):
                orphan = _read(value[_TIME_DIGITS:], Orphan)
                if orphan is not None and orphan.at_ms >= first_ms:
                    found[orphan.key, orphan.side, orphan.at_ms] = orphan
        return tuple(found.values())

    async def _processes(self) -> tuple[Process, ...]:
        """Return what every process noted that was heard of lately; forget the others."""
        key = self._store.keys.name(0, PROCESSES)
        held = cast("dict[bytes, bytes]", await self._store.command("HGETALL", key))
        noted = sorted(filter(None, (_read(value, Process) for value in held.values())), key=_age)
        living = [process for process in noted if _now_ms() - process.at_ms < TTL_S * 1000][:MOST_PROCESSES]
        gone = {process.name for process in noted} - {process.name for process in living}
        if gone:
            await self._store.command("HDEL", key, *gone)
        hosts = HostIndex([(host, target) for target in self._targets() for host in target.hosts])
        return tuple(_without_known(process, hosts) for process in living)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _read(value: bytes, kind: type[Kept]) -> Kept | None:
    """Return what was kept; None where another version of this service kept it otherwise."""
    try:
        return msgspec.json.decode(value, type=kind)
    except (msgspec.DecodeError, RecursionError):
        return None


def _age(process: Process) -> int:
    return -process.at_ms


def _orphans(target: str, side: Side) -> str:
    return f"doctor:orphans:{target}:{side}"


def _timed(orphan: Orphan) -> bytes:
    """Return an orphan as text that sorts by time."""
    return f"{orphan.at_ms:0{_TIME_DIGITS}d}".encode() + msgspec.json.encode(orphan)


def _misfits(examples: Examples) -> tuple[Misfit, ...]:
    return tuple(Misfit(*example) for example in examples.newest())


def _without_known(process: Process, hosts: HostIndex[Target]) -> Process:
    """Return a process's notes without hosts that a target has been given since."""

    def unknown(misfits: Iterable[Misfit]) -> tuple[Misfit, ...]:
        return tuple(misfit for misfit in misfits if hosts.find_text(misfit.what).entry is None)

    return msgspec.structs.replace(
        process,
        unknown_mirrored=unknown(process.unknown_mirrored),
        unknown_recorded=unknown(process.unknown_recorded),
    )
