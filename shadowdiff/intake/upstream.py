"""Send a mirrored request to v2 or the control, and return the observation of its response or failure.

The path and query are sent as received, and header fields keep their order and duplicates, except for the changes that
the configuration declares (`request_edits`). Hop-by-hop fields (RFC 9110, section 7.6.1, including those that
Connection names), the proxy's own fields and the body's framing are not sent.
Redirects are not followed, bodies are not decompressed, and each exchange has a deadline and a size limit. Only the
configuration determines the destination. If v2 closes an idle connection while a safe request is sent on it, the
request is sent again on a new connection, as RFC 9110, section 9.2.2 allows. A request on a new connection is never
sent again.
"""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from yarl import URL

from shadowdiff.intake.client_tls import ClientTls
from shadowdiff.intake.connect import ConnectError
from shadowdiff.intake.connection import ConnectionPool, Response
from shadowdiff.intake.request_edits import HOP_BY_HOP, RequestEdits
from shadowdiff.intake.routing import BAGGAGE, SHADOW_HEADER
from shadowdiff.model import Candidate, Control, Failure, HostPolicy, Observation, Side, Target

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from shadowdiff.intake.connect import Peer
    from shadowdiff.intake.exchange import RawHeaders
    from shadowdiff.intake.http2 import Http2Client

MAX_REQUEST_BODY_KEPT = 1 << 16
"""A longer request body is sent, but not kept with the observation."""
_SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_WITH_CONTENT = frozenset({"POST", "PUT", "PATCH"})
"""These methods send their length even if it is 0. Source: RFC 9110, section 8.6."""
_NOT_FORWARDED = frozenset({
    *map(str.encode, HOP_BY_HOP), b"host", b"x-diff-id", b"x-envoy-expected-rq-timeout-ms", b"x-envoy-attempt-count",
    SHADOW_HEADER, BAGGAGE,
})  # fmt: skip
_USUAL_CONNECTION = frozenset({b"keep-alive", b"close", b"Keep-Alive", b"Close", b""})
_BAGGAGE_MEMBER = b"shadowdiff=1"
_GRPC = re.compile(rb"application/grpc(?![^+;\s])", re.IGNORECASE)
"""Source: gRPC over HTTP/2, section "Requests": `application/grpc`, alone or with a suffix such as `+proto`."""


@dataclass(slots=True)
class MirroredRequest:
    """A request that was read completely and acknowledged.

    path: the request target as received, with its query; it starts with `/`.
    host: the host as the user sent it, without the mesh's `-shadow`.
    held_bytes: the memory of head and body.
    waits_until_s: when the request's wait ends, on the loop's clock; set if the request must queue.
    """

    id: str
    id_source: str
    method: str
    path: str
    host: str
    headers: RawHeaders
    body: bytes
    held_bytes: int
    waits_until_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Destination:
    """The settings of a target's candidate or control that are the same for all requests."""

    target: str
    side: Side
    peer: Peer
    edits: RequestEdits
    authority: str
    preserves_host: bool
    timeout_s: float

    @classmethod
    def of(cls, target: Target, named: Candidate | Control) -> Self:
        """Return the destination that the configuration names."""
        url = URL(named.url)
        return cls(
            target=target.name,
            side=Side.CANDIDATE if isinstance(named, Candidate) else Side.CONTROL,
            peer=((url.scheme, url.host or "", url.port or 80), ClientTls.of(named)),
            edits=RequestEdits(named, url.raw_path.rstrip("/")),
            authority=url.host_port_subcomponent or "",
            preserves_host=target.candidate.host is HostPolicy.PRESERVE,
            timeout_s=named.timeout_s,
        )


