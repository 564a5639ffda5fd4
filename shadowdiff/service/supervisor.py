"""Several processes that serve one pod, and the one that looks after them.

In: a configuration, how many.  Out: worker processes on shared addresses, one metrics port, an exit code.
Holds: each worker has listening sockets of its own, among which the kernel spreads connections, and which outlive it:
what came while it was away waits for its successor. A successor serves before its predecessor drains. A worker that
crashes is started again, with patience; the embedded store belongs to this process alone. Judges nothing itself.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from typing import TYPE_CHECKING, Any

import msgspec

from shadowdiff.config import ConfigError
from shadowdiff.service.control import Embedded
from shadowdiff.service.fixed import HELD, changed
from shadowdiff.service.ports import beside, bind_all, bound, metrics_port
from shadowdiff.service.worker_process import WorkerProcess
from shadowdiff.store.embedded import EmbeddedStoreError, choose_and_start
from shadowdiff.telemetry.metrics import ReloadState, WorkersState, written
from shadowdiff.telemetry.port import monitor_app
from shadowdiff.telemetry.together import Together

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from shadowdiff.config import Config

log = logging.getLogger(__name__)

INTAKES = ("mirror", "records", "web")
BACKOFF_FIRST_S = 0.1
BACKOFF_MOST_S = 10.0
FREES_FROM_S = 0.5
"""A worker that is away for longer gives its sockets up, so that its share goes to the others."""
SETTLED_S = 30.0
"""A worker that lived this long is started again at once when it dies."""
LOOK_EVERY_S = 1.0
HUNG_S = 60.0
"""A worker that said nothing for this long, though asked every second, is ended."""
ANSWERS_WITHIN_S = 2.0
READY_WITHIN_S = 60.0
EXIT_USAGE = 2
START_S = 60.0
"""So soon after the start, a worker that says that the configuration cannot work here speaks for all."""
LAST_S = 10.0
"""What a worker gets beyond its drain before it is killed."""


class _Slot:
    """A worker's place: the sockets that its processes inherit from each other."""

    def __init__(self, number: int, sockets: dict[str, socket.socket]) -> None:
        self.number = number
        self.sockets = sockets
        self.worker: WorkerProcess | None = None
        self.backoff_s = 0.0

    def free(self) -> None:
        for each in self.sockets.values():
            each.close()
        self.sockets = {}


