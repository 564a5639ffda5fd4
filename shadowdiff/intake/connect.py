"""Open connections to v2's addresses in turn, with TLS for https URLs.

v2's name is resolved every few seconds. A failing address is skipped for a short, growing time. While DNS fails, the
last known addresses stay in use. If a connection cannot be opened, this is a `Failure` of v2, unless this machine lacks
a resource.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import math
import socket
import ssl
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, TypeVar, cast

from shadowdiff.intake.client_tls import ClientTls
from shadowdiff.model import Failure

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Sequence

Origin = tuple[str, str, int]
"""Scheme, host, port."""
DEFAULT_TLS: Final = ClientTls()
"""Trusts the system's CAs, and presents no certificate."""
Peer = tuple[Origin, ClientTls]
"""What connections have in common that can carry each other's requests."""

REFRESH_S: Final = 10.0
"""Kubernetes changes the addresses of a headless service within seconds."""
RESOLVE_AGAIN_S: Final = 1.0
"""The shortest time between two lookups of a name that does not resolve."""
MOST_ADDRESSES: Final = 256
FIRST_BACKOFF_S: Final = 1.0
LONGEST_BACKOFF_S: Final = 10.0
MOST_FAILING_TRIED: Final = 4
"""Addresses that failed before and are tried again for one connection, if no other address is left."""
CONNECTION_AGE_S: Final = 30.0
"""Connections carry no new request after this, so that all pods behind one virtual address get their share."""
ALERT_WITHIN_S: Final = 0.5
"""How long a connection waits for the TLS alert that explains why v2 closes connections."""
ALERT_CHECK_EVERY_S: Final = 10.0
CONNECT_WITHIN_S: Final = 1.0
"""The timeout for one address if there is another address, because a dead node does not reply."""

_LOCAL_ERRORS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})
_RESETS = (ConnectionResetError, ConnectionAbortedError, BrokenPipeError)
_NAME_MISMATCH = frozenset({62, 63, 64})
_EXPIRED = frozenset({9, 10})
"""OpenSSL's codes of verification: not yet valid, expired; the host's name, mail or IP differs."""
_ABOUT_OUR_CERTIFICATE = (
    "CERTIFICATE_REQUIRED", "ALERT_BAD_CERTIFICATE", "ALERT_UNSUPPORTED_CERTIFICATE", "ALERT_CERTIFICATE_UNKNOWN",
    "ALERT_UNKNOWN_CA", "ALERT_ACCESS_DENIED",
)  # fmt: skip
"""Alerts about the client's certificate, as OpenSSL names them."""


class LocalResourceError(Exception):
    """This machine lacks a resource for a connection, such as a file descriptor. v2 never causes this failure."""


