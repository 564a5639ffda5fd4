"""Run the service as one process, or as several under a supervisor; handle signals and return the exit code."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from typing import TYPE_CHECKING

import uvloop

from shadowdiff.config import Config, ConfigError
from shadowdiff.service.background_tasks import single_errors
from shadowdiff.service.open_store import open_configured_store
from shadowdiff.service.ports import Ports, PortTakenError
from shadowdiff.store import StoreMismatchError
from shadowdiff.store.embedded_redis import EmbeddedStoreError
from shadowdiff.telemetry.logs import configure_logs

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from contextlib import AbstractAsyncContextManager

    from shadowdiff.service.open_store import StoreHandle
    from shadowdiff.service.service import Service
    from shadowdiff.service.worker_process import Supervised

log = logging.getLogger(__name__)

EXIT_USAGE = 2


def run(
    config: Config,
    *,
    load: Callable[[], Config],
    control: int | None = None,
    open_store: Callable[[Config], AbstractAsyncContextManager[StoreHandle]] = open_configured_store,
) -> None:
    """Serve `config` until SIGTERM or SIGINT; SIGHUP calls `load`, and if that fails, the old configuration stays.

    control: in a worker process, the file descriptor of the supervisor's link.  open_store: opens the store.
    Exits with 2 if the configuration cannot work here: a port or data folder is in use, or store settings differ.
    """
    configure_logs(config.log.format, config.log.level)
    if control is None:
        _warn(config)
    with _usage_errors(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(config, load, open_store) if control is None else _serve_under(control, config, load))


def run_workers(config: Config, *, load: Callable[[], Config], workers: int, command: Sequence[str]) -> None:
    """Serve `config` in processes that `command` starts, until SIGTERM or SIGINT. The exit codes are those of `run`."""
    from shadowdiff.service.supervisor import Supervisor

    configure_logs(config.log.format, config.log.level)
    _warn(config)
    with _usage_errors(), asyncio.Runner() as runner:
        code = runner.run(Supervisor(config, load, workers, command).run())
    sys.exit(code)


@contextlib.contextmanager
def _usage_errors() -> Generator[None]:
    """For errors that a different configuration can avoid, exit and print one line for each error."""
    errors: list[Exception] = []
    try:
        yield
    except* (PortTakenError, EmbeddedStoreError, StoreMismatchError) as group:
        errors = list(single_errors(group))
    for error in errors:
        sys.stderr.write(f"shadowdiff: {error}\n")
    if errors:
        sys.exit(EXIT_USAGE)


def _warn(config: Config) -> None:
    for warning in config.warnings:
        log.warning("check this setting", extra={"warning": warning})


async def _serve(
    config: Config, load: Callable[[], Config], open_store: Callable[[Config], AbstractAsyncContextManager[StoreHandle]]
) -> None:
    ports = Ports(config)
    try:
        await _run(config, load, ports, open_store(config))
    finally:
        for port in ports.all():
            port.close()
    log.info("stopped")


async def _serve_under(control: int, config: Config, load: Callable[[], Config]) -> None:
    """Serve on the supervisor's sockets, with the supervisor's store."""
    from shadowdiff.service.worker_process import Supervised

    supervised = await Supervised.under(control)
    hello = supervised.hello
    shared = {"store": hello.store}
    config = config.model_copy(update=shared)
    ports = Ports(config, supervised.sockets)
    store = open_configured_store(config, hello.processes, hello.embedded)
    await _run(config, lambda: load().model_copy(update=shared), ports, store, supervised)


async def _run(
    config: Config,
    load: Callable[[], Config],
    ports: Ports,
    opening: AbstractAsyncContextManager[StoreHandle],
    supervised: Supervised | None = None,
) -> None:
    from shadowdiff.service.service import Service  # the supervisor does not need it
    from shadowdiff.worker import SERVING_EVERY, collect_garbage_every, return_large_blocks

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with opening as store:
        service = Service(config, store, ports)
        collect_garbage_every(SERVING_EVERY)
        return_large_blocks()
        reload = asyncio.Event()
        loop.add_signal_handler(signal.SIGHUP, reload.set)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_reload_on(reload, service, load), name="reload")]
            if supervised is not None:
                tasks.append(group.create_task(supervised.report(service, stop), name="supervisor"))
            await service.run(stop)
            for task in tasks:
                task.cancel()
        if supervised is not None:
            await supervised.leave(service)


async def _reload_on(requested: asyncio.Event, service: Service, load: Callable[[], Config]) -> None:
    """Reload the configuration on each signal, in a thread, because thousands of rules take long."""
    while True:
        await requested.wait()
        requested.clear()
        try:
            config = await asyncio.to_thread(load)
            _warn(config)
            service.reload(config)
        except ConfigError as error:
            service.reload_failed()
            log.error("config reload failed; keeping previous: %s", error)  # noqa: TRY400
        except Exception:  # outermost handler: a failed reload must not stop the service
            service.reload_failed()
            log.exception("config reload failed; keeping previous")