class Supervisor:
    """The processes of one pod."""

    def __init__(self, config: Config, load: Callable[[], Config], workers: int, command: Sequence[str]) -> None:
        self._config = config
        self._load = load
        self._command = command
        self._phase: str | None = "starting"
        self._reload = ReloadState(successful=True, at_s=time.time())
        self._together = Together()
        self._stopping = asyncio.Event()
        self._embedded: Embedded | None = None
        self._begun_s = time.monotonic()
        self._exit = 0
        self._crashes = 0
        self._rolling = asyncio.Lock()
        self._served: list[WorkerProcess] = []
        first = bind_all(config, INTAKES, shared=True)
        self._addresses = {name: each.getsockname() for name, each in first.items()}
        self._slots = [_Slot(0, first)]
        self._slots += [
            _Slot(number, {name: beside(each) for name, each in first.items()}) for number in range(1, workers)
        ]
        try:
            self._metrics = metrics_port(config)
        except BaseException:
            self._free()
            raise

    async def run(self) -> int:
        """Serve until stopped; return the exit code. Raises: EmbeddedStoreError."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        store = self._config.store
        try:
            if store.url is not None:
                return await self._serve()
            async with await choose_and_start(store.data_dir) as embedded:
                if not embedded.durable:
                    raise EmbeddedStoreError(
                        "--workers: a store in memory belongs to one process; set store.url, install redis-server,"
                        " or run one worker"
                    )
                self._embedded = Embedded(embedded.url, embedded.backend, embedded.version, embedded.key)
                return await self._serve()
        finally:
            self._free()
            self._metrics.close()
            log.info("stopped")

    def _free(self) -> None:
        for slot in self._slots:
            slot.free()

    async def _serve(self) -> int:
        loop = asyncio.get_running_loop()
        app: Any = monitor_app(self, self._not_ready)
        async with asyncio.TaskGroup() as group:
            self._group = group
            port = group.create_task(self._metrics.serve(app), name="port-metrics")
            looking = group.create_task(self._look_after(), name="look-after")
            renewing = group.create_task(self._metrics.watch(), name="certificate")
            for slot in self._slots:
                slot.worker = await self._start(slot)
            loop.add_signal_handler(signal.SIGHUP, self._take_configuration)
            loop.add_signal_handler(signal.SIGUSR1, self._roll_soon)
            await self._until_all_are_ready()
            await self._stopping.wait()
            self._phase = "draining"
            loop.remove_signal_handler(signal.SIGHUP)
            loop.remove_signal_handler(signal.SIGUSR1)
            await asyncio.gather(*(self._end(worker) for worker in tuple(self._served)))
            looking.cancel()
            renewing.cancel()
            self._metrics.stop()
            await port
        return self._exit

    async def _until_all_are_ready(self) -> None:
        """Wait for every worker, or for the stop; one that never comes up leaves the pod unready."""
        while not self._stopping.is_set():
            if all(slot.worker is not None and slot.worker.is_ready for slot in self._slots):
                self._phase = None
                log.info("all workers are ready", extra={"workers": len(self._slots), "metrics": self._metrics.port})
                return
            await asyncio.sleep(0.02)

    def _not_ready(self) -> str | None:
        """Return why no request can be taken."""
        if self._phase is None and not self._ready_workers():
            return "no worker is ready"
        return self._phase

    def _ready_workers(self) -> list[WorkerProcess]:
        return [slot.worker for slot in self._slots if slot.worker is not None and slot.worker.is_ready]

    # The life of a worker.

    async def _start(self, slot: _Slot) -> WorkerProcess:
        """Start a process in a slot; what becomes of it is `_attend`'s."""
        if not slot.sockets:
            slot.sockets = {name: self._bound_anew(name) for name in INTAKES}
        worker = await WorkerProcess.start(
            self._command, slot.sockets, self._config.store, self._embedded, len(self._slots)
        )
        self._served.append(worker)
        self._group.create_task(self._attend(slot, worker), name=f"worker-{slot.number}")
        return worker

    def _bound_anew(self, name: str) -> socket.socket:
        for slot in self._slots:
            if slot.sockets:
                return beside(slot.sockets[name])
        host, port = self._addresses[name][:2]
        return bound(name, host, port, f"listen.{name}", shared=True)

    async def _attend(self, slot: _Slot, worker: WorkerProcess) -> None:
        """Hear a worker until it ends; where nobody ended it, another takes its place."""
        code = await worker.attend()
        self._served.remove(worker)
        self._together.bury(worker.figures, time.monotonic())
        if slot.worker is not worker or self._stopping.is_set():
            return
        slot.worker = None
        if code == EXIT_USAGE and time.monotonic() - self._begun_s < START_S:
            self._exit = code  # it said why
            self._stopping.set()
            return
        self._crashes += 1
        slot.backoff_s = _patience(slot.backoff_s, worker.lived_s)
        log.error(
            "a worker ended and is started again",
            extra={"worker": slot.number, "pid": worker.pid, "exit": code, "after_s": slot.backoff_s},
        )
        if slot.backoff_s >= FREES_FROM_S:
            slot.free()
        if not await self._stops_within(slot.backoff_s) and slot.worker is None:
            slot.worker = await self._start(slot)

    async def _stops_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                return await self._stopping.wait()
        except TimeoutError:
            return False

    async def _end(self, worker: WorkerProcess) -> None:
        """Drain a worker, and kill it where it does not end."""
        worker.send(signal.SIGTERM)
        if not await worker.ends_within(self._config.drain_s + LAST_S):
            log.error("a worker did not drain in time", extra={"pid": worker.pid})
            worker.send(signal.SIGKILL)
            await worker.ended.wait()

    async def _look_after(self) -> None:
        """Ask every worker each second, so that little is forgotten when one dies, and end those that hang."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            for worker in tuple(self._served):
                worker.ask()
                if worker.silent_s > HUNG_S:
                    log.error("a worker hangs and is killed", extra={"pid": worker.pid})
                    worker.send(signal.SIGKILL)

    # Configuration.

    def _take_configuration(self) -> None:
        """Read the configuration anew: workers take it as they are, or in new processes where they must."""
        try:
            config = self._load()
        except ConfigError as error:
            self._reload = ReloadState(successful=False, at_s=time.time())
            log.error("the new configuration is wrong, the old one stays: %s", error)  # noqa: TRY400
            return
        needs = changed(config, self._config)
        if held := sorted(HELD.intersection(needs)):
            log.warning("a restart of the whole is needed for some settings", extra={"settings": held})
        old, self._config = self._config, _holding(config, self._config)
        self._reload = ReloadState(successful=True, at_s=time.time())
        if changed(self._config, old):
            self._roll_soon()
            return
        for worker in tuple(self._served):
            worker.send(signal.SIGHUP)

    def _roll_soon(self) -> None:
        self._group.create_task(self._roll(), name="roll")

    async def _roll(self) -> None:
        """Replace the workers one by one, each once its successor serves."""
        async with self._rolling:
            for slot in self._slots:
                if self._stopping.is_set():
                    return
                successor = await self._start(slot)
                if not await successor.ready_within(READY_WITHIN_S, self._stopping):
                    log.error("a new worker did not get ready: the old ones stay", extra={"worker": slot.number})
                    successor.send(signal.SIGKILL)
                    return
                old, slot.worker = slot.worker, successor
                if old is not None:
                    await self._end(old)
            log.info("every worker was replaced", extra={"workers": len(self._slots)})

    # The metrics of all.

    async def render(self, accept: str) -> tuple[bytes, str]:
        """Return the text of one scrape over all workers, and its content type."""
        living = tuple(self._served)
        await asyncio.gather(*(worker.answers_within(ANSWERS_WITHIN_S) for worker in living))
        state = WorkersState(ready=len(self._ready_workers()), crashes=self._crashes)
        now_s = time.monotonic()
        figures = [worker.figures for worker in living if not worker.ended.is_set()]
        return await written(self._together.taken(figures, self._reload, state, now_s), accept)


def _patience(last_s: float, lived_s: float) -> float:
    """Return how long to wait before a worker that lived so long is started again."""
    if lived_s > SETTLED_S:
        return 0.0
    return min(last_s * 2, BACKOFF_MOST_S) or BACKOFF_FIRST_S


def _holding(new: Config, old: Config) -> Config:
    """Return the new configuration with what all processes share as it was."""
    return msgspec.structs.replace(new, **{name: getattr(old, name) for name in HELD})
