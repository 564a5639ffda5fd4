"""`run`: from configuration to exit code, with the signals: one process, or several under a supervisor."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from typing import TYPE_CHECKING

import msgspec
import uvloop

from shadowdiff.config import Config, ConfigError
from shadowdiff.service.backing import backing, backing_of
from shadowdiff.service.ports import Ports, PortTakenError
from shadowdiff.store import StoreMisfitError
from shadowdiff.store.embedded_folder import EmbeddedStoreError
from shadowdiff.telemetry.logs import configure_logs

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from contextlib import AbstractAsyncContextManager

    from shadowdiff.service.backing import Backing
    from shadowdiff.service.service import Service
    from shadowdiff.service.worker_process import Supervised

log = logging.getLogger(__name__)

EXIT_USAGE = 2


def run(config: Config, *, load: Callable[[], Config], control: int | None = None) -> None:
    """Serve `config` until SIGTERM or SIGINT; SIGHUP calls `load`, and keeps the old one where that raises.

    control: in one process of several, the link to their supervisor.
    Exits with 2 where the configuration cannot work here: a port taken, a data folder in use, another store.
    """
    configure_logs(config.log.format, config.log.level)
    if control is None:
        _warn(config)
    with _usage_errors(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(config, load) if control is None else _serve_under(control, config, load))


def run_workers(config: Config, *, load: Callable[[], Config], workers: int, command: Sequence[str]) -> None:
    """Serve `config` in several processes, each started by `command`, until SIGTERM or SIGINT.

    Exits as `run` does.
    """
    from shadowdiff.service.supervisor import Supervisor

    configure_logs(config.log.format, config.log.level)
    _warn(config)

    async def supervise() -> int:
        return await Supervisor(config, load, workers, command).run()

    with _usage_errors(), asyncio.Runner() as runner:
        code = runner.run(supervise())
    sys.exit(code)


@contextlib.contextmanager
def _usage_errors() -> Generator[None]:
    """End with one line for each thing that cannot work here."""
    errors: list[BaseException] = []
    try:
        yield
    except* (PortTakenError, EmbeddedStoreError, StoreMisfitError) as group:
        errors = _leaves(group)
    for error in errors:
        sys.stderr.write(f"shadowdiff: {error}\n")
    if errors:
        sys.exit(EXIT_USAGE)


def _warn(config: Config) -> None:
    for warning in config.warnings:
        log.warning("a setting may not do what it seems to", extra={"warning": warning})


def _leaves(group: BaseExceptionGroup[Exception]) -> list[BaseException]:
    return [
        leaf
        for error in group.exceptions
        for leaf in (_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    ]


async def _serve(config: Config, load: Callable[[], Config]) -> None:
    ports = Ports.bind(config)
    try:
        await _run(config, load, ports, backing(config))
    finally:
        for port in ports.all():
            port.close()
    log.info("stopped")


async def _serve_under(control: int, config: Config, load: Callable[[], Config]) -> None:
    """Serve on the sockets, and with the store, that a supervisor hands down."""
    from shadowdiff.service.worker_process import Supervised

    supervised = await Supervised.under(control)
    hello = supervised.hello

    def load_held() -> Config:
        return msgspec.structs.replace(load(), store=hello.store)

    config = msgspec.structs.replace(config, store=hello.store)
    ports = Ports.of(config, supervised.sockets())
    if hello.embedded is None:
        store = backing(config, hello.processes)
    else:
        store = backing_of(hello.store, hello.embedded, hello.processes)
    await _run(config, load_held, ports, store, supervised)


async def _run(
    config: Config,
    load: Callable[[], Config],
    ports: Ports,
    opening: AbstractAsyncContextManager[Backing],
    supervised: Supervised | None = None,
) -> None:
    from shadowdiff.service.service import Service  # a supervisor has no need of it
    from shadowdiff.worker import SERVING_EVERY, collect_seldom

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with opening as store:
        service = Service(config, store, ports)
        collect_seldom(SERVING_EVERY)
        loop.add_signal_handler(signal.SIGHUP, _reload, service, load)
        if supervised is None:
            await service.run(stop)
            return
        async with asyncio.TaskGroup() as group:
            answering = group.create_task(supervised.answer(service, stop), name="supervisor")
            await service.run(stop)
            answering.cancel()
        await supervised.leave(service)


def _reload(service: Service, load: Callable[[], Config]) -> None:
    try:
        config = load()
        _warn(config)
        service.reload(config)
    except ConfigError as error:
        service.reload_failed()
        log.error("the new configuration is wrong, the old one stays: %s", error)  # noqa: TRY400
