"""Build and wire everything; start, reload, drain, stop. The only composition root.

In: a checked Config. Out: four ports, and the tasks between them. Holds: every task belongs to one
TaskGroup; the store may be away at any time; a stop drains for a bounded time, in the order in which the
data goes, and what was accepted stays in the store.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from redis.exceptions import RedisError

from shadowdiff import __version__
from shadowdiff.compare import Limits
from shadowdiff.intake.books import Books
from shadowdiff.intake.losses import RouteLosses
from shadowdiff.intake.upstream import Upstream
from shadowdiff.model import Side
from shadowdiff.pairing import (
    BookKeeper,
    Claimer,
    Codec,
    Dictionaries,
    Parker,
    ParkSettings,
    Sweeper,
    ledger_name,
    read_ledger,
    routes_name,
)
from shadowdiff.report import (
    Keeping,
    Patterns,
    Redactor,
    Remarks,
    redaction_key,
    shared_key,
)
from shadowdiff.service.announcing import Announcer
from shadowdiff.service.clock import Clocks
from shadowdiff.service.cutting import cutting_off
from shadowdiff.service.doctor import Doctor
from shadowdiff.service.exporting import Exporting
from shadowdiff.service.figures import snapshot, sources
from shadowdiff.service.fixed import changed
from shadowdiff.service.gauges import Gauges
from shadowdiff.service.intakes import Intakes
from shadowdiff.service.judging import Judging
from shadowdiff.service.lasting import lasting
from shadowdiff.service.own_load import OwnLoad
from shadowdiff.store import Store, said
from shadowdiff.telemetry.metrics import Exposition, ReloadState, StoreState, Taken
from shadowdiff.telemetry.port import monitor_app
from shadowdiff.web import TargetView, WebState, create_web
from shadowdiff.web.access import Access
from shadowdiff.web.audit import AuditLog
from shadowdiff.web.rule_book import RuleBook
from shadowdiff.worker import ComparisonPool, Tally, Worker

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from shadowdiff.config import Config
    from shadowdiff.model import Observation
    from shadowdiff.rules import Rule
    from shadowdiff.service.backing import Backing
    from shadowdiff.service.ports import Ports

log = logging.getLogger(__name__)

POOL_PROCESSES = 2
CHECK_RETRY_S = 0.5
LAST_FLUSH_S = 1.0
"""What parking gets for v2's last answers where draining used up its time."""
LAST_BATCH_S = 2.0
"""What workers get for their last batch then."""
LAST_TELL_S = 1.0
"""What the books get for this process's last counts then."""
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")


def now_ms() -> int:
    """Return the wall clock in Unix milliseconds."""
    return time.time_ns() // 1_000_000


@dataclass(slots=True)
class _State:
    """What the stages see of the service's life."""

    phase: str | None = "starting"
    reload: ReloadState = field(default_factory=lambda: ReloadState(successful=True, at_s=time.time()))


