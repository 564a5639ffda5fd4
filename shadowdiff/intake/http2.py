"""Send gRPC calls to v2 over HTTP/2. A call ends in trailers, which httpx and aiohttp do not return.

Calls use a few connections to each of v2's addresses in turn. If v2 did not process a call, it is sent again, at most
twice. For http:// URLs v2 must speak HTTP/2 with prior knowledge (RFC 9113, section 3.3), as gRPC servers do; for
https:// ALPN selects it.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING, Final

from shadowdiff.intake.client_tls import TlsFileError
from shadowdiff.intake.connect import DEFAULT_TLS, Connector, LocalResourceError, failure_of
from shadowdiff.intake.connection import Response
from shadowdiff.intake.http2_connection import Http2Connection, RefusedStreamError

if TYPE_CHECKING:
    from collections.abc import Collection

    from shadowdiff.intake.client_tls import ClientTls
    from shadowdiff.intake.connect import Origin, Peer
    from shadowdiff.intake.exchange import RawHeaders

TRIES: Final = 3
RETRY_AFTER_S: Final = 0.02
CONNECTIONS_MOST: Final = 64
"""The maximum number of connections to one origin while any of them has room."""
_PER_HOP: Final = frozenset({b"host", b"connection", b"transfer-encoding", b"keep-alive", b"upgrade", b"te"})


class Http2Client:
    """The connections to each v2 that uses gRPC."""

    def __init__(self, max_body_bytes: int) -> None:
        self._max_body_bytes = max_body_bytes
        self._connections: defaultdict[Peer, list[Http2Connection]] = defaultdict(list)
        self._connectors: dict[Peer, Connector[Http2Connection]] = {}
        self._opening: defaultdict[Peer, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def send(  # noqa: PLR0917 - the parts of a call
        self,
        origin: Origin,
        path: bytes,
        fields: RawHeaders,
        body: bytes,
        until_s: float,
        tls: ClientTls = DEFAULT_TLS,
    ) -> Response:
        """Return v2's response before `until_s` on the loop's clock. Raises: LocalResourceError, TlsFileError."""
        response = Response()
        try:
            async with asyncio.timeout_at(until_s):
                await self._send((origin, tls), _head(origin, path, fields), body, response, until_s)
        except (LocalResourceError, TlsFileError):
            raise
        except Exception as error:  # noqa: BLE001 - any error from v2's data is its failure
            response.failure = failure_of(error)
        return response

    async def _send(self, peer: Peer, head: RawHeaders, body: bytes, response: Response, until_s: float) -> None:
        for tries_left in reversed(range(TRIES)):
            connection = await self._connection(peer, until_s)
            try:
                return await connection.send(head, body, response)
            except RefusedStreamError:
                if not tries_left:
                    raise
            if connection.is_usable:  # v2's limit of concurrent calls is reached
                await asyncio.sleep(RETRY_AFTER_S)
        return None

    def close(self) -> None:
        """Close every connection."""
        for connector in self._connectors.values():
            connector.addresses.close()
        for connection in itertools.chain(*self._connections.values()):
            connection.close()

    def retire_others(self, peers: Collection[Peer]) -> None:
        """Keep the connections to these peers; close the others after their calls."""
        for peer in self._connectors.keys() - peers:
            del self._connectors[peer], self._opening[peer]
            for connection in self._connections.pop(peer):
                connection.retire()

    async def _connection(self, peer: Peer, until_s: float) -> Http2Connection:
        """Return a connection to the next address in turn that has room for a call; open one if none has room."""
        held, opening = self._connections[peer], self._opening[peer]
        connector = self._connectors.get(peer)
        if connector is None:
            made = partial(Http2Connection, asyncio.get_running_loop(), self._max_body_bytes)
            connector = self._connectors[peer] = Connector(peer[0], made, ("h2",), peer[1])
        address = connector.addresses.turn()
        found = _with_room(held, address)
        if found is None and (opening.locked() or len(held) >= CONNECTIONS_MOST):
            found = _with_room(held)
        if found is not None:
            return found
        async with opening:
            found = _with_room(held, address)
            if found is None:
                found = await connector.open(address, until_s)
                held[:] = [*(connection for connection in held if not connection.is_closed), found]
            return found


def _with_room(held: list[Http2Connection], address: str | None = None) -> Http2Connection | None:
    return next((one for one in held if one.has_room and address in (None, one.address)), None)


def _head(origin: Origin, path: bytes, fields: RawHeaders) -> RawHeaders:
    """Return a request's HTTP/2 fields: the request line and Host become pseudo-header fields."""
    authority = next((value for name, value in fields if name == b"host"), b"")
    pseudo = [(b":method", b"POST"), (b":scheme", origin[0].encode()), (b":authority", authority), (b":path", path)]
    return [*pseudo, *(field for field in fields if field[0] not in _PER_HOP), (b"te", b"trailers")]
