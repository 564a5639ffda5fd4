"""Bind the HTTP ports and serve an application on each with uvicorn.

The two intake ports use the intake's own HTTP protocol class; the other ports use uvicorn's class with limits.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
import ssl
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import uvicorn

from shadowdiff.intake.exchange import PortMemoryBudget
from shadowdiff.intake.protocol import IntakeProtocol
from shadowdiff.service.limited_http_protocol import LimitedHttpProtocol

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from uvicorn._types import ASGIApplication

    from shadowdiff.config import Config, TlsConfig

log = logging.getLogger(__name__)

_INTAKES = frozenset({"mirror", "records"})
BACKLOG = 2048
KEEP_ALIVE_S = 75
"""How long an idle connection stays open: long enough that a mirror's connection is rarely closed while it is used."""

CERTIFICATE_POLL_S = 3.0


class PortTakenError(Exception):
    """An address is unavailable, or a certificate cannot be loaded."""


class _QuietServer(uvicorn.Server):
    """A server that leaves signals to the service, and closes connections that are still being opened."""

    def __init__(self, config: uvicorn.Config, budget: PortMemoryBudget) -> None:
        super().__init__(config)
        self._budget = budget

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._budget.is_closing = True
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


def bind(name: str, host: str, port: int, *, shared: bool = False) -> socket.socket:
    """Return a bound socket. Raises: PortTakenError, even if the other program shares the address.

    shared: other sockets of this user may bind to the address; the kernel spreads connections among them.
    """
    if shared and port:
        bind(name, host, port).close()
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind((host, port))
    except OSError as error:
        made.close()
        where = f"listen.{name}: cannot listen on {host}:{port} for {name}"
        raise PortTakenError(f"{where}: {error.strerror}; set another port, or 0 for any") from error
    return made


def bind_again(other: socket.socket) -> socket.socket:
    """Return another socket that is bound to a shared address."""
    made = socket.socket(other.family)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind(other.getsockname())
    return made


class Port:
    """One listening address and the application that serves it."""

    def __init__(self, name: str, listening: socket.socket, tls: TlsConfig | None = None) -> None:
        self.name = name
        self._tls = tls
        self._socket = listening
        self.host, self.port = cast("tuple[str, int]", listening.getsockname()[:2])
        self._server: _QuietServer | None = None

    @property
    def url(self) -> str:
        """The URL of its address."""
        return f"{'https' if self._tls else 'http'}://{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        return ipaddress.ip_address(self.host).is_loopback

    async def serve(self, app: ASGIApplication) -> None:
        """Serve until `stop`."""
        tls, budget = self._tls, PortMemoryBudget()
        config = uvicorn.Config(
            app,
            http=cast("Any", partial(IntakeProtocol, budget=budget) if self.name in _INTAKES else LimitedHttpProtocol),
            ws="none",
            lifespan="off",
            log_config=None,
            date_header=False,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=5,
            ssl_certfile=tls and tls.cert,
            ssl_keyfile=tls and tls.key,
            ssl_ca_certs=tls and tls.client_ca,
            ssl_cert_reqs=ssl.CERT_REQUIRED if tls and tls.client_ca else ssl.CERT_NONE,
        )
        self._server = _QuietServer(config, budget)
        await self._server.serve(sockets=[self._socket])

    @property
    def started(self) -> bool:
        """Whether connections are accepted."""
        return self._server is not None and self._server.started

    async def watch(self) -> None:
        """Reload the certificate when its files change, until cancelled."""
        if (tls := self._tls) is None:
            return
        modified = _modified(tls)
        while True:
            await asyncio.sleep(CERTIFICATE_POLL_S)
            if (now := _modified(tls)) != modified:
                modified = now
                self._renew(tls)

    def _renew(self, tls: TlsConfig) -> None:
        """Use the new certificate for new connections; if it cannot be loaded, keep the old one."""
        context = self._server.config.ssl if self._server is not None else None
        if context is None:
            return
        try:
            _check_certificate(self.name, tls)
            _load(context, tls)
        except (PortTakenError, OSError) as error:
            log.error("certificate reload failed; keeping previous", extra={"error": str(error)})  # noqa: TRY400 - the file is wrong
        else:
            log.info("certificate reloaded", extra={"port": self.name})

    def stop(self) -> None:
        """Stop accepting connections, and finish current requests."""
        if self._server is not None:
            self._server.should_exit = True

    def close(self) -> None:
        """Release the address of a port that was never used."""
        self._socket.close()


def _modified(tls: TlsConfig) -> list[int]:
    """Return when each file was modified; 0 if it is missing, for example during its replacement."""
    named = [Path(name) for name in (tls.cert, tls.key, tls.client_ca) if name]
    return [path.stat().st_mtime_ns if path.exists() else 0 for path in named]


def _load(context: ssl.SSLContext, tls: TlsConfig) -> None:
    context.load_cert_chain(tls.cert, tls.key)
    if tls.client_ca:
        context.load_verify_locations(tls.client_ca)


def _check_certificate(name: str, tls: TlsConfig) -> None:
    try:
        _load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), tls)
    except OSError as error:
        raise PortTakenError(
            f"tls.{name}: {tls.cert} and {tls.key}{f' and {tls.client_ca}' if tls.client_ca else ''} cannot be loaded:"
            f" {error}; name PEM files of a certificate, its key, and CAs"
        ) from error


def addresses(config: Config) -> dict[str, tuple[str, int]]:
    """Return each port's address by name, in the order in which data passes the ports."""
    listen = config.listen
    return {
        "mirror": (listen.host, listen.mirror),
        "records": (listen.host, listen.records),
        "web": (listen.web_host, listen.web),
        "metrics": (listen.host, listen.metrics),
    }


def _certificates(config: Config) -> dict[str, TlsConfig | None]:
    found = {name: config.tls.of(name) for name in addresses(config)}
    for name, tls in found.items():
        if tls is not None:
            _check_certificate(name, tls)
    return found


def bind_all(config: Config, names: Sequence[str], *, shared: bool = False) -> dict[str, socket.socket]:
    """Bind all named ports; if one fails, release the others and raise PortTakenError."""
    made: dict[str, socket.socket] = {}
    try:
        for name in names:
            made[name] = bind(name, *addresses(config)[name], shared=shared)
    except BaseException:
        for each in made.values():
            each.close()
        raise
    return made


def metrics_port(config: Config) -> Port:
    """Return the metrics port. Raises: PortTakenError."""
    tls = _certificates(config)["metrics"]
    return Port("metrics", bind("metrics", *addresses(config)["metrics"]), tls)


class Ports:
    """The listening ports; in a worker process without `metrics`, which the supervisor serves."""

    def __init__(self, config: Config, sockets: Mapping[str, socket.socket] | None = None) -> None:
        """Take bound sockets by name; if None, bind all four ports. Raises: PortTakenError."""
        tls = _certificates(config)
        if sockets is None:
            sockets = bind_all(config, list(addresses(config)))
        self._all = {name: Port(name, each, tls[name]) for name, each in sockets.items()}
        self.mirror, self.records, self.web = (self._all[name] for name in ("mirror", "records", "web"))

    def all(self) -> list[Port]:
        """Return the ports in the order in which data passes them."""
        return list(self._all.values())