@dataclass(eq=False)
class Upstream:
    """A pooled client for every candidate and control. Open it with `async with`, on the running loop."""

    now_ms: Callable[[], int]
    max_body_bytes: int = 1 << 20
    _pools: dict[Peer, ConnectionPool] = field(default_factory=dict["Peer", ConnectionPool])
    _http2: Http2Client | None = None
    _loop: asyncio.AbstractEventLoop = field(init=False)

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        return self

    async def __aexit__(self, *error: object) -> None:
        for pool in self._pools.values():
            pool.close()
        if self._http2 is not None:
            self._http2.close()

    def retire_others(self, peers: Collection[Peer]) -> None:
        """Keep the connections to these peers; close the others after their exchanges."""
        for peer in self._pools.keys() - peers:
            self._pools.pop(peer).retire()
        if self._http2 is not None:
            self._http2.retire_others(peers)

    async def send(self, destination: Destination, request: MirroredRequest) -> Observation:
        """Send the request and return its observation. Raises: LocalResourceError, TlsFileError."""
        started_s = time.monotonic()  # the clock of uvloop only has whole milliseconds
        response = await self._exchange(destination, request, self._loop.time() + destination.timeout_s)
        return self._observation(destination, request, response, (time.monotonic() - started_s) * 1000)

    async def _exchange(self, destination: Destination, request: MirroredRequest, until_s: float) -> Response:
        if request.method == "POST" and is_grpc(request.headers):
            return await self._call(destination, request, until_s)
        pool = self._pools.get(destination.peer)
        if pool is None:
            origin, tls = destination.peer
            pool = self._pools[destination.peer] = ConnectionPool(origin, self.max_body_bytes, tls)
        head, is_head = request_head(destination, request), request.method == "HEAD"
        connection, address = pool.take()
        if connection is not None:
            response = await connection.exchange(head, request.body, until_s, is_head=is_head)
            if not response.is_unanswered or request.method not in _SAFE:
                return response
        try:
            connection = await pool.connector.open(address, until_s)
        except ConnectError as error:
            return Response(failure=error.failure)
        response = await connection.exchange(head, request.body, until_s, is_head=is_head)
        if response.is_unanswered:
            response.failure = await pool.connector.reset_reason(connection.address, until_s)
        return response

    async def _call(self, destination: Destination, request: MirroredRequest, until_s: float) -> Response:
        """Send a gRPC call over HTTP/2. The first call loads the client, because few services need it."""
        if self._http2 is None:
            from shadowdiff.intake.http2 import Http2Client

            self._http2 = Http2Client(self.max_body_bytes)
        path = destination.edits.target(request.path)
        fields = request_fields(destination, request)
        origin, tls = destination.peer
        return await self._http2.send(origin, path, fields, request.body, until_s, tls)

    def failed(self, destination: Destination, request: MirroredRequest, failure: Failure) -> Observation:
        """Return the observation of a request that was not sent."""
        return self._observation(destination, request, Response(failure=failure), -1.0)

    def _observation(
        self, destination: Destination, request: MirroredRequest, response: Response, duration_ms: float
    ) -> Observation:
        is_candidate = destination.side is Side.CANDIDATE
        return Observation(
            side=destination.side,
            target=destination.target,
            id=request.id,
            id_source=request.id_source,
            method=request.method,
            path=request.path,
            host=request.host,
            status=response.status,
            failure=response.failure,
            headers=response.headers,
            body=response.body,
            body_bytes=response.body_bytes,
            trailers=response.trailers,
            duration_ms=duration_ms,
            at_ms=self.now_ms(),
            request_headers=tuple(request.headers) if is_candidate else (),
            request_body=request.body if is_candidate and len(request.body) <= MAX_REQUEST_BODY_KEPT else b"",
            authority=request.host if destination.preserves_host else destination.authority,
            prefixes=destination.edits.prefixes,
        )


def is_grpc(headers: RawHeaders) -> bool:
    """Whether a request is a gRPC call, which needs HTTP/2. gRPC-Web is plain HTTP/1.1."""
    return any(name == b"content-type" and _GRPC.match(value) for name, value in headers)


def forwarded_headers(headers: RawHeaders) -> RawHeaders:
    """Return the fields for v2, including the two fields that mark shadow traffic. The caller adds Host."""
    sent: RawHeaders = []
    baggage = listed = b""
    for one in headers:
        name, value = one
        if name not in _NOT_FORWARDED:
            sent.append(one)
        elif name == b"connection":
            if value not in _USUAL_CONNECTION:
                listed = listed + b"," + value if listed else value
        elif name == BAGGAGE:
            baggage = baggage + b"," + value if baggage else value
    if listed:
        hop_by_hop = {token.strip().lower() for token in listed.split(b",")}
        sent = [one for one in sent if one[0] not in hop_by_hop]
    sent.append((SHADOW_HEADER, b"1"))
    sent.append((BAGGAGE, b"%b,%b" % (baggage, _BAGGAGE_MEMBER) if baggage else _BAGGAGE_MEMBER))
    return sent


def request_fields(destination: Destination, request: MirroredRequest) -> RawHeaders:
    """Return the fields for v2, with Host and the configured changes."""
    fields = forwarded_headers(request.headers)
    host = request.host.encode("latin-1", "replace")
    if destination.preserves_host:
        fields.append((b"host", host))
    else:
        fields.append((b"host", destination.authority.encode("ascii")))
        # v1 received this field from an outer gateway, so v2 receives it too.
        if b"x-forwarded-host" not in [name for name, _ in fields]:
            fields.append((b"x-forwarded-host", host))
    return destination.edits.headers(fields)


def request_head(destination: Destination, request: MirroredRequest) -> bytes:
    """Return the request line and the header fields for v2 in HTTP/1.1 form."""
    fields = request_fields(destination, request)
    if request.body or request.method in _WITH_CONTENT:
        fields.append((b"content-length", b"%d" % len(request.body)))
    line = b"%b %b HTTP/1.1" % (request.method.encode("latin-1"), destination.edits.target(request.path))
    return b"\r\n".join((line, *map(b": ".join, fields), b"", b""))
