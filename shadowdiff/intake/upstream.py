"""Ask v2 (or the control) what it answers to a mirrored request.

In: a mirrored request and a destination.  Out: always an observation, with its failure where there is one.
Holds: the raw path and query are sent as received; no redirect is followed, nothing decompressed; the whole
exchange has one deadline and the body a bound. The destination is named by configuration alone.
A safe request that meets a connection which v2 closed in that instant is sent once more, as RFC 9110, section 9.2.2
allows; one that met a new connection is not.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from yarl import URL

from shadowdiff.intake.connection import Answer
from shadowdiff.intake.headers import RawHeaders, forwarded, is_grpc
from shadowdiff.intake.pool import ConnectError, Pool
from shadowdiff.model import Candidate, Control, Failure, HostPolicy, Observation, Side, Target

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from shadowdiff.intake.http2 import Http2Client
    from shadowdiff.intake.mirrored import Mirrored

MAX_BODY_BYTES = 1 << 20
MAX_REQUEST_BODY_KEPT = 1 << 16
"""A longer request body is sent on, but not kept with the observation."""
_SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_WITH_CONTENT = frozenset({"POST", "PUT", "PATCH"})
"""A request by these methods says its length even where it is 0. Source: RFC 9110, section 8.6."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where one side of a target is asked, with everything that does not change between requests.

    prefix: of the path.  authority: as Host names it.
    """

    target: str
    side: Side
    origin: tuple[str, str, int]
    prefix: bytes
    authority: bytes
    preserves_host: bool
    timeout_s: float

    @classmethod
    def of(cls, target: Target, named: Candidate | Control) -> Self:
        """Return the destination that the configuration names."""
        url = URL(named.url)
        return cls(
            target=target.name,
            side=Side.CANDIDATE if isinstance(named, Candidate) else Side.CONTROL,
            origin=(url.scheme, url.host or "", url.port or 80),
            prefix=url.raw_path.rstrip("/").encode("ascii"),
            authority=(url.host_port_subcomponent or "").encode("ascii"),
            preserves_host=target.candidate.host is HostPolicy.PRESERVE,
            timeout_s=named.timeout_s,
        )


class Upstream:
    """A pooled client for every candidate and control. Open it with `async with`, on the running loop."""

    __slots__ = ("_context", "_http2", "_loop", "_max_body_bytes", "_now_ms", "_pools")

    def __init__(self, now_ms: Callable[[], int], max_body_bytes: int = MAX_BODY_BYTES) -> None:
        self._now_ms = now_ms
        self._max_body_bytes = max_body_bytes
        self._pools: dict[tuple[str, str, int], Pool] = {}
        self._context: ssl.SSLContext | None = None
        self._http2: Http2Client | None = None
        self._loop: asyncio.AbstractEventLoop

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pool in self._pools.values():
            pool.close()
        if self._http2 is not None:
            self._http2.close()

    async def ask(self, destination: Destination, request: Mirrored) -> Observation:
        """Send the request and return what came of it; raises NoMeansError where this machine cannot ask."""
        started_s = time.monotonic()  # uvloop's own clock counts whole milliseconds
        answer = await self._exchange(destination, request, self._loop.time() + destination.timeout_s)
        return self._observation(destination, request, answer, (time.monotonic() - started_s) * 1000)

    async def _exchange(self, destination: Destination, request: Mirrored, until_s: float) -> Answer:
        if request.method == "POST" and is_grpc(request.headers):
            return await self._call(destination, request, until_s)
        pool = self._pools.get(destination.origin) or self._pool(destination.origin)
        head, is_head = head_of(destination, request), request.method == "HEAD"
        connection = pool.take()
        if connection is not None:
            answer = await connection.exchange(head, request.body, until_s, is_head=is_head)
            if not answer.is_unheard or request.method not in _SAFE:
                return answer
        try:
            connection = await pool.connect(until_s)
        except ConnectError as error:
            return Answer(failure=error.failure)
        return await connection.exchange(head, request.body, until_s, is_head=is_head)

    async def _call(self, destination: Destination, request: Mirrored, until_s: float) -> Answer:
        """Ask over HTTP/2, which gRPC needs; loaded with the first call, since most services never see one."""
        if self._http2 is None:
            from shadowdiff.intake.http2 import Http2Client

            self._http2 = Http2Client(self._max_body_bytes)
        path = destination.prefix + request.path.encode("latin-1")
        return await self._http2.ask(destination.origin, path, sent_fields(destination, request), request.body, until_s)

    def _pool(self, origin: tuple[str, str, int]) -> Pool:
        scheme, host, port = origin
        if scheme == "https" and self._context is None:
            self._context = ssl.create_default_context()
        context = self._context if scheme == "https" else None
        pool = self._pools[origin] = Pool(host, port, context, self._max_body_bytes)
        return pool

    def failed(self, destination: Destination, request: Mirrored, failure: Failure) -> Observation:
        """Return the observation of a request that was never sent, and why."""
        return self._observation(destination, request, Answer(failure=failure), -1.0)

    def _observation(
        self, destination: Destination, request: Mirrored, answer: Answer, duration_ms: float
    ) -> Observation:
        body = answer.body
        asked = destination.side is Side.CANDIDATE
        return Observation(
            side=destination.side,
            target=destination.target,
            id=request.id,
            id_source=request.id_source,
            method=request.method,
            path=request.path,
            host=request.host,
            status=answer.status,
            failure=answer.failure,
            headers=answer.headers,
            body=body,
            body_bytes=answer.body_bytes,
            trailers=answer.trailers,
            duration_ms=duration_ms,
            at_ms=self._now_ms(),
            request_headers=tuple(request.headers) if asked else (),
            request_body=request.body if asked and len(request.body) <= MAX_REQUEST_BODY_KEPT else b"",
        )


def sent_fields(destination: Destination, request: Mirrored) -> RawHeaders:
    """Return the fields that v2 is to see, Host among them."""
    fields = forwarded(request.headers)
    host = request.host.encode("latin-1", "replace")
    if destination.preserves_host:
        fields.append((b"host", host))
    else:
        fields.append((b"host", destination.authority))
        if all(name != b"x-forwarded-host" for name, _ in fields):  # else v1 saw the outer gateway's, and so shall v2
            fields.append((b"x-forwarded-host", host))
    return fields


def head_of(destination: Destination, request: Mirrored) -> bytes:
    """Return the request line and the fields that v2 is to see, as they go on the wire."""
    fields = sent_fields(destination, request)
    if request.body or request.method in _WITH_CONTENT:
        fields.append((b"content-length", b"%d" % len(request.body)))
    lines = [b"%b: %b\r\n" % field for field in fields]
    line = f"{request.method} {destination.prefix.decode()}{request.path} HTTP/1.1\r\n"
    return b"".join((line.encode("latin-1"), *lines, b"\r\n"))