class ConnectError(Exception):
    """A connection could not be opened."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.value)
        self.failure = failure


def failure_of(error: BaseException) -> Failure:
    """Return the failure for a connection error."""
    match error:
        case ConnectError():
            return error.failure
        case TimeoutError():
            return Failure.TIMEOUT
        case ssl.SSLError():
            return _tls_failure_of(error)
        case OSError():
            return Failure.RESET if isinstance(error, _RESETS) else Failure.REFUSED
        case _:
            return Failure.MALFORMED


def _tls_failure_of(error: ssl.SSLError) -> Failure:
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in _NAME_MISMATCH:
            return Failure.TLS_NAME_MISMATCH
        return Failure.TLS_EXPIRED if error.verify_code in _EXPIRED else Failure.TLS_UNTRUSTED
    if (getattr(error, "reason", None) or "").endswith(_ABOUT_OUR_CERTIFICATE):
        return Failure.TLS_CLIENT_CERTIFICATE_REQUIRED
    return Failure.TLS_FAILED


class _Failing(NamedTuple):
    """How long and until when a failing address is skipped. is_probed: an attempt is in progress."""

    wait_s: float
    until_s: float
    is_probed: bool = False


async def resolve(host: str, port: int) -> list[str]:
    """Return the addresses of a name in the resolver's order. Raises: OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class Addresses:
    """The addresses of one host and port. Lookups run in a separate task, which `close` cancels.

    is_unresolved: the last lookup failed; any addresses are from an earlier lookup.
    """

    def __init__(
        self,
        host: str,
        port: int,
        resolve: Callable[[str, int], Awaitable[list[str]]] = resolve,
        now_s: Callable[[], float] | None = None,
    ) -> None:
        self._host = host
        self._port = port
        self._resolve = resolve
        self._loop = asyncio.get_running_loop()
        self._now_s = now_s or self._loop.time
        self._hosts: list[str] = []
        self._at = -1
        self._failing: dict[str, _Failing] = {}
        self._lookup: asyncio.Task[None] | None = None
        self._stale_s = -math.inf
        self.is_unresolved = False
        with contextlib.suppress(ValueError):
            ipaddress.ip_address(host)  # an IP address needs no lookup
            self._hosts, self._stale_s = [host], math.inf

    def turn(self, tried: Collection[str] = ()) -> str | None:
        """Return the next address that is not in `tried`, or None. Start a lookup if the last lookup is too old.

        An address whose backoff has ended is returned once; other callers skip it until that attempt succeeds or fails.
        """
        if self._stale_s <= self._now_s() and self._lookup is None:
            self._lookup = self._loop.create_task(self._look_up())
        if not tried and not self._failing:  # the usual case, once per request
            return self._next(self._hosts)
        host = self._next(self.usable(tried))
        failing = self._failing.get(host) if host else None
        if host and failing is not None and failing.until_s <= self._now_s():
            self._failing[host] = failing._replace(until_s=self._now_s() + failing.wait_s, is_probed=True)
        return host

    def _next(self, usable: list[str]) -> str | None:
        if len(usable) < 2:  # noqa: PLR2004 - nothing to choose from
            return usable[0] if usable else None
        self._at = (self._at + 1) % len(usable)
        return usable[self._at]

    def usable(self, tried: Collection[str]) -> list[str]:
        """Return the addresses from which `turn` chooses."""
        now_s = self._now_s()
        untried = [host for host in self._hosts if host not in tried]
        usable = [host for host in untried if host not in self._failing or self._failing[host].until_s <= now_s]
        return usable or (untried if len(tried) < MOST_FAILING_TRIED else [])

    async def resolved(self) -> None:
        """Wait until an address is known. Raises: ConnectError."""
        if not self._hosts and (self._lookup is not None or self._stale_s <= self._now_s()):
            self._lookup = self._lookup or self._loop.create_task(self._look_up())
            await asyncio.shield(self._lookup)
        if not self._hosts:
            raise ConnectError(Failure.UNRESOLVED)

    def failed(self, host: str) -> None:
        """Skip an address for a while after a connection failure. Simultaneous attempts count as one."""
        failing = self._failing.get(host)
        if host in self._hosts and (failing is None or failing.is_probed):
            wait_s = min(failing.wait_s * 2, LONGEST_BACKOFF_S) if failing else FIRST_BACKOFF_S
            self._failing[host] = _Failing(wait_s, self._now_s() + wait_s)

    def connected(self, host: str) -> None:
        """Stop skipping an address."""
        self._failing.pop(host, None)

    def close(self) -> None:
        """Cancel the lookup if one is in progress."""
        if self._lookup is not None:
            self._lookup.cancel()

    async def _look_up(self) -> None:
        try:
            found = await self._resolve(self._host, self._port)
        except (OSError, UnicodeError):  # OSError includes gaierror; a label may be too long
            found = []
        finally:
            self._lookup = None
        self.is_unresolved = not found
        self._stale_s = self._now_s() + (REFRESH_S if found else RESOLVE_AGAIN_S)
        if found:
            self._hosts = found[:MOST_ADDRESSES]
            self._failing = {host: self._failing[host] for host in self._hosts if host in self._failing}


