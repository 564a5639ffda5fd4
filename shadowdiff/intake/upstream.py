"""Ask v2 (or the control) what it answers to a mirrored request.

In: a mirrored request and a destination.  Out: always an observation, with its failure where there is one.
Holds: the raw path and query are sent as received; no redirect is followed, nothing decompressed; the whole
exchange has one deadline and the body a bound. The destination is named by configuration alone.
A GET that meets a connection which v2 closed in that instant is sent once more, as RFC 9110, section 9.2.2 allows.
"""

from __future__ import annotations

import asyncio
import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import aiohttp
from aiohttp import hdrs
from multidict import CIMultiDict
from yarl import URL

from shadowdiff.intake.headers import forwarded
from shadowdiff.model import Candidate, Control, Failure, Headers, HostPolicy, Observation, Side, Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from shadowdiff.intake.mirrored import Mirrored

MAX_BODY_BYTES = 1 << 20
MAX_REQUEST_BODY_KEPT = 1 << 16
"""A longer request body is sent on, but not kept with the observation."""
MAX_HEADER_LINE_BYTES = 1 << 16
IDLE_CONNECTION_S = 1.5
"""Shorter than what servers commonly allow (2 s and up), so that v2 seldom closes a connection under a POST."""
DNS_CACHE_S = 10


@dataclass(frozen=True, slots=True)
class Destination:
    """Where one side of a target is asked, with everything that does not change between requests."""

    target: str
    side: Side
    base: str
    authority: str
    preserves_host: bool
    timeout: aiohttp.ClientTimeout

    @classmethod
    def of(cls, target: Target, named: Candidate | Control) -> Self:
        """Return the destination that the configuration names."""
        url = URL(named.url)
        return cls(
            target=target.name,
            side=Side.CANDIDATE if isinstance(named, Candidate) else Side.CONTROL,
            base=str(url).rstrip("/"),
            authority=url.host_port_subcomponent or "",
            preserves_host=target.candidate.host is HostPolicy.PRESERVE,
            timeout=aiohttp.ClientTimeout(total=named.timeout_s),
        )


class _PlainRequest(aiohttp.ClientRequest):
    """Adds no Accept, Accept-Encoding, User-Agent or Content-Type that the user did not send."""

    def update_auto_headers(self, skip_auto_headers: Iterable[str] | None) -> None:  # noqa: ARG002
        self._skip_auto_headers = _NO_AUTOMATIC_HEADERS

    def update_headers(self, headers: object) -> None:
        # The session made this CIMultiDict for this request alone, and Host is always in it.
        assert isinstance(headers, CIMultiDict)  # noqa: S101 - what the session promises
        self.headers = headers


_NO_AUTOMATIC_HEADERS: CIMultiDict[None] = CIMultiDict({hdrs.CONTENT_TYPE: None})


class Upstream:
    """A pooled client for every candidate and control. Open it with `async with`, on the running loop."""

    __slots__ = ("_loop", "_max_body_bytes", "_now_ms", "_session")

    def __init__(self, now_ms: Callable[[], int], max_body_bytes: int = MAX_BODY_BYTES) -> None:
        self._now_ms = now_ms
        self._max_body_bytes = max_body_bytes
        self._session: aiohttp.ClientSession
        self._loop: asyncio.AbstractEventLoop

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_CONNECTION_S, ttl_dns_cache=DNS_CACHE_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            request_class=_PlainRequest,
            auto_decompress=False,
            max_line_size=MAX_HEADER_LINE_BYTES,
            max_field_size=MAX_HEADER_LINE_BYTES,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def ask(self, destination: Destination, request: Mirrored) -> Observation:
        """Send the request and return what came of it. Only cancellation raises."""
        started_s = self._loop.time()
        answer = _Answer()
        try:
            response = await self._session.request(
                request.method,
                URL(destination.base + request.path, encoded=True),
                headers=_sent_headers(destination, request),
                data=request.body or None,
                allow_redirects=False,
                timeout=destination.timeout,
            )
            await answer.read(response, self._max_body_bytes)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            answer.failure = failure_of(error)
        return self._observation(destination, request, answer, (self._loop.time() - started_s) * 1000)

    def failed(self, destination: Destination, request: Mirrored, failure: Failure) -> Observation:
        """Return the observation of a request that was never sent, and why."""
        return self._observation(destination, request, _Answer(failure=failure), -1.0)

    def _observation(
        self, destination: Destination, request: Mirrored, answer: _Answer, duration_ms: float
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
            duration_ms=duration_ms,
            at_ms=self._now_ms(),
            request_headers=tuple(request.headers) if asked else (),
            request_body=request.body if asked and len(request.body) <= MAX_REQUEST_BODY_KEPT else b"",
        )


@dataclass(slots=True)
class _Answer:
    """A response as far as it came. Written while it arrives, so that a failure leaves what was there."""

    status: int = 0
    headers: Headers = ()
    body: bytes = b""
    body_bytes: int = 0
    failure: Failure | None = None

    async def read(self, response: aiohttp.ClientResponse, max_body_bytes: int) -> None:
        """Read the body up to the bound; beyond it, drop the connection and note that more was sent."""
        self.status = response.status
        self.headers = tuple([(name.lower(), value) for name, value in response.raw_headers])
        content = response.content
        try:
            self.body = content.read_nowait() if content.is_eof() else await content.readany()
            if not content.at_eof():
                await self._read_on(response, max_body_bytes)
        except BaseException:
            response.close()
            self.body_bytes = max(response.content_length or 0, len(self.body) + 1)
            raise
        self.body_bytes = len(self.body)
        if self.body_bytes > max_body_bytes:
            self.body_bytes = max(response.content_length or 0, self.body_bytes)
            self.body = self.body[:max_body_bytes]

    async def _read_on(self, response: aiohttp.ClientResponse, max_body_bytes: int) -> None:
        parts, size, content = [self.body], len(self.body), response.content
        try:
            while size <= max_body_bytes and not content.at_eof():
                part = await content.readany()
                parts.append(part)
                size += len(part)
        finally:
            self.body = b"".join(parts)
        if size > max_body_bytes:
            response.close()


def _sent_headers(destination: Destination, request: Mirrored) -> CIMultiDict[str]:
    headers = CIMultiDict(forwarded(request.headers))
    if destination.preserves_host:
        headers["host"] = request.host
    else:
        headers["host"] = destination.authority
        if "x-forwarded-host" not in headers:  # else v1 saw the outer gateway's, and so shall v2
            headers["x-forwarded-host"] = request.host
    return headers


def failure_of(error: BaseException) -> Failure:
    """Name what went wrong in one exchange."""
    match error:
        case TimeoutError():
            return Failure.TIMEOUT
        case aiohttp.ClientConnectorDNSError():
            return Failure.UNRESOLVED
        case aiohttp.ClientConnectorError():
            return Failure.TIMEOUT if error.os_error.errno == errno.ETIMEDOUT else Failure.REFUSED
        case aiohttp.ClientPayloadError():
            return Failure.RESET if _ended_early(error) else Failure.MALFORMED
        case aiohttp.ServerDisconnectedError() | OSError():
            return Failure.RESET
        case _:
            return Failure.MALFORMED


def _ended_early(error: aiohttp.ClientPayloadError) -> bool:
    cause = error.__cause__
    return cause is None or isinstance(cause, OSError) or "Not enough data" in str(cause)
