"""The service's HTTP ports: sockets bound first, so that port 0 is known, and uvicorn on each.

On the intake's two ports uvicorn's server speaks the intake's own protocol, on the others its own, with bounds.
Holds: nothing here handles signals; the service does, once for all ports.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import uvicorn

from shadowdiff.intake.protocol import IntakeProtocol
from shadowdiff.service.bounded import BoundedProtocol

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from uvicorn._types import ASGIApplication

    from shadowdiff.config import Config, TlsConfig

_INTAKES = frozenset({"mirror", "records"})
BACKLOG = 2048
KEEP_ALIVE_S = 75
"""Longer than Envoy's default idle pool checks, so that a mirror's connection is seldom closed under it."""


class PortTakenError(Exception):
    """An address that cannot be bound, or a certificate that cannot be served there."""


class _QuietServer(uvicorn.Server):
    """A server that leaves the signals to the service."""

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
        config = uvicorn.Config(
            app,
            http=IntakeProtocol if self.name in _INTAKES else BoundedProtocol,
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
        self._server = _QuietServer(config)
        await self._server.serve(sockets=[self._socket])

    @property
    def started(self) -> bool:
        """Whether connections are taken."""
        return self._server is not None and self._server.started

    def stop(self) -> None:
        """Take no more connections, and finish the requests at hand."""
        if self._server is not None:
            self._server.should_exit = True

    def close(self) -> None:
        """Free the address of a port that was never served."""
        self._socket.close()


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
    found = {"records": config.records_tls, "web": config.web_tls}
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

    def all(self) -> list[Port]:
        """Return them in the order of the data."""
        return [self.mirror, self.records, self.web, *([self.metrics] if self.metrics is not None else [])]