class ClientConnection(asyncio.Protocol):
    """A connection that a connector opens. address, opened_s: set once it is open."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self.address = ""
        self.opened_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    @property
    def is_closed(self) -> bool:
        """Whether the connection is closed or closing."""
        return self._transport.is_closing()

    def close(self) -> None:
        """Close the connection."""
        raise NotImplementedError

    async def ready(self) -> None:
        """Wait until requests may be sent. Raises: OSError, ValueError."""


class _AlertListener(asyncio.Protocol):
    """A client that sends no data, and waits until the connection ends."""

    def __init__(self) -> None:
        self.lost: asyncio.Future[Failure] = asyncio.get_running_loop().create_future()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.lost.done():
            self.lost.set_result(failure_of(exc) if isinstance(exc, ssl.SSLError) else Failure.RESET)


P = TypeVar("P", bound=asyncio.Protocol)
C = TypeVar("C", bound=ClientConnection)


class Connector(Generic[C]):
    """Opens connections to one origin."""

    def __init__(
        self, origin: Origin, new_connection: Callable[[], C], alpn: Sequence[str] = (), tls: ClientTls = DEFAULT_TLS
    ) -> None:
        """Read the TLS files if the scheme is https. Raises: TlsFileError."""
        scheme, self._host, self._port = origin
        self._new_connection = new_connection
        self._loop = asyncio.get_running_loop()
        self._context = tls.context(alpn) if scheme == "https" else None
        self._server_name = tls.server_name or self._host
        self._reset_reason = Failure.RESET
        self._next_check_s = 0.0
        self.addresses = Addresses(self._host, self._port)

    async def open(self, address: str | None, until_s: float) -> C:
        """Return a connection to this address, or else to the next ones, before `until_s` on the loop's clock.

        Raises: ConnectError, LocalResourceError.
        """
        try:
            async with asyncio.timeout_at(until_s):
                await self.addresses.resolved()
                return await self._open(address, until_s)
        except TimeoutError as error:
            raise ConnectError(Failure.TIMEOUT) from error

    async def _open(self, address: str | None, until_s: float) -> C:
        addresses = self.addresses
        tried: set[str] = set()
        failure = Failure.UNRESOLVED
        address = address or addresses.turn()
        while address is not None:
            tried.add(address)
            half_s = (until_s - self._loop.time()) / 2
            try:
                async with asyncio.timeout(min(CONNECT_WITHIN_S, half_s) if addresses.usable(tried) else None):
                    connection = await self._connect(address)
            except asyncio.CancelledError:  # the total time is up
                addresses.failed(address)
                raise
            except (OSError, ValueError) as error:
                failure = failure_of(error)
            else:
                addresses.connected(address)
                return connection
            addresses.failed(address)
            address = addresses.turn(tried)
        raise ConnectError(Failure.UNRESOLVED if addresses.is_unresolved else failure)

    async def reset_reason(self, address: str, until_s: float) -> Failure:
        """Return why v2 resets a connection before its first byte.

        In TLS 1.3 a server rejects a missing client certificate after the handshake. If a request was already sent, the
        reset may hide the alert. So a connection that sends nothing, to receive the alert, is opened every ten seconds.
        """
        now_s = self._loop.time()
        if self._context is not None and now_s >= self._next_check_s:
            self._reset_reason, self._next_check_s = Failure.RESET, now_s + ALERT_CHECK_EVERY_S
            with contextlib.suppress(OSError):
                async with asyncio.timeout_at(min(until_s, now_s + ALERT_WITHIN_S)):
                    transport, listener = await self._dial(_AlertListener, address)
                    try:
                        self._reset_reason = await listener.lost
                    finally:
                        transport.abort()
        return self._reset_reason

    async def _connect(self, address: str) -> C:
        try:
            _, connection = await self._dial(self._new_connection, address)
        except OSError as error:
            if error.errno in _LOCAL_ERRORS:
                raise LocalResourceError(error.strerror) from error
            if self._context is not None and isinstance(error, _RESETS):
                raise ssl.SSLError("v2 ended the connection during the TLS handshake") from error
            raise
        connection.address, connection.opened_s = address, self._loop.time()
        try:
            await connection.ready()
        except BaseException:
            connection.close()
            raise
        return connection

    async def _dial(self, new_protocol: Callable[[], P], address: str) -> tuple[asyncio.Transport, P]:
        name = self._server_name if self._context else None
        return await self._loop.create_connection(
            new_protocol, address, self._port, ssl=self._context, server_hostname=name
        )