class Service:
    """Everything between the ports and the store, for one process."""

    def __init__(self, config: Config, backing: Backing, ports: Ports) -> None:
        self.config = config
        self._backing = backing
        self._ports = ports
        self._state = _State()
        self._closing = asyncio.Event()
        self._keyed = asyncio.Event()
        self.is_ready = asyncio.Event()
        self._store: Store = backing.store
        self._codec = Codec(backing.key, config.limits.body_bytes)
        self._dictionaries = Dictionaries(self._store, self._codec)
        self._process = f"{socket.gethostname()}-{os.getpid()}-{os.urandom(3).hex()}"
        self._own_load = OwnLoad(next_turn=asyncio.get_running_loop().call_soon)
        self._books = Books(losses=RouteLosses(self._route_told, config.limits.routes))
        self._tally = Tally(config.limits.routes)
        self._gauges = Gauges(self._store, now_ms)
        self._limits = Limits(
            decoded_bytes=config.limits.decoded_bytes,
            differences=config.limits.differences,
        )
        self._parking = ParkSettings(
            window_s=config.pairing.window_s,
            settle_s=config.pairing.settle_s,
            gather_s=config.store.flush_ms / 1000,
            queue=config.store.queue,
            queue_bytes=config.limits.in_flight_bytes,
            store_depth=config.store.depth,
        )
        self._parker = Parker(self._store, self._codec, self._parking, self._process)
        self._redactor = redactor = self._redactor_of_config()
        self._redact = redactor.text
        self._remarks = Remarks(self._store, now_ms, redactor.text)
        self._doctor = Doctor(
            store=self._store,
            process=self._process,
            books=self._books,
            redactor=redactor,
            config=config,
            ledger=self._ledger,
            backend=backing.backend,
            durable=backing.durable,
        )
        self._access = self._access_of(config)
        self._audit = AuditLog(self._store, now_ms, redactor.text)
        self._rule_book = RuleBook(self._store, now_ms, self._take_rules)
        self._judging = Judging(
            config,
            self._store,
            self._codec,
            self._limits,
            redactor=redactor,
            ledger=self._ledger,
            made=self._rule_book.rules,
            notes=self._doctor.notes.writes,
        )
        self._epochs = self._judging.epochs
        self._pool = ComparisonPool(POOL_PROCESSES, config.limits.compare_ms / 1000)
        self._keeper = BookKeeper(self._store, self._process, lambda: snapshot(self._books))
        self._exporting = Exporting(config.telemetry, self._process)
        self._workers = [self._worker(shard) for shard in range(self._store.shards)]
        self._web = self._web_state()

    def _redactor_of_config(self) -> Redactor:
        asked = self.config.redaction
        return Redactor(
            redaction_key(self._backing.key or os.urandom(32)),
            names=asked.names,
            paths=asked.paths,
            headers=asked.headers,
            patterns=Patterns(asked.patterns, builtin=asked.builtin),
        )

    def _access_of(self, config: Config) -> Access:
        guarded = config.tls.web is not None and config.tls.web.client_ca is not None
        return Access(config.access, is_loopback=self._ports.web.is_loopback, has_client_ca=guarded)

    def _route_told(self, target: str, method: str, path: str) -> str:
        return self._judging.route_told(target, method, path)

    def _take_rules(self) -> None:
        self._judging.take_rules()

    async def _lost(self, target: str) -> dict[str, int]:
        return await self._store.counts(ledger_name(routes_name(target)))

    def _count_orphan(self, orphan: Observation) -> None:
        if orphan.side is not Side.CONTROL:
            self._books.losses.add(orphan.target, f"{orphan.side}.orphaned", orphan.method, orphan.path)

    def _gate_token(self) -> bytes | None:
        hooks = self.config.access.hooks
        return hooks.reveal() if hooks else None

    def _worker(self, shard: int) -> Worker:
        claimer = Claimer(self._store, shard, self._process, self._target_names(), self._dictionaries)
        return Worker(
            store=self._store,
            shard=shard,
            claimer=claimer,
            judge=self._judging.judge,
            pool=self._pool,
            limits=self._limits,
            tally=self._tally,
            claim_idle_s=self.config.pairing.claim_idle_s,
            trace=self._exporting.trace,
        )

    def _target_names(self) -> list[str]:
        return [target.target.name for target in self.config.targets]

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set, then drain.

        Raises: StoreMisfitError where the store was written with other settings.
        """
        try:
            async with (
                Upstream(now_ms, self.config.limits.body_bytes) as upstream,
                cutting_off() as cut_off,
                asyncio.TaskGroup() as forwarding,
            ):
                self._intakes = Intakes(
                    self.config,
                    group=forwarding,
                    upstream=upstream,
                    books=self._books,
                    parker=self._parker,
                    was_busy=self._own_load.was_high,
                    now_ms=now_ms,
                )
                dispatcher = self._intakes.dispatcher
                await self._serve_until(stop)
                if dispatcher.held_items:
                    cut_off()
                    await asyncio.sleep(0)
        finally:
            self._pool.close()
            await self._exporting.stop()

    async def _serve_until(self, stop: asyncio.Event) -> None:
        """Serve every port until `stop`, then drain."""
        async with asyncio.TaskGroup() as serving:
            ports = self._serve(serving)
            workers = [serving.create_task(self._work(worker), name="worker") for worker in self._workers]
            tasks = self._start(serving)
            await self._ready()
            await stop.wait()
            await self._drain(ports[:2], workers)
            for task in tasks:
                task.cancel()
            self._closing.set()
            self._ports.web.stop()
            if self._ports.metrics is not None:
                self._ports.metrics.stop()

    async def _keep_epochs(self) -> None:
        """Keep the epochs once all rules are known: a start with the configuration's alone would open one."""
        await self._rule_book.looked.wait()
        await self._epochs.run()

    async def _work(self, worker: Worker) -> None:
        """Let a worker judge once it is known which epoch its pairs count in, and what stands for secrets."""
        await self._epochs.ready.wait()
        await self._keyed.wait()
        await lasting(worker.run, "worker")

    def _serve(self, group: asyncio.TaskGroup) -> list[asyncio.Task[None]]:
        self._exposition = Exposition(
            sources(
                self._books,
                self._tally,
                store=self._store_state,
                ledgers=self._gauges.ledgers,
                verdicts=self._gauges.verdicts,
                targets=lambda: self.config.targets,
                reload=lambda: self._state.reload,
                spans=self._exporting.outcomes,
            )
        )
        apps: tuple[Any, ...] = (
            self._intakes.mirror,
            self._intakes.records,
            create_web(self._web),
            monitor_app(self._exposition, lambda: self._state.phase),
        )
        return [
            group.create_task(port.serve(app), name=f"port-{port.name}")
            for port, app in zip(
                self._ports.all(), apps, strict=False
            )  # one of several processes has no port for metrics
        ]

    def _web_state(self) -> WebState:
        backing = self._backing
        return WebState(
            targets=lambda: [
                TargetView(all_of.target, tuple(_line(rule) for rule in all_of.rules), target.rules)
                for all_of, target in zip(self._judging.targets(), self.config.targets, strict=True)
            ],
            reader=self._store,
            ledger=self._ledger,
            epochs=self._epochs,
            rule_book=self._rule_book,
            remarks=self._remarks,
            diagnosis=self._doctor.diagnosis,
            named_now=self._judging.named_now,
            lost=self._lost,
            now_ms=now_ms,
            closing=self._closing,
            public_url=self.config.web.url,
            trace_url=self.config.web.trace_url,
            sample_ttl_s=int(self.config.samples.max_age_s),
            access=lambda: self._access,
            gate_token=self._gate_token,
            audit=self._audit,
            redact=self._redact,
            hosts=LOOPBACK_NAMES if self._ports.web.is_loopback and not self._access.asks else (),
            version=__version__,
            store=f"{backing.backend} {self._version()} ({'durable' if backing.durable else 'not durable'})",
        )

    def _version(self) -> str:
        return self._store.version or self._backing.version

    async def _ledger(self, target: str) -> dict[str, Any]:
        """Return a target's ledger with this process's counts of now in it."""
        await self._keeper.tell()
        return cast("dict[str, Any]", await read_ledger(self._store, target))

    def _store_state(self) -> StoreState:
        return StoreState(
            up=self._store.up,
            backend=self._backing.backend,
            version=self._version(),
            durable=self._backing.durable,
        )

    def _start(self, group: asyncio.TaskGroup) -> list[asyncio.Task[None]]:
        """Start what keeps the store and its figures in order; return the tasks that a stop cancels."""
        sweeper = Sweeper(
            self._store,
            self._codec,
            self._parking,
            targets=self._target_names,
            on_orphans=self._doctor.keep,
            on_depth=self._note_depth,
            on_read=self._count_orphan,
            processes=lambda: self._keeper.processes,
        )
        pushing = self._exporting.pushing(self._exposition.take)
        pushed = [] if pushing is None else [group.create_task(pushing, name="push-metrics")]
        keeping = Keeping(self._store, self._target_names, now_ms, int(self.config.samples.max_age_s))
        kept: dict[str, Callable[[], Awaitable[None]]] = {
            "forget": keeping.run,
            "dictionaries": self._dictionaries.run,
            "sweep": sweeper.run,
            "books": self._keeper.run,
            "route-names": self._judging.route_names.run,
            "gauges": lambda: self._gauges.run(self._web),
            "rules": self._rule_book.run,
            "epochs": self._keep_epochs,
            "doctor": self._doctor.run,
            "webhooks": self._announcer,
            "fingerprints": lambda: self._web.fingerprints.run(self._target_names),
        }
        return [
            *pushed,
            *(group.create_task(lasting(run, name), name=name) for name, run in kept.items()),
            group.create_task(self._parker.run(), name="park"),
            group.create_task(self._check_store(), name="check-store"),
            group.create_task(lasting(Clocks(self._store.clocks_s).run, "clock"), name="clock"),
            group.create_task(self._own_load.watch(), name="own-load"),
            group.create_task(self._ports.watch(), name="certificates"),
        ]

    async def _announcer(self) -> None:
        """Tell the receivers what is new."""
        await Announcer(
            self.config.webhooks,
            store=self._store,
            verdicts=self._gauges.verdicts,
            fingerprints=self._web.fingerprints,
            targets=self._target_names,
            redact=self._redact,
            public_url=self.config.web.url,
            now_ms=now_ms,
        ).run()

    def _note_depth(self, depth: int) -> None:
        self._parker.store_depth = depth

    async def _check_store(self) -> None:
        """Once the store answers, check its settings, where a misfit ends the service, and take the key of hashes."""
        while True:
            try:
                await self._store.check()
                if self._backing.key is None:
                    self._redactor.rekey(await shared_key(self._store))
            except (RedisError, OSError, TimeoutError) as error:
                log.warning("the store does not answer yet", extra={"error": said(error)})
                await asyncio.sleep(CHECK_RETRY_S)
            else:
                self._keyed.set()
                return

    async def _ready(self) -> None:
        while not all(port.started for port in self._ports.all()):  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
        self._state.phase = None
        self.is_ready.set()
        log.info(
            "ready",
            extra={
                **{port.name: f"{port.scheme}://{port.host}:{port.port}" for port in self._ports.all()},
                "store": self._backing.backend,
                "durable": self._backing.durable,
                "targets": self._target_names(),
            },
        )

    async def _drain(self, intakes: Sequence[asyncio.Task[None]], workers: Sequence[asyncio.Task[None]]) -> None:
        """Finish what was taken in, in the order of the data, for at most `drain_s` and the last steps' own times."""
        deadline = asyncio.get_running_loop().time() + self.config.drain_s
        self._state.phase = "draining"
        log.info("draining", extra={"within_s": self.config.drain_s})

        def left() -> float:
            return max(0.0, deadline - asyncio.get_running_loop().time())

        self._ports.mirror.stop()
        self._ports.records.stop()
        await asyncio.wait(intakes, timeout=left())  # until then, more comes in over connections that stand
        dispatcher = self._intakes.dispatcher
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(dispatcher.drained(), left())
        if dispatcher.held_items:
            log.warning("requests to v2 are cut off", extra={"requests": dispatcher.held_items})
        dispatcher.stop()  # what v2 answers from here on would be parked behind the last flush, and told as in flight
        lost = await self._parker.drain(max(left(), LAST_FLUSH_S))
        if lost:
            log.error("observations are lost: the store did not take them in time", extra={"observations": lost})
        for worker in self._workers:
            worker.stop()
        _, unfinished = await asyncio.wait(workers, timeout=max(left(), LAST_BATCH_S))
        for task in unfinished:  # what it claimed stays pending in the store, for another to take over
            task.cancel()
        try:
            async with asyncio.timeout(max(left(), LAST_TELL_S)):
                await self._keeper.tell(leaving=True)
        except (RedisError, OSError, TimeoutError) as error:
            log.warning("the books miss this process's last counts", extra={"error": said(error)})

    def reload(self, config: Config) -> None:
        """Take a new configuration's targets and rules; say what only a restart can change."""
        fixed = changed(config, self.config)
        if fixed:
            log.warning("a restart is needed for some settings", extra={"settings": fixed})
        self.config = config
        self._intakes.replace(config)
        self._access = self._access_of(config)
        self._judging.serve(config)
        self._doctor.serve(config)
        for worker in self._workers:
            worker.serve(self._target_names())
        self._state.reload = ReloadState(successful=True, at_s=time.time())
        log.info("configuration reloaded", extra={"targets": self._target_names()})

    def figures(self) -> Taken:
        """Return what this process counted up to now; call it once the service is ready."""
        return self._exposition.stages()

    def reload_failed(self) -> None:
        """Note that a new configuration was wrong; the old one stays."""
        self._state.reload = ReloadState(successful=False, at_s=time.time())


def _line(rule: Rule) -> str:
    """Return a rule as pages show it."""
    return f"{rule.label} ({rule.reason})" if rule.reason else rule.label
