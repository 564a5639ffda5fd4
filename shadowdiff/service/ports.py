"""The service's HTTP ports: sockets bound first, so that port 0 is known, and uvicorn on each.

On the intake's two ports uvicorn's server speaks the intake's own protocol.
Holds: nothing here handles signals; the service does, once for all ports.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

import uvicorn

from shadowdiff.intake.protocol import IntakeProtocol

if TYPE_CHECKING:
    from collections.abc import Generator

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


class Port:
    """One listening address and the application behind it."""

    def __init__(self, name: str, host: str, port: int, setting: str, tls: TlsConfig | None = None) -> None:
        self.name = name
        self.host = host
        self._tls = tls
        _check_certificate(name, tls)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((host, port))
        except OSError as error:
            self._socket.close()
            raise PortTakenError(
                f"{setting}: cannot listen on {host}:{port} for {name}: {error.strerror};"
                " set another port, or 0 for any"
            ) from error
        self.port = int(self._socket.getsockname()[1])
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
        return ipaddress.ip_address(self._socket.getsockname()[0]).is_loopback

    async def serve(self, app: ASGIApplication) -> None:
        """Serve until `stop`."""
        config = uvicorn.Config(
            app,
            http=IntakeProtocol if self.name in _INTAKES else "httptools",
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


@dataclass(frozen=True, slots=True)
class Ports:
    """The four listening addresses."""

    mirror: Port
    records: Port
    web: Port
    metrics: Port

    @classmethod
    def bind(cls, config: Config) -> Ports:
        """Bind all four, or none; raises PortTakenError."""
        listen = config.listen
        bound: list[Port] = []
        try:
            for name, number in (
                ("mirror", listen.mirror),
                ("records", listen.records),
                ("web", listen.web),
                ("metrics", listen.metrics),
            ):
                host = listen.web_host if name == "web" else listen.host
                tls = {"records": config.records_tls, "web": config.web_tls}.get(name)
                bound.append(Port(name, host, number, f"listen.{name}", tls))
        except BaseException:
            for port in bound:
                port.close()
            raise
        return cls(*bound)

    def all(self) -> tuple[Port, Port, Port, Port]:
        """Return them in the order of the data."""
        return (self.mirror, self.records, self.web, self.metrics)
