"""Run one process of the service: start every stage, reload the configuration, drain and stop.

Every task belongs to a TaskGroup. The store may be unavailable at any time. A stop drains the stages until a time
limit, in the order in which requests pass them; accepted observations stay in the store.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING, Any

from shadowdiff.report import shared_key
from shadowdiff.service.background_tasks import cancel_scope, restart_on_error
from shadowdiff.service.construction import Stages, access_of, admission_of, diagnosed_settings, sent_secrets
from shadowdiff.service.restart_required import changed
from shadowdiff.store import STORE_ERRORS, describe_error
from shadowdiff.telemetry.exposition import metrics_app
from shadowdiff.telemetry.metrics import ReloadState
from shadowdiff.web import create_web

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shadowdiff.config import Config
    from shadowdiff.service.open_store import StoreHandle
    from shadowdiff.service.ports import Ports
    from shadowdiff.telemetry.exposition import Snapshot
    from shadowdiff.worker import ShardWorker

log = logging.getLogger(__name__)

CHECK_RETRY_S = 0.5
RUNS_WITHIN_S = 3.0
"""How long a start waits for the run of every target, so that the first pairs count in it."""
LAST_FLUSH_S = 1.0
"""How long the writer may take for v2's last responses if the drain time is over."""
LAST_BATCH_S = 2.0
"""How long workers may then take for their last batch."""
LAST_SYNC_S = 1.0
"""How long the ledger may then take for the last counts of this process."""


class Service:
    """All components between the ports and the store, for one process."""

    def __init__(self, config: Config, handle: StoreHandle, ports: Ports) -> None:
        self._handle = handle
        self._ports = ports
        self._stages = Stages(config, handle, ports)
        self._live = self._stages.live
        self._has_redaction_key = asyncio.Event()
        self.is_ready = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set, then drain. Raises: StoreMismatchError if the store has other settings."""
        stages = self._stages
        try:
            async with stages.upstream, cancel_scope() as cancel, stages.requests:
                await self._serve_until(stop)
                if stages.dispatcher.held_items:
                    cancel()
                    await asyncio.sleep(0)
        finally:
            stages.pool.close()
            stages.web_jobs.close()
            await stages.otlp.stop()

    async def _serve_until(self, stop: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as serving:
            apps: tuple[Any, ...] = (
                self._stages.mirror,
                self._stages.records,
                create_web(self._stages.web),
                metrics_app(self._stages.exposition.render, lambda: self._live.phase),
            )
            ports = [
                serving.create_task(port.serve(app), name=f"port-{port.name}")
                for port, app in zip(self._ports.all(), apps, strict=False)  # a worker process has no port for metrics
            ]
            workers = [serving.create_task(self._work(worker), name="worker") for worker in self._stages.workers]
            tasks = self._start_background(serving)
            await self._ready()
            await stop.wait()
            await self._drain(ports[:2], workers)
            for task in tasks:
                task.cancel()
            self._stages.closing.set()
            for port in self._ports.all()[2:]:
                port.stop()

    def _start_background(self, group: asyncio.TaskGroup) -> list[asyncio.Task[None]]:
        stages = self._stages
        return [
            *(group.create_task(restart_on_error(run, name), name=name) for name, run in stages.background.items()),
            group.create_task(stages.otlp.push(stages.exposition.take), name="push-metrics"),
            group.create_task(stages.writer.run(), name="writer"),
            group.create_task(stages.overload.watch(), name="overload"),
            group.create_task(self._check_store(), name="check-store"),
            *(group.create_task(port.watch(), name="certificate") for port in self._ports.all()),
        ]

    async def _work(self, worker: ShardWorker) -> None:
        """Wait for the redaction key and the run of every target, then let a worker compare."""
        await self._stages.comparison.runs.ready.wait()
        await self._has_redaction_key.wait()
        await restart_on_error(worker.run, "worker")

    async def _check_store(self) -> None:
        """When the store replies, check its settings (a mismatch stops the service), and read the redaction key."""
        store = self._handle.store
        while not self._has_redaction_key.is_set():
            try:
                await store.check()
                if self._handle.key is None:
                    self._stages.redactor.rekey(await shared_key(store))
                self._has_redaction_key.set()
            except STORE_ERRORS as error:
                log.warning("store unavailable; will retry settings check", extra={"error": describe_error(error)})
                await asyncio.sleep(CHECK_RETRY_S)

    async def _ready(self) -> None:
        while not all(port.started for port in self._ports.all()):  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
        with contextlib.suppress(TimeoutError):  # an unavailable store does not make a process unready
            await asyncio.wait_for(self._stages.comparison.runs.ready.wait(), RUNS_WITHIN_S)
        self._live.phase = None
        self.is_ready.set()
        urls = {port.name: port.url for port in self._ports.all()}
        store = {"store": self._handle.backend, "durable": self._handle.durable}
        log.info("ready", extra={**urls, **store, "targets": self._live.target_names()})

    async def _drain(self, intakes: Sequence[asyncio.Task[None]], workers: Sequence[asyncio.Task[None]]) -> None:
        """Finish accepted work, stage by stage, for at most `drain_s` plus the time limits of the last steps."""
        loop, stages = asyncio.get_running_loop(), self._stages
        deadline = loop.time() + self._live.config.drain_s
        self._live.phase = "draining"
        log.info("draining", extra={"within_s": self._live.config.drain_s})

        def left() -> float:
            return max(0.0, deadline - loop.time())

        self._ports.mirror.stop()
        self._ports.records.stop()
        await asyncio.wait(intakes, timeout=left())  # until now, open connections could deliver requests
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stages.dispatcher.drained(), left())
        if stages.dispatcher.held_items:
            log.warning("drain timed out; requests to v2 cancelled", extra={"requests": stages.dispatcher.held_items})
        stages.dispatcher.stop()  # the last flush would not include later responses, which would count as in flight
        lost = await stages.writer.drain(max(left(), LAST_FLUSH_S))
        if lost:
            log.error("observations lost; store did not accept them in time", extra={"observations": lost})
        for worker in stages.workers:
            worker.stop()
        _, unfinished = await asyncio.wait(workers, timeout=max(left(), LAST_BATCH_S))
        for task in unfinished:  # their claims remain in the store for another worker
            task.cancel()
        try:
            async with asyncio.timeout(max(left(), LAST_SYNC_S)):
                await stages.ledger_sync.sync(leaving=True)
        except STORE_ERRORS as error:
            log.warning("ledger sync failed at exit; last counts lost", extra={"error": describe_error(error)})

    def reload(self, config: Config) -> None:
        """Use a new configuration's targets and rules; log which changed settings need a restart."""
        if needs := changed(config, self._live.config):
            log.warning("changed settings need a restart", extra={"settings": needs})
        live, stages = self._live, self._stages
        live.config = config
        live.access = access_of(config, self._ports)
        targets = [target.target for target in config.targets]
        stages.redactor.hide_texts(sent_secrets(config))
        stages.mirror.replace(targets)
        stages.records.replace(targets)
        stages.records.admission = admission_of(config)
        stages.comparison.serve(config)
        stages.doctor.serve(diagnosed_settings(config))
        for worker in stages.workers:
            worker.serve(live.target_names())
        live.reload = ReloadState(successful=True, at_s=time.time())
        log.info("config reloaded", extra={"targets": live.target_names()})

    def reload_failed(self) -> None:
        """Record that a new configuration was rejected; the previous configuration stays in use."""
        self._live.reload = ReloadState(successful=False, at_s=time.time())

    def figures(self) -> Snapshot:
        """Return this process's counters; call it only after the service is ready."""
        return self._stages.exposition.snapshot()
