"""Connections to v2 and the control, kept between exchanges.

In: an origin.  Out: a connection that is open, or the failure that kept it from opening.
Holds: an idle connection is closed before servers commonly close it; names are resolved anew every few seconds, and
several addresses take turns.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shadowdiff.intake.connection import Connection
from shadowdiff.model import Failure

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence

IDLE_CONNECTION_S = 1.5
"""Shorter than what servers commonly allow (2 s and up), so that v2 seldom closes a connection under a request."""
DNS_CACHE_S = 10.0


_OWN = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})
"""What this machine lacks, of which v2 knows nothing."""


class NoMeansError(Exception):
    """No connection, for want of something of this machine's own: never v2's failure."""


def raise_if_own(error: OSError) -> None:
    """Raise NoMeansError where it is this machine that lacks something."""
    if error.errno in _OWN:
        raise NoMeansError(error.strerror) from error


class ConnectError(Exception):
    """No connection, and why."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.value)
        self.failure = failure


@dataclass(slots=True)
class _Resolved:
    """A name's addresses, in the order of their turns."""

    hosts: Sequence[str]
    until_s: float
    turn: int = 0

    def in_turn(self) -> list[str]:
        """Return every address once, the next one first."""
        self.turn = (self.turn + 1) % len(self.hosts)
        return [*self.hosts[self.turn :], *self.hosts[: self.turn]]


class Pool:
    """The connections to one origin: scheme, host and port."""

    __slots__ = ("_context", "_host", "_idle", "_loop", "_max_body_bytes", "_port", "_resolved", "_sweep")

    def __init__(self, host: str, port: int, context: ssl.SSLContext | None, max_body_bytes: int) -> None:
        self._host = host
        self._port = port
        self._context = context
        self._max_body_bytes = max_body_bytes
        self._loop = asyncio.get_running_loop()
        self._idle: deque[Connection] = deque()
        self._resolved: _Resolved | None = None
        self._sweep: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        """State what is held, so that logs and tests read it."""
        return f"<Pool {self._host}:{self._port} idle={len(self._idle)}>"

    def take(self) -> Connection | None:
        """Return the connection that was used last, if one is idle and open."""
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                return connection
        return None

    async def connect(self, until_s: float) -> Connection:
        """Return a new connection by `until_s` on the loop's clock; raises ConnectError, NoMeansError."""
        try:
            async with asyncio.timeout_at(until_s):
                return await self._connect()
        except TimeoutError as error:
            raise ConnectError(Failure.TIMEOUT) from error

    def close(self) -> None:
        """Close what is idle, and keep nothing from here on."""
        if self._sweep is not None:
            self._sweep.cancel()
        while self._idle:
            self._idle.pop().close()

    async def _connect(self) -> Connection:
        failure = Failure.REFUSED
        for host in await self._addresses():
            try:
                _, connection = await self._loop.create_connection(
                    self._made, host, self._port, ssl=self._context,
                    server_hostname=self._host if self._context else None,
                )  # fmt: skip
            except OSError as error:  # a certificate that does not hold is one too
                raise_if_own(error)
                failure = Failure.TIMEOUT if error.errno == errno.ETIMEDOUT else Failure.REFUSED
            else:
                return connection
        raise ConnectError(failure)

    def _made(self) -> Connection:
        return Connection(self._loop, self._max_body_bytes, self._release)

    async def _addresses(self) -> list[str]:
        now_s = self._loop.time()
        if self._resolved is None or self._resolved.until_s < now_s:
            try:
                found = await self._loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
            except OSError as error:  # gaierror is one
                raise ConnectError(Failure.UNRESOLVED) from error
            hosts = list(dict.fromkeys(str(address[0]) for *_, address in found))
            self._resolved = _Resolved(hosts, now_s + DNS_CACHE_S, turn=-1)
        return self._resolved.in_turn()

    def _release(self, connection: Connection) -> None:
        connection.idle_since_s = self._loop.time()
        self._idle.append(connection)
        if self._sweep is None:
            self._sweep = self._loop.call_later(IDLE_CONNECTION_S, self._close_idle)

    def _close_idle(self) -> None:
        oldest_s = self._loop.time() - IDLE_CONNECTION_S
        while self._idle and self._idle[0].idle_since_s <= oldest_s:
            self._idle.popleft().close()
        self._sweep = None
        if self._idle:
            wait_s = self._idle[0].idle_since_s - oldest_s
            self._sweep = self._loop.call_later(max(wait_s, 0.01), self._close_idle)
