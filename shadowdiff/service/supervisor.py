"""Run several worker processes behind the same ports, with one common metrics port.

Each worker slot has its own listening sockets, which stay open between its processes: connections wait for the next
process. A new process accepts requests before the old process drains. The supervisor restarts a crashed worker with a
backoff. The embedded store also runs here.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from shadowdiff.config import ConfigError
from shadowdiff.model import Backoff
from shadowdiff.service.background_tasks import is_set_within
from shadowdiff.service.open_store import EmbeddedAddress
from shadowdiff.service.ports import bind, bind_again, bind_all, metrics_port
from shadowdiff.service.restart_required import SHARED, changed
from shadowdiff.service.worker_process import WorkerProcess
from shadowdiff.store.embedded_redis import start_embedded
from shadowdiff.telemetry.exposition import encode, metrics_app
from shadowdiff.telemetry.metrics import PodSources, ReloadState, WorkersState
from shadowdiff.telemetry.multiprocess import PodMetrics

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from shadowdiff.config import Config

log = logging.getLogger(__name__)

INTAKES = ("mirror", "records", "web")
CLOSES_FROM_S = 0.5
"""If a slot has no worker for longer than this, it closes its sockets, so other workers get its connections."""
SETTLED_S = 30.0
"""A worker that ran this long is restarted at once."""
POLL_EVERY_S = 1.0
HUNG_S = 60.0
"""A worker that does not reply for this long is killed. It is polled every second."""
REPORT_WITHIN_S = 2.0
READY_WITHIN_S = 60.0
EXIT_USAGE = 2
START_S = 60.0
"""Within this time after the start, a worker's exit with EXIT_USAGE ends the supervisor, too."""
KILL_AFTER_DRAIN_S = 10.0


@dataclass(slots=True)
class _Slot:
    """The sockets that successive worker processes inherit, and the current process."""

    number: int
    sockets: dict[str, socket.socket]
    worker: WorkerProcess | None = None
    backoff: Backoff = field(default_factory=lambda: Backoff(first_s=0.1, longest_s=10.0))

    @property
    def is_ready(self) -> bool:
        return self.worker is not None and self.worker.is_ready

    def close(self) -> None:
        for each in self.sockets.values():
            each.close()
        self.sockets = {}


