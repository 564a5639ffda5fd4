"""The service's HTTP ports: sockets bound first, so that port 0 is known, and uvicorn on each.

On the intake's two ports uvicorn's server speaks the intake's own protocol, on the others its own, with bounds.
Holds: nothing here handles signals; the service does, once for all ports.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
import ssl
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import uvicorn

from shadowdiff.intake.held import Held
from shadowdiff.intake.protocol import IntakeProtocol
from shadowdiff.service.bounded import BoundedProtocol

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from uvicorn._types import ASGIApplication

    from shadowdiff.config import Config, TlsConfig

log = logging.getLogger(__name__)

_INTAKES = frozenset({"mirror", "records"})
BACKLOG = 2048
KEEP_ALIVE_S = 75
"""Longer than Envoy's default idle pool checks, so that a mirror's connection is seldom closed under it."""


LOOK_EVERY_S = 3.0
"""For certificates that were renewed."""


class PortTakenError(Exception):
    """An address that cannot be bound, or a certificate that cannot be served there."""


class _QuietServer(uvicorn.Server):
    """A server that leaves the signals to the service, and tells connections that are being made that it closes."""

    def __init__(self, config: uvicorn.Config, held: Held) -> None:
        super().__init__(config)
        self._held = held

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._held.is_closing = True
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


def bound(name: str, host: str, port: int, setting: str, *, shared: bool = False) -> socket.socket:
    """Return a socket at an address that nobody else has.

    shared: others of this user may bind there too, each with a queue of its own among which the kernel spreads
    connections. Raises: PortTakenError, also where somebody listens there who shares.
    """
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        if shared and port:
            bound(name, host, port, setting).close()
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind((host, port))
    except OSError as error:
        made.close()
        raise PortTakenError(
            f"{setting}: cannot listen on {host}:{port} for {name}: {error.strerror}; set another port, or 0 for any"
        ) from error
    except BaseException:
        made.close()
        raise
    return made


def beside(other: socket.socket) -> socket.socket:
    """Return one more socket at a shared address."""
    made = socket.socket(other.family)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind(other.getsockname())
    return made


class Port:
    """One listening address and the application behind it."""

    def __init__(self, name: str, listening: socket.socket, tls: TlsConfig | None = None) -> None:
        self.name = name
        self._tls = tls
        self._socket = listening
        self.host, self.port = cast("tuple[str, int]", listening.getsockname()[:2])
        self._server: _QuietServer | None = None

    def __repr__(self) -> str:
        """State the address."""
        return f"<Port {self.name} {self.host}:{self.port}>"

    @property
    def scheme(self) -> str:
        """What its URLs begin with."""
        return "https" if self._tls else "http"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        return ipaddress.ip_address(self.host).is_loopback

    async def serve(self, app: ASGIApplication) -> None:
        """Serve until `stop`."""
        held = Held()
        config = uvicorn.Config(
            app,
            http=cast("Any", partial(IntakeProtocol, held=held) if self.name in _INTAKES else BoundedProtocol),
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
            ssl_certfile=self._tls.cert if self._tls else None,
            ssl_keyfile=self._tls.key if self._tls else None,
            ssl_ca_certs=self._tls.client_ca if self._tls else None,
            ssl_cert_reqs=ssl.CERT_REQUIRED if self._tls and self._tls.client_ca else ssl.CERT_NONE,
        )
        self._server = _QuietServer(config, held)
        await self._server.serve(sockets=[self._socket])

    @property
    def started(self) -> bool:
        """Whether connections are taken."""
        return self._server is not None and self._server.started

    async def watch(self) -> None:
        """Read the certificate anew whenever its files change, until cancelled."""
        if self._tls is None:
            return
        seen = _written(self._tls)
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            now = _written(self._tls)
            if now != seen:
                seen = now
                self._renew(self._tls)

    def _renew(self, tls: TlsConfig) -> None:
        """Serve what the files hold now to connections from now on; where that cannot be, the old one stays."""
        context = self._server.config.ssl if self._server is not None else None
        if context is None:
            return
        try:
            _check_certificate(self.name, tls)
            context.load_cert_chain(tls.cert, tls.key)
            if tls.client_ca:
                context.load_verify_locations(tls.client_ca)
        except (PortTakenError, OSError) as error:
            log.error("a certificate cannot be read anew, the old one stays", extra={"error": str(error)})  # noqa: TRY400 - what is wrong is the file
        else:
            log.info("a certificate was read anew", extra={"port": self.name})

    def stop(self) -> None:
        """Take no more connections, and finish the requests at hand."""
        if self._server is not None:
            self._server.should_exit = True

    def close(self) -> None:
        """Free the address of a port that was never served."""
        self._socket.close()


def _written(tls: TlsConfig) -> list[int]:
    """Return when each file was written; 0 for one that is not there now, as while it is replaced."""
    named = [Path(name) for name in (tls.cert, tls.key, tls.client_ca) if name]
    return [path.stat().st_mtime_ns if path.exists() else 0 for path in named]


def _check_certificate(name: str, tls: TlsConfig | None) -> None:
    if tls is None:
        return
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls.cert, tls.key)
        if tls.client_ca:
            context.load_verify_locations(tls.client_ca)
    except (ssl.SSLError, OSError) as error:
        raise PortTakenError(
            f"tls.{name}: {tls.cert} and {tls.key}{f' and {tls.client_ca}' if tls.client_ca else ''} cannot be served:"
            f" {error}; name PEM files of a certificate, its own key, and CAs"
        ) from error


def addresses(config: Config) -> dict[str, tuple[str, int]]:
    """Return where each port listens, by its name, in the order of the data."""
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
        _check_certificate(name, tls)
    return found


def bind_all(config: Config, names: Sequence[str], *, shared: bool = False) -> dict[str, socket.socket]:
    """Bind the named ports, or none; raises PortTakenError."""
    made: dict[str, socket.socket] = {}
    try:
        for name in names:
            made[name] = bound(name, *addresses(config)[name], f"listen.{name}", shared=shared)
    except BaseException:
        for each in made.values():
            each.close()
        raise
    return made


def metrics_port(config: Config) -> Port:
    """Return the port of metrics alone; raises PortTakenError."""
    tls = _certificates(config)["metrics"]
    return Port("metrics", bind_all(config, ["metrics"])["metrics"], tls)


@dataclass(frozen=True, slots=True)
class Ports:
    """The listening addresses. metrics: None in one process of several, whose supervisor answers there."""

    mirror: Port
    records: Port
    web: Port
    metrics: Port | None

    @classmethod
    def bind(cls, config: Config) -> Ports:
        """Bind all four, or none; raises PortTakenError."""
        _certificates(config)
        return cls.of(config, bind_all(config, list(addresses(config))))

    @classmethod
    def of(cls, config: Config, sockets: Mapping[str, socket.socket]) -> Ports:
        """Return the ports on these sockets; raises PortTakenError where a certificate cannot be served."""
        tls = _certificates(config)
        made = {name: Port(name, each, tls.get(name)) for name, each in sockets.items()}
        return cls(made["mirror"], made["records"], made["web"], made.get("metrics"))

    async def watch(self) -> None:
        """Read every certificate anew whenever its files change, until cancelled."""
        await asyncio.gather(*(port.watch() for port in self.all()))

    def all(self) -> list[Port]:
        """Return them in the order of the data."""
        return [self.mirror, self.records, self.web, *([self.metrics] if self.metrics is not None else [])]
