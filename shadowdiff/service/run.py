"""`run`: one process from configuration to exit code, with its signals."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from typing import TYPE_CHECKING

import uvloop

from shadowdiff.config import Config, ConfigError
from shadowdiff.service.backing import backing
from shadowdiff.service.ports import Ports, PortTakenError
from shadowdiff.service.service import Service
from shadowdiff.store import StoreMisfitError
from shadowdiff.store.embedded_folder import EmbeddedStoreError
from shadowdiff.telemetry.logs import configure_logs

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

EXIT_USAGE = 2


def run(config: Config, *, load: Callable[[], Config]) -> None:
    """Serve `config` until SIGTERM or SIGINT; SIGHUP calls `load`, and keeps the old one where that raises.

    Exits with 2 where the configuration cannot work here: a port taken, a data folder in use, another store.
    """
    configure_logs(config.log.format, config.log.level)
    _warn(config)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(config, load))
    except* (PortTakenError, EmbeddedStoreError, StoreMisfitError) as group:
        for error in _leaves(group):
            sys.stderr.write(f"shadowdiff: {error}\n")
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
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    ports = Ports.bind(config)
    try:
        async with backing(config) as store:
            service = Service(config, store, ports)
            loop.add_signal_handler(signal.SIGHUP, _reload, service, load)
            await service.run(stop)
    finally:
        for port in ports.all():
            port.close()
    log.info("stopped")


def _reload(service: Service, load: Callable[[], Config]) -> None:
    try:
        config = load()
        _warn(config)
        service.reload(config)
    except ConfigError as error:
        service.reload_failed()
        log.error("the new configuration is wrong, the old one stays", extra={"error": str(error)})  # noqa: TRY400