class Supervisor:
    """Starts, monitors, replaces and stops the worker processes of one pod."""

    def __init__(self, config: Config, load: Callable[[], Config], workers: int, command: Sequence[str]) -> None:
        self._config = config
        self._load = load
        self._command = command
        self._phase: str | None = "starting"
        self._reload = ReloadState(successful=True, at_s=time.time())
        self._pod_metrics = PodMetrics()
        self._stopping = asyncio.Event()
        self._embedded: EmbeddedAddress | None = None
        self._begun_s = time.monotonic()
        self._exit = 0
        self._crashes = 0
        self._rolling = asyncio.Lock()
        self._served: list[WorkerProcess] = []
        first = bind_all(config, INTAKES, shared=True)
        self._addresses = {name: each.getsockname() for name, each in first.items()}
        more = ({name: bind_again(each) for name, each in first.items()} for _ in range(1, workers))
        self._slots = [_Slot(number, sockets) for number, sockets in enumerate((first, *more))]
        self._metrics = metrics_port(config)

    async def run(self) -> int:
        """Serve until stopped; return the exit code. Raises: EmbeddedStoreError."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        store = self._config.store
        try:
            if store.url is not None:
                return await self._serve()
            async with await start_embedded(store.data_dir) as embedded:
                self._embedded = EmbeddedAddress(embedded.url, embedded.backend, embedded.version, embedded.key)
                return await self._serve()
        finally:
            for slot in self._slots:
                slot.close()
            self._metrics.close()
            log.info("stopped")

    async def _serve(self) -> int:
        loop = asyncio.get_running_loop()
        app: Any = metrics_app(self.render, self._not_ready)
        async with asyncio.TaskGroup() as group:
            self._group = group
            port = group.create_task(self._metrics.serve(app), name="port-metrics")
            polling = group.create_task(self._poll_workers(), name="poll-workers")
            renewing = group.create_task(self._metrics.watch(), name="certificate")
            for slot in self._slots:
                slot.worker = await self._start(slot)
            loop.add_signal_handler(signal.SIGHUP, self._reload_config)
            loop.add_signal_handler(signal.SIGUSR1, self._roll_soon)
            await self._until_all_are_ready()
            await self._stopping.wait()
            self._phase = "draining"
            loop.remove_signal_handler(signal.SIGHUP)
            loop.remove_signal_handler(signal.SIGUSR1)
            await asyncio.gather(*(self._end(worker) for worker in tuple(self._served)))
            polling.cancel()
            renewing.cancel()
            self._metrics.stop()
            await port
        return self._exit

    async def _until_all_are_ready(self) -> None:
        """Wait for every worker, or for the stop; if a worker never starts, the pod stays unready."""
        while not self._stopping.is_set():
            if all(slot.is_ready for slot in self._slots):
                self._phase = None
                log.info("all workers ready", extra={"workers": len(self._slots), "metrics": self._metrics.port})
                return
            await asyncio.sleep(0.02)

    def _not_ready(self) -> str | None:
        """Return why the pod cannot accept requests; None if it can accept requests."""
        is_ready = any(slot.is_ready for slot in self._slots)
        return self._phase if self._phase or is_ready else "no worker is ready"

    # Start, run and stop a worker process.

    async def _start(self, slot: _Slot) -> WorkerProcess:
        """Start a process in a slot, and monitor it until it exits."""
        if not slot.sockets:
            slot.sockets = {name: self._bind_again(name) for name in INTAKES}
        store, processes = self._config.store, len(self._slots)
        worker = await WorkerProcess.start(self._command, slot.sockets, store, self._embedded, processes)
        self._served.append(worker)
        self._group.create_task(self._watch(slot, worker), name=f"worker-{slot.number}")
        return worker

    def _bind_again(self, name: str) -> socket.socket:
        for slot in self._slots:
            if slot.sockets:
                return bind_again(slot.sockets[name])
        return bind(name, *self._addresses[name][:2], shared=True)

    async def _watch(self, slot: _Slot, worker: WorkerProcess) -> None:
        """Read a worker's reports until it exits, and restart it unless it was stopped."""
        code = await worker.read_reports()
        self._served.remove(worker)
        self._pod_metrics.process_ended(worker.figures, time.monotonic())
        if slot.worker is not worker or self._stopping.is_set():
            return
        slot.worker = None
        if code == EXIT_USAGE and time.monotonic() - self._begun_s < START_S:
            self._exit = code  # the worker logged why
            self._stopping.set()
            return
        self._crashes += 1
        is_settled = time.monotonic() - worker.started_s > SETTLED_S
        if is_settled:
            slot.backoff.reset()
        wait_s = 0.0 if is_settled else slot.backoff.next_s()
        extra = {"worker": slot.number, "pid": worker.pid, "exit": code, "after_s": wait_s}
        log.error("worker exited; restarting", extra=extra)
        if wait_s >= CLOSES_FROM_S:
            slot.close()
        if not await is_set_within(self._stopping, wait_s) and slot.worker is None:
            slot.worker = await self._start(slot)

    async def _end(self, worker: WorkerProcess) -> None:
        worker.send(signal.SIGTERM)
        if not await is_set_within(worker.ended, self._config.drain_s + KILL_AFTER_DRAIN_S):
            log.error("worker did not drain in time; killing it", extra={"pid": worker.pid})
            worker.send(signal.SIGKILL)
            await worker.ended.wait()

    async def _poll_workers(self) -> None:
        """Poll every worker's counters each second, so that a crash loses few counts, and kill workers that hang."""
        while True:
            await asyncio.sleep(POLL_EVERY_S)
            for worker in tuple(self._served):
                worker.request_report()
                if time.monotonic() - worker.reported_s > HUNG_S:
                    log.error("worker not responding; killing it", extra={"pid": worker.pid})
                    worker.send(signal.SIGKILL)

    # Configuration.

    def _reload_config(self) -> None:
        """Reload the configuration; if settings need a restart, replace the workers with new processes."""
        try:
            config = self._load()
        except ConfigError as error:
            self._reload = ReloadState(successful=False, at_s=time.time())
            log.error("config reload failed; keeping previous: %s", error)  # noqa: TRY400
            return
        needs = changed(config, self._config)
        if held := sorted(SHARED.intersection(needs)):
            log.warning("changed settings need a restart of the supervisor", extra={"settings": held})
        old = self._config
        self._config = config.model_copy(update={name: getattr(old, name) for name in SHARED})
        self._reload = ReloadState(successful=True, at_s=time.time())
        if changed(self._config, old):
            self._roll_soon()
            return
        for worker in tuple(self._served):
            worker.send(signal.SIGHUP)

    def _roll_soon(self) -> None:
        self._group.create_task(self._roll(), name="roll")

    async def _roll(self) -> None:
        """Replace the workers one by one, each when its successor is ready."""
        async with self._rolling:
            for slot in self._slots:
                if self._stopping.is_set():
                    return
                successor = await self._start(slot)
                if not await successor.ready_within(READY_WITHIN_S, self._stopping):
                    log.error("new worker not ready in time; keeping the old ones", extra={"worker": slot.number})
                    successor.send(signal.SIGKILL)
                    return
                old, slot.worker = slot.worker, successor
                if old is not None:
                    await self._end(old)
            log.info("all workers replaced", extra={"workers": len(self._slots)})

    # Combines the metrics of all workers.

    async def render(self, accept: str) -> tuple[bytes, str]:
        """Return the text of a scrape with the metrics of all workers, and its content type."""
        living = tuple(self._served)
        await asyncio.gather(*(worker.report_within(REPORT_WITHIN_S) for worker in living))
        state = WorkersState(ready=sum(slot.is_ready for slot in self._slots), crashes=self._crashes)
        figures = [worker.figures for worker in living if not worker.ended.is_set()]
        pod = PodSources(config_reload=lambda: self._reload, workers=lambda: state)
        return await encode(self._pod_metrics.take(figures, pod, time.monotonic()), accept)
