"""Record what v1 answers, from inside v1: one file to copy, an ASGI and a WSGI middleware.

In: the requests and responses of one application.  Out: copies of its responses, in batches, to the records
port of shadowdiff and, with `mirror_to`, copies of its safe requests to the mirror port.
Holds: a response is passed on unchanged and before it is looked at; whatever happens to shadowdiff, nothing
waits for it and nothing is raised into the application; what is held is bounded in number and in bytes; each
record is counted once, as sent, as dropped with a reason, or as queued.
Needs the standard library alone, Python 3.8 or later. Wrap the application outermost:

    app = AsgiMiddleware(app, url="http://shadowdiff:8081")
    app = WsgiMiddleware(app, url="http://shadowdiff:8081", mirror_to="http://shadowdiff:8080")

Left empty, `url` and `mirror_to` come from SHADOWDIFF_RECORDS_URL and SHADOWDIFF_MIRROR_URL; without a url
the middleware is off and hands every request straight to the application.
"""

from __future__ import annotations

import atexit
import base64
import contextlib
import functools
import http.client
import json
import logging
import os
import re
import socket
import threading
import time
import urllib.parse
import uuid
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping, Sequence

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    AsgiApp = Callable[[Message, Receive, Send], Awaitable[None]]
    Environ = dict[str, Any]
    WsgiApp = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]
    Pairs = tuple[tuple[bytes, bytes], ...]

__all__ = ["AsgiMiddleware", "Recorder", "WsgiMiddleware"]

_Made = TypeVar("_Made")

_LOG = logging.getLogger("shadowdiff.recorder")
_MARK = b"x-shadowdiff"
_UNIQUE_ID = "x-diff-id"
_ID_BYTES = 256
_ITEM_BYTES = 512
"""What a queued item costs beside its body and headers, about."""
_BACKOFF_S = (0.2, 5.0)
_HURRIED_BACKOFF_S = 0.1
_COMPLAINT_EVERY_S = 60.0
_ANSWER_BYTES = 1 << 16
_NO_BODY = frozenset({204, 205, 304})
_TAKEN = frozenset({200, 202})
_BUSY = frozenset({429, 503})
_HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy proxy-authenticate proxy-authorization proxy-connection te trailer transfer-encoding"
    b" upgrade expect content-length host".split(),
)
_ID_HEADERS = ("x-diff-id", "x-request-id", "traceparent")
_TRACE_HEADERS = frozenset(b"traceparent b3 x-b3-traceid x-b3-spanid x-b3-sampled x-b3-flags".split())
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_PROBE_AGENTS = ("kube-probe/",)
_PROBE_PATHS = ("/healthz", "/livez", "/readyz")
_TARGET = re.compile(rb"[^\x00-\x20\x7f]+")
_UNSENDABLE = re.compile(rb"[\x00\r\n]")


def fnv1a32(text: str) -> int:
    """Return FNV-1a-32 of a header's bytes (a character a byte) with ASCII letters in lower case: a sample's draw."""
    value = 0x811C9DC5
    try:
        raw = text.encode("latin-1")
    except UnicodeEncodeError:
        raw = text.encode("utf-8", "surrogatepass")
    for byte in raw.lower():
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return value


def _kept(request_id: str, rate: float) -> bool:
    return rate >= 1.0 or fnv1a32(request_id) < rate * 4294967296


def _trace_id(traceparent: str) -> str:
    parts = traceparent.split("-", 3)
    whole = len(parts) >= 3 and len(parts[1]) == 32 and parts[1].strip("0") != ""  # noqa: PLR2004
    return parts[1].lower() if whole else ""


def _identify(headers: Pairs, id_headers: Sequence[str]) -> tuple[str, str]:
    """Return the id and the header that gave it: the first of `id_headers` with a usable value, else two ''."""
    for wanted in id_headers:
        name = wanted.encode("latin-1")
        value = next((value for known, value in headers if known == name), b"")
        text = value.decode("utf-8", "backslashreplace").strip()
        if wanted == "traceparent":
            text = _trace_id(text)
        if text and len(text) <= _ID_BYTES:
            return text, wanted
    return "", ""


def _first(headers: Pairs, name: bytes) -> bytes:
    return next((value for known, value in headers if known == name), b"")


class _Record(NamedTuple):
    """One response of v1, as it is queued. `cost` is what it holds in bytes, `born_s` on the monotonic clock."""

    facts: dict[str, Any]
    headers: Pairs
    body: bytes
    cost: int
    born_s: float


class _Copy(NamedTuple):
    """One request, as it is mirrored."""

    method: bytes
    path: bytes
    headers: Pairs
    body: bytes
    cost: int
    born_s: float


class _Lost(Exception):  # noqa: N818  names what became of a batch
    """A batch that was not taken: the reason it is counted under, and what happened."""

    def __init__(self, reason: str, cause: object) -> None:
        super().__init__(f"{reason}: {cause}")
        self.reason = reason


class _Stale(Exception):  # noqa: N818  a state, not a fault
    """A kept-alive connection turned out to be closed before it answered: open another."""


class _Peer:
    """One kept-alive connection to one port of shadowdiff, with a deadline on every wait."""

    def __init__(self, url: str, name: str, timeout_s: float) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or parts.query:
            raise ValueError(f"{name} is {url!r}: write scheme, host and port, as in http://shadowdiff:8081")
        self.url = url
        self._secure = parts.scheme == "https"
        self._address = (parts.hostname, parts.port or (443 if self._secure else 80))
        self.authority = parts.netloc.rpartition("@")[2].encode("latin-1")
        self._timeout_s = timeout_s
        self._connection: http.client.HTTPConnection | None = None
        self._has_answered = False

    def connect(self) -> None:
        """Open the connection where there is none. Raises: OSError."""
        if self._connection is None:
            kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
            connection = kind(*self._address, timeout=self._timeout_s)
            connection.connect()
            self._connection, self._has_answered = connection, False

    def close(self) -> None:
        """Forget the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def exchange(self, method: bytes, request: bytes) -> tuple[int, bytes]:
        """Send one request, given as bytes, and return status and the start of the answer.

        Raises: _Lost, or _Stale where another connection may fare better.
        """
        try:
            return self._exchange(method, request)
        except socket.timeout as error:  # noqa: UP041  in Python 3.8 this is not TimeoutError
            self.close()
            raise _Lost("timeout", error) from error
        except (OSError, http.client.HTTPException) as error:
            self.close()
            if self._has_answered and isinstance(error, (ConnectionError, http.client.NotConnected)):
                raise _Stale from error
            raise _Lost("reset", repr(error)) from error

    def _exchange(self, method: bytes, request: bytes) -> tuple[int, bytes]:
        connection = self._connection
        if connection is None:
            raise http.client.NotConnected
        connection.send(request)
        response = http.client.HTTPResponse(connection.sock, method=method.decode("latin-1"))
        try:
            response.begin()
            answer = response.read(_ANSWER_BYTES)
            if response.will_close or (not response.isclosed() and response.read(1)):
                self.close()
            self._has_answered = True
            return response.status, answer
        finally:
            response.close()


class _Lane:
    """A bounded queue and the one daemon thread that empties it over one connection.

    Holds, whenever the lock is free: taken = sent + dropped + queued.
    """

    batch_items = 1
    batch_bytes = 1 << 20
    linger_s = 0.0

    def __init__(self, recorder: Recorder, peer: _Peer, max_items: int, max_age_s: float) -> None:
        self._recorder = recorder
        self.peer = peer
        self._max_items = max_items
        self._max_age_s = max_age_s
        self.reset()

    def reset(self) -> None:
        """Begin anew, with nothing held: at the start, and in a forked child, which has no thread of ours."""
        lock = self._recorder.lock
        self._wake = threading.Condition(lock)
        self._idle = threading.Condition(lock)
        self._queue: deque[Any] = deque()
        self._in_flight: list[Any] = []
        self._thread: threading.Thread | None = None
        self._closed = False
        self._hurried = False
        self._backoff_s = 0.0
        self._taken = 0
        self._sent = 0
        self._dropped: dict[str, int] = {}
        self.peer.close()

    # -- the application's side: never waits ----------------------------------------------------------

    def offer(self, item: Any) -> None:
        """Queue `item`, or count why not. The bytes it costs are reserved already."""
        with self._wake:
            self._taken += 1
            if self._closed:
                self._drop([item], "stopped")
            elif len(self._queue) + len(self._in_flight) >= self._max_items:
                self._drop([item], "full")
            else:
                self._queue.append(item)
                if self._thread is None:
                    self._start()
                elif len(self._queue) in (1, self.batch_items):
                    self._wake.notify()

    def refuse(self) -> None:
        """Count one item for which there was no room."""
        with self._wake:
            self._taken += 1
            self._count_dropped(1, "full")

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="shadowdiff-" + type(self).__name__, daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # no thread to be had: the interpreter is ending, or the machine is full
            self._thread = None
            self._drop(list(self._queue), "stopped")
            self._queue.clear()

    def _drop(self, items: Sequence[Any], reason: str) -> None:
        self._count_dropped(len(items), reason)
        self._recorder.release(sum(item.cost for item in items))

    def _count_dropped(self, count: int, reason: str) -> None:
        if count:
            self._dropped[reason] = self._dropped.get(reason, 0) + count

    def counts(self) -> dict[str, Any]:
        """Return what was taken, sent, dropped by reason, and is queued (or on its way) now."""
        with self._wake:
            queued = len(self._queue) + len(self._in_flight)
            return {"taken": self._taken, "sent": self._sent, "dropped": dict(self._dropped), "queued": queued}

    def flush(self, timeout_s: float) -> bool:
        """Wait until nothing is queued, at most `timeout_s`. Whether that was reached."""
        with self._wake:
            self._hurried = True
            self._wake.notify()
            try:
                return self._idle.wait_for(lambda: not self._queue and not self._in_flight, timeout_s)
            finally:
                self._hurried = False

    def close(self, timeout_s: float) -> None:
        """Send what is queued for at most `timeout_s`, drop the rest, end the thread."""
        until_s = time.monotonic() + timeout_s
        self.flush(timeout_s)
        with self._wake:
            self._closed = True
            self._drop([*self._queue, *self._in_flight], "stopped")
            self._queue.clear()
            self._in_flight = []
            self._wake.notify()
            self._idle.notify_all()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(max(0.0, until_s - time.monotonic()))

    # -- the thread's side ----------------------------------------------------------------------------

    def _run(self) -> None:
        batch = self._take()
        while batch:
            try:
                self._deliver(batch)
            except Exception as error:  # noqa: BLE001  the thread's outer edge: a fault here costs a batch, never v1
                self._settle(batch, 0, "broken")
                self._recorder.complain(f"a batch is lost to a fault of the recorder itself: {error!r}")
            batch = self._take()
        self.peer.close()

    def _take(self) -> list[Any]:
        """Wait for a batch, and return it; empty when closed."""
        with self._wake:
            while not self._closed:
                while not self._queue and not self._closed:
                    self._wake.wait()
                if self.linger_s and not self._hurried and len(self._queue) < self.batch_items:
                    self._wake.wait(self.linger_s)
                self._drop_aged()
                batch = self._next_batch()
                if batch:
                    self._in_flight = batch
                    return batch
                self._idle.notify_all()
        return []

    def _next_batch(self) -> list[Any]:
        batch: list[Any] = []
        size = 0
        while self._queue and len(batch) < self.batch_items and (not batch or size < self.batch_bytes):
            size += self._queue[0].cost
            batch.append(self._queue.popleft())
        return batch

    def _drop_aged(self) -> None:
        """Drop what is too old to meet its other half."""
        oldest = time.monotonic() - self._max_age_s
        while self._queue and self._queue[0].born_s < oldest:
            self._drop([self._queue.popleft()], "stale")

    def _deliver(self, batch: list[Any]) -> None:
        """Send `batch`. What never left is tried again until it is old; what may have arrived is not."""
        sent, reason = 0, "refused"
        while True:
            try:
                self.peer.connect()
                sent = self.send(batch)
            except _Stale:
                continue  # never twice: a new connection that fails is lost, or unreachable
            except _Lost as lost:
                reason = lost.reason
                self._back_off(lost)
            except OSError as error:  # from connect(): nothing has left
                self._back_off(_Lost("unreachable", error))
                if time.monotonic() - batch[0].born_s < self._max_age_s and self._pause():
                    continue
                reason = "unreachable"
            break
        self._settle(batch, sent, reason)
        if reason == "refused":
            self._backoff_s = 0.0
        else:
            self._pause()

    def send(self, batch: list[Any]) -> int:
        """Send the batch, and return how many of it were taken. Raises: _Lost."""
        raise NotImplementedError

    def _settle(self, batch: list[Any], sent: int, reason: str) -> None:
        with self._wake:
            if self._in_flight is not batch:  # close() has counted it
                return
            self._in_flight = []
            self._sent += sent
            self._recorder.release(sum(item.cost for item in batch))
            self._count_dropped(len(batch) - sent, reason)
            self._idle.notify_all()

    def _back_off(self, lost: _Lost) -> None:
        """Wait longer each time, and say why once in a while."""
        self._backoff_s = min(max(self._backoff_s * 2, _BACKOFF_S[0]), _BACKOFF_S[1])
        self._recorder.complain(f"{self.peer.url} takes nothing ({lost}); responses are not affected")

    def _pause(self) -> bool:
        """Wait out the backoff; only a moment of it where somebody flushes. Whether to go on."""
        began_s = time.monotonic()
        with self._wake:
            while not self._closed:
                backoff_s = min(self._backoff_s, _HURRIED_BACKOFF_S) if self._hurried else self._backoff_s
                left_s = began_s + backoff_s - time.monotonic()
                if left_s <= 0:
                    break
                self._wake.wait(left_s)
            return not self._closed

    def _ask(self, method: bytes, head: Iterable[bytes], body: bytes) -> tuple[int, bytes]:
        status, answer = self.peer.exchange(method, b"\r\n".join([*head, b"", b""]) + body)
        if status in _BUSY:
            raise _Lost("overloaded", f"it answered {status}")
        return status, answer


class _Records(_Lane):
    """Responses, as NDJSON batches, to POST /records."""

    batch_items = 100
    linger_s = 0.05

    def send(self, batch: list[_Record]) -> int:
        body = b"".join(map(_line, batch))
        token = self._recorder.token
        head = (
            b"POST /records HTTP/1.1",
            b"host: " + self.peer.authority,
            b"content-type: application/x-ndjson",
            b"content-length: %d" % len(body),
            *((b"authorization: Bearer " + token,) if token else ()),
        )
        status, answer = self._ask(b"POST", head, body)
        taken = _accepted(answer, len(batch)) if status in _TAKEN else 0
        if taken < len(batch):
            refused = f"{len(batch) - taken} of {len(batch)} records"
            self._recorder.complain(f"{self.peer.url} refused {refused}, with {status}: {answer[:500]!r}")
        return taken


def _line(record: _Record) -> bytes:
    """Return the record as one line; the body is joined as bytes, since quoting megabytes holds up every thread."""
    facts = dict(record.facts, headers=[[n.decode("latin-1"), v.decode("latin-1")] for n, v in record.headers])
    start = json.dumps(facts, separators=(",", ":")).encode("ascii")
    return b'%b,"body_base64":"%b"}\n' % (start[:-1], base64.b64encode(record.body))


def _accepted(answer: bytes, offered: int) -> int:
    """Return how many of a batch the answer says were taken."""
    try:
        accepted = json.loads(answer).get("accepted", offered)
    except (ValueError, AttributeError):
        return offered
    return max(0, min(offered, accepted)) if isinstance(accepted, int) else offered


class _Mirror(_Lane):
    """Requests, one by one, to the mirror port, as a mesh would copy them."""

    def send(self, batch: list[_Copy]) -> int:
        copy = batch[0]
        head = [b"%b %b HTTP/1.1" % (copy.method, copy.path), *(b"%b: %b" % pair for pair in copy.headers)]
        if copy.body:
            head.append(b"content-length: %d" % len(copy.body))
        status, answer = self._ask(copy.method, head, copy.body)
        if status in _TAKEN:
            return 1
        self._recorder.complain(f"{self.peer.url} refused a mirrored request, with {status}: {answer[:500]!r}")
        return 0


class Recorder:
    """Takes what a middleware saw, and sends it on from background threads that start with the first record.

    url: shadowdiff's records port. mirror_to: its mirror port, where no proxy mirrors the requests.
    token: one of the service's `access.records`, where it asks for one.
    side: `primary` in v1, `candidate` where v2's own proxy or middleware records too.
    sample: the share of requests recorded, drawn by id; the same as the target's `sample`.
    id_headers: lower case, in order of preference; the same as `pairing.id_headers`.
    mirror_methods: what is mirrored; anything that writes would write twice.
    max_body_bytes: more of a body than this is not held; its full size is told.
    max_records, max_bytes: the bounds of the queue; max_bytes also bounds the bodies of responses in progress.
    timeout_s: of each wait on the network. max_age_s: when a record, or a response that still streams, is too old
        to meet its other half: the service's `pairing.window`.
    flush_s: how long the end of the process may wait for what is queued.
    Raises: ValueError, naming the argument.
    """

    def __init__(
        self,
        url: str,
        *,
        mirror_to: str = "",
        token: str = "",
        side: str = "primary",
        sample: float = 1.0,
        id_headers: Sequence[str] = _ID_HEADERS,
        mirror_methods: Sequence[str] = _SAFE_METHODS,
        skip_agents: Sequence[str] = _PROBE_AGENTS,
        skip_paths: Sequence[str] = _PROBE_PATHS,
        max_body_bytes: int = 1 << 20,
        max_records: int = 2000,
        max_bytes: int = 16 << 20,
        timeout_s: float = 2.0,
        max_age_s: float = 30.0,
        flush_s: float = 1.0,
    ) -> None:
        if side not in ("primary", "candidate"):
            raise ValueError(f"side is {side!r}: it is primary or candidate")
        if not token.isascii() or not token.isprintable():
            raise ValueError("token holds what no header can carry: write it in ASCII, on one line")
        if mirror_to and side != "primary":
            raise ValueError(f"mirror_to is {mirror_to!r} beside side {side!r}: only v1 mirrors")
        if not 0.0 <= sample <= 1.0:
            raise ValueError(f"sample is {sample!r}: it is a share from 0 to 1")
        if min(max_body_bytes, max_records, max_bytes, timeout_s, max_age_s) <= 0 or flush_s < 0:
            raise ValueError("max_body_bytes, max_records, max_bytes, timeout_s and max_age_s are above 0")
        self.side = side
        self.token = token.encode("ascii")
        self.sample = sample
        self.id_headers = tuple(name.lower() for name in id_headers)
        self.mirror_methods = frozenset(mirror_methods)
        self.skip_agents = tuple(text.encode("latin-1") for text in skip_agents)
        self.skip_paths = frozenset(text.encode("latin-1") for text in skip_paths)
        self.max_body_bytes = max_body_bytes
        self.flush_s = flush_s
        self.max_age_s = max_age_s
        self._max_bytes = max_bytes
        self._complained_s = 0.0
        self.lock = threading.RLock()
        self._held_bytes = 0
        self._skipped: dict[str, int] = {}
        self._records = _Records(self, _Peer(url, "url", timeout_s), max_records, max_age_s)
        mirror = _Peer(mirror_to, "mirror_to", timeout_s) if mirror_to else None
        self._mirror = _Mirror(self, mirror, max_records, max_age_s) if mirror else None
        _LIVE.add(self)

    def __repr__(self) -> str:
        return f"<Recorder {json.dumps(self.stats())}>"

    @property
    def lanes(self) -> list[_Lane]:
        """The records and, where there is one, the mirror."""
        return [self._records, self._mirror] if self._mirror else [self._records]

    def reset(self) -> None:
        """Hold nothing and count from 0: in a forked child, where the parent's threads and lock are not."""
        self.lock = threading.RLock()
        self._held_bytes = 0
        self._skipped = {}
        for lane in self.lanes:
            lane.reset()

    def reserve(self, count: int) -> bool:
        """Set aside `count` bytes of the bound. Whether there were as many."""
        with self.lock:
            if self._held_bytes + count > self._max_bytes:
                return False
            self._held_bytes += count
            return True

    def release(self, count: int) -> None:
        """Give back what was reserved."""
        with self.lock:
            self._held_bytes = max(0, self._held_bytes - count)

    def skip(self, reason: str) -> None:
        """Count a request of which no record is made."""
        with self.lock:
            self._skipped[reason] = self._skipped.get(reason, 0) + 1

    def offer(self, record: _Record | None, copy: _Copy | None) -> None:
        """Queue a response, and the request that it answered. None: there was no room to hold it."""
        with self.lock:
            if record is None:
                self._records.refuse()
            else:
                self._records.offer(record)
            if copy is not None and self._mirror is not None:
                self._mirror.offer(copy)

    def stats(self) -> dict[str, Any]:
        """Return the counts of this process, taken at one moment.

        In `records` and `mirror`: taken = sent + all of dropped + queued.
        """
        with self.lock:
            counts: dict[str, Any] = {"records": self._records.counts(), "skipped": dict(self._skipped)}
            if self._mirror is not None:
                counts["mirror"] = self._mirror.counts()
            return counts

    def flush(self, timeout_s: float | None = None) -> bool:
        """Wait until all that is queued was sent or dropped, at most `timeout_s` (default flush_s)."""
        until = time.monotonic() + (self.flush_s if timeout_s is None else timeout_s)
        done = [lane.flush(max(0.0, until - time.monotonic())) for lane in self.lanes]
        return all(done)

    def close(self, timeout_s: float | None = None) -> None:
        """Flush, drop what is left, and end the threads. What comes after is counted as dropped."""
        until = time.monotonic() + (self.flush_s if timeout_s is None else timeout_s)
        for lane in self.lanes:
            lane.close(max(0.0, until - time.monotonic()))

    def complain(self, text: str) -> None:
        """Log a warning, at most one a minute; a logger that raises is nothing to v1."""
        with self.lock:
            quiet = self._complained_s and time.monotonic() - self._complained_s < _COMPLAINT_EVERY_S
            self._complained_s = self._complained_s if quiet else time.monotonic()
        if not quiet:
            with contextlib.suppress(Exception):
                _LOG.warning("%s; %s", text, json.dumps(self.stats()))

    def mirrors(self, method: str) -> bool:
        """Whether a request with this method is copied to the mirror port."""
        return self._mirror is not None and method in self.mirror_methods

    @property
    def is_mirror(self) -> bool:
        """Whether requests are mirrored from here."""
        return self._mirror is not None


_LIVE: weakref.WeakSet[Recorder] = weakref.WeakSet()


def _close_all() -> None:
    for recorder in list(_LIVE):
        recorder.close()


def _reset_all() -> None:
    for recorder in list(_LIVE):
        recorder.reset()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_all)


def _harmless(step: Callable[..., _Made]) -> Callable[..., _Made | None]:
    """Let a step of the recorder fail without the application noticing."""

    @functools.wraps(step)
    def guarded(self: _Exchange, *args: Any, **named: Any) -> _Made | None:
        try:
            return step(self, *args, **named)
        except Exception as error:  # noqa: BLE001  the edge between the recorder and v1: nothing may pass it
            self.break_off(error)
            return None

    return guarded


class _Exchange:
    """One request and the response to it, as they pass by. Ends once: recorded, or skipped with a reason."""

    def __init__(self, recorder: Recorder, method: str, path: bytes, headers: Pairs) -> None:
        self._recorder = recorder
        self._method = method
        self._path = path
        self._request_headers = headers
        self._id = self._id_source = ""
        self._started_s = time.perf_counter()
        self._status = 0
        self._headers: Pairs = ()
        self._chunks: list[bytes] = []
        self._request_chunks: list[bytes] = []
        self._kept_bytes = 0
        self._size = 0
        self._reserved = 0
        self._no_room = False
        self._duration_ms = -1.0
        self._request_read = not self.may_have_body
        self._request_cut = False
        self.over = False

    @property
    def may_have_body(self) -> bool:
        """Whether the request may carry a body."""
        length = _first(self._request_headers, b"content-length")
        return length not in (b"", b"0") or bool(_first(self._request_headers, b"transfer-encoding"))

    @property
    def wants_request_body(self) -> bool:
        """Whether the request's body is needed, for the mirror."""
        return self.may_have_body and self._recorder.mirrors(self._method)

    @_harmless
    def begin(self) -> bool:
        """Find the id. Whether the request is to be recorded; where not, that is counted."""
        recorder, headers = self._recorder, self._request_headers
        agent = _first(headers, b"user-agent")
        if any(name == _MARK for name, _ in headers):
            return self.give_up("shadow")
        if self._method == "CONNECT":
            return self.give_up("tunnel")
        if self._path.partition(b"?")[0] in recorder.skip_paths or agent.startswith(recorder.skip_agents):
            return self.give_up("probe")
        if recorder.is_mirror:  # who mirrors makes the id: fresh for this hop, and nobody's to forge
            self._id, self._id_source = uuid.uuid4().hex, _UNIQUE_ID
        else:
            self._id, self._id_source = _identify(headers, recorder.id_headers)
        if not self._id:
            return self.give_up("unidentified")
        return _kept(self._id, recorder.sample) or self.give_up("sampled_out")

    @_harmless
    def request_chunk(self, chunk: bytes, is_last: bool) -> None:  # noqa: FBT001
        """See a part of the request's body."""
        self._request_read = self._request_read or is_last
        if not chunk or self.over or self._request_cut:
            return
        if sum(map(len, self._request_chunks)) + len(chunk) <= self._recorder.max_body_bytes:
            self._hold(self._request_chunks, bytes(chunk))
        else:
            self._request_cut = True

    @_harmless
    def start(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """See the response's head; a second one replaces the first."""
        self._status = status
        self._headers = tuple((bytes(name).lower(), bytes(value)) for name, value in headers)

    @_harmless
    def chunk(self, chunk: bytes) -> None:
        """See a part of the response's body, that was passed on already."""
        if self.over or self._is_bodiless():
            return
        self._size += len(chunk)
        if time.perf_counter() - self._started_s > self._recorder.max_age_s:
            self.give_up("slow")
            return
        room = self._recorder.max_body_bytes - self._kept_bytes
        if chunk and room > 0 and not self._no_room:
            part = bytes(chunk[:room])
            self._kept_bytes += len(part)
            self._hold(self._chunks, part)

    def _hold(self, chunks: list[bytes], part: bytes) -> None:
        if self._no_room or not self._recorder.reserve(len(part)):
            self._no_room = True
            self._chunks.clear()
            self._request_chunks.clear()
            self._give_back()
            return
        self._reserved += len(part)
        chunks.append(part)

    def _give_back(self) -> None:
        reserved, self._reserved = self._reserved, 0
        self._recorder.release(reserved)

    def _is_bodiless(self) -> bool:
        return self._method == "HEAD" or self._status in _NO_BODY

    def ended(self) -> None:
        """Take the time: the body's last part was handed over."""
        if self._duration_ms < 0:
            self._duration_ms = (time.perf_counter() - self._started_s) * 1000

    @property
    def is_whole(self) -> bool:
        """Whether all of the response was seen, though nobody said that it ended."""
        length = _first(self._headers, b"content-length")
        return self._is_bodiless() or (length.isdigit() and self._size >= int(length))

    @_harmless
    def finish(self) -> None:
        """Queue the whole response, and the request where it is mirrored."""
        if self.over:
            return
        if not self._status:
            self.give_up("unanswered")
            return
        self.over = True
        self.ended()
        try:
            self._recorder.offer(self._record(), self._copy())
        finally:
            self._give_back()

    @_harmless
    def failed(self, error: BaseException, *, on_the_wire: bool) -> None:
        """See the application raise: a server answers 500 to that, unless the head was sent or the client left."""
        if on_the_wire or not isinstance(error, Exception):
            self.give_up("aborted")
            return
        self.start(500, ())
        self._chunks.clear()
        self._size = 0
        self.finish()

    def give_up(self, reason: str) -> bool:
        """Count that there is no record of this request."""
        if not self.over:
            self.over = True
            self._chunks.clear()
            self._request_chunks.clear()
            self._give_back()
            self._recorder.skip(reason)
        return False

    def break_off(self, error: Exception) -> None:
        """Stop looking, after a fault of the recorder's own."""
        self.give_up("broken")
        self._recorder.complain(f"a request is not recorded, by a fault of the recorder itself: {error!r}")

    def _record(self) -> _Record | None:
        cost = _ITEM_BYTES + sum(len(name) + len(value) for name, value in self._headers)
        if self._no_room or not self._recorder.reserve(cost):
            self._no_room = True
            return None
        attempt = _first(self._request_headers, b"x-envoy-attempt-count")
        facts: dict[str, Any] = {
            "id": self._id,
            "id_source": self._id_source,
            "method": self._method,
            "path": self._path.decode("latin-1"),
            "host": _first(self._request_headers, b"host").decode("latin-1"),
            "status": self._status,
            "side": self._recorder.side,
            "size": self._size,
            "attempt": int(attempt) if attempt.isdigit() else 0,
            "duration_ms": round(self._duration_ms, 3),
        }
        traced = [
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in self._request_headers
            if name in _TRACE_HEADERS
        ]
        if traced:
            facts["request_headers"] = traced
        body_bytes = sum(map(len, self._chunks))
        self._reserved -= body_bytes
        return _Record(facts, self._headers, b"".join(self._chunks), cost + body_bytes, time.monotonic())

    def _copy(self) -> _Copy | None:
        """Return the request as it is mirrored; where it is not, that is counted."""
        recorder = self._recorder
        if not recorder.is_mirror:
            return None
        headers = self._mirrored_headers()
        size = _ITEM_BYTES + sum(len(name) + len(value) for name, value in headers)
        if not recorder.mirrors(self._method):
            recorder.skip("mirror_method")
        elif not self._request_read or self._request_cut:
            recorder.skip("mirror_body")
        elif not _TARGET.fullmatch(self._path):
            recorder.skip("mirror_path")
        elif self._no_room or not recorder.reserve(size):
            recorder.skip("mirror_room")
        else:
            body = b"".join(self._request_chunks)
            self._reserved -= len(body)
            return _Copy(self._method.encode("latin-1"), self._path, headers, body, size + len(body), time.monotonic())
        return None

    def _mirrored_headers(self) -> Pairs:
        named = {part.strip().lower() for part in _first(self._request_headers, b"connection").split(b",")}
        unique = _UNIQUE_ID.encode("latin-1")
        kept = [
            (name, value)
            for name, value in self._request_headers
            if name not in _HOP_BY_HOP and name not in named and name != unique and not _UNSENDABLE.search(value)
        ]
        host = _first(self._request_headers, b"host")
        return ((b"host", host), *kept, (unique, self._id.encode()))


def _recorder(url: str, mirror_to: str, options: dict[str, Any]) -> Recorder | None:
    url = url or os.environ.get("SHADOWDIFF_RECORDS_URL", "")
    mirror_to = mirror_to or os.environ.get("SHADOWDIFF_MIRROR_URL", "")
    return Recorder(url, mirror_to=mirror_to, **options) if url else None


class AsgiMiddleware:
    """Records the HTTP responses of an ASGI application. Takes the options of Recorder; `recorder` has the counts."""

    def __init__(self, app: AsgiApp, url: str = "", mirror_to: str = "", **options: Any) -> None:
        self.app = app
        self.recorder = _recorder(url, mirror_to, options)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one scope."""
        recorder = self.recorder
        if recorder is None or scope["type"] not in ("http", "lifespan"):
            await self.app(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self.app(scope, receive, _flushing(recorder, send))
        else:
            await self._record(recorder, scope, receive, send)

    async def _record(self, recorder: Recorder, scope: Message, receive: Receive, send: Send) -> None:
        exchange = _asgi_exchange(recorder, scope)
        if exchange is None:
            await self.app(scope, receive, send)
            return
        seen: set[str] = set()

        async def sending(message: Message) -> None:
            headers = message.get("headers", ())
            if not isinstance(headers, (list, tuple)):  # can be read once only, and that is the server's turn
                message = {**message, "headers": list(headers)}
            await send(message)
            seen.add(message["type"])
            _see(exchange, message)

        async def receiving() -> Message:
            message = await receive()
            if message["type"] == "http.request":
                exchange.request_chunk(message.get("body", b""), not message.get("more_body", False))
            return message

        try:
            await self.app(scope, receiving if exchange.wants_request_body else receive, sending)
        except BaseException as error:
            exchange.failed(error, on_the_wire="http.response.start" in seen)
            raise
        exchange.give_up("aborted")  # where it is not over: the last part of the body was never sent


def _flushing(recorder: Recorder, send: Send) -> Send:
    """Return `send` that, at the application's end, first sends what is queued: servers may die by a signal after."""

    async def sending(message: Message) -> None:
        if message["type"].startswith("lifespan.shutdown"):
            recorder.flush()
        await send(message)

    return sending


def _asgi_exchange(recorder: Recorder, scope: Message) -> _Exchange | None:
    try:
        exchange = _Exchange(recorder, scope["method"], _asgi_path(scope), _asgi_headers(scope))
    except Exception as error:  # noqa: BLE001  the edge between the recorder and v1: nothing may pass it
        recorder.skip("broken")
        recorder.complain(f"a request is not recorded, by a fault of the recorder itself: {error!r}")
        return None
    return exchange if exchange.begin() else None


def _asgi_headers(scope: Message) -> Pairs:
    """Return the request's headers; a client of HTTP/1.0 may have named no host."""
    headers = tuple(scope["headers"])
    server = scope.get("server")
    if server and not _first(headers, b"host"):
        headers += ((b"host", f"{server[0]}:{server[1]}".encode("latin-1")),)
    return headers


def _asgi_path(scope: Message) -> bytes:
    """Return the request target; a server that keeps no raw path gives it decoded."""
    raw = scope.get("raw_path")
    path = raw.partition(b"?")[0] if raw else _quoted(scope["path"].encode("utf-8", "surrogateescape"))
    query = scope.get("query_string", b"")
    return path + b"?" + query if query else path


def _quoted(path: bytes) -> bytes:
    return urllib.parse.quote(path, safe="/:@!$&'()*+,;=-._~").encode("ascii")


def _see(exchange: _Exchange, message: Message) -> None:
    kind = message["type"]
    if kind == "http.response.start":
        exchange.start(message["status"], message.get("headers", ()))
    elif kind == "http.response.body":
        exchange.chunk(message.get("body", b""))
        if not message.get("more_body", False):
            exchange.finish()
    elif kind in ("http.response.pathsend", "http.response.zerocopysend"):
        exchange.give_up("unseen")  # the server reads the file itself


class WsgiMiddleware:
    """Records the responses of a WSGI application. Takes the options of Recorder; `recorder` has the counts."""

    def __init__(self, app: WsgiApp, url: str = "", mirror_to: str = "", **options: Any) -> None:
        self.app = app
        self.recorder = _recorder(url, mirror_to, options)

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Serve one request."""
        exchange = _wsgi_exchange(self.recorder, environ) if self.recorder is not None else None
        if exchange is None:
            return self.app(environ, start_response)
        if exchange.wants_request_body and environ.get("wsgi.input") is not None:
            environ["wsgi.input"] = _Input(environ["wsgi.input"], exchange, _length(environ))
        passing = _Passing(exchange, start_response)
        try:
            result = self.app(environ, passing.start)
        except BaseException as error:
            exchange.failed(error, on_the_wire=passing.written)
            raise
        # a list stays a list: servers give a sole block its Content-Length
        return passing.sized(result) if hasattr(result, "__len__") else _Body(passing, result)


def _length(environ: Environ) -> int:
    text = str(environ.get("CONTENT_LENGTH") or "")
    return int(text) if text.isdigit() else -1


def _wsgi_exchange(recorder: Recorder, environ: Environ) -> _Exchange | None:
    try:
        exchange = _Exchange(recorder, environ["REQUEST_METHOD"], _wsgi_path(environ), _wsgi_headers(environ))
    except Exception as error:  # noqa: BLE001  the edge between the recorder and v1: nothing may pass it
        recorder.skip("broken")
        recorder.complain(f"a request is not recorded, by a fault of the recorder itself: {error!r}")
        return None
    return exchange if exchange.begin() else None


def _wsgi_headers(environ: Environ) -> Pairs:
    """Return the request's headers, the names in lower case; WSGI has joined those that came twice."""
    names = {"CONTENT_TYPE": b"content-type", "CONTENT_LENGTH": b"content-length"}
    found: list[tuple[bytes, bytes]] = []
    for key, value in environ.items():
        if key.startswith("HTTP_") and isinstance(value, str):
            found.append((key[5:].replace("_", "-").lower().encode("latin-1"), value.encode("latin-1")))
        elif key in names and value:
            found.append((names[key], value.encode("latin-1")))
    if "HTTP_HOST" not in environ:
        found.append((b"host", f"{environ['SERVER_NAME']}:{environ['SERVER_PORT']}".encode("latin-1")))
    return tuple(found)


def _wsgi_path(environ: Environ) -> bytes:
    """Return the request target as it came (gunicorn, werkzeug, uWSGI, mod_wsgi keep it), else put together again."""
    raw = environ.get("RAW_URI") or environ.get("REQUEST_URI")
    if raw:
        origin, scheme_ends, rest = cast("str", raw).partition("://")
        if scheme_ends and origin.isalpha():  # absolute form, as clients send it to a proxy
            raw = "/" + rest.partition("/")[2]
        return raw.encode("latin-1")
    path = _quoted((environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")).encode("latin-1")) or b"/"
    query = environ.get("QUERY_STRING", "").encode("latin-1")
    return path + b"?" + query if query else path


class _Passing:
    """The way from the application to the server: start_response, write, and the blocks."""

    def __init__(self, exchange: _Exchange, start_response: Callable[..., Any]) -> None:
        self.exchange = exchange
        self.written = False
        self._start_response = start_response

    def start(self, status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Callable[[bytes], Any]:
        """Pass a head on, then see it. The server raises the application's own error where it comes too late."""
        write = self._start_response(status, headers, *exc_info)
        self.exchange.start(*_head(status, headers))

        def writing(block: bytes) -> None:
            write(block)
            self.written = True
            self.exchange.chunk(block)

        return writing

    def sized(self, result: Any) -> Any:
        """See the blocks of a list or tuple, and pass it on as it is; only its like with close() is wrapped."""
        if type(result) not in (list, tuple):
            return _SizedBody(self, result)
        for block in result:
            self.exchange.chunk(block)
        self.exchange.finish()
        return result


def _head(status: Any, headers: Any) -> tuple[int, Pairs]:
    try:
        return int(status[:3]), tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in headers)
    except Exception:  # noqa: BLE001  the server says what is wrong with it
        return 0, ()


class _Body:
    """The application's iterable, seen block by block as the server takes it."""

    def __init__(self, passing: _Passing, result: Iterable[bytes]) -> None:
        self._passing = passing
        self._result = result
        self._blocks: Iterator[bytes] | None = None
        self._ended = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        exchange = self._passing.exchange
        try:
            if self._blocks is None:
                self._blocks = iter(self._result)
            block = next(self._blocks)
        except StopIteration:
            self._ended = True
            exchange.ended()
            raise
        except BaseException as error:
            exchange.failed(error, on_the_wire=self._passing.written)
            raise
        if block:
            self._passing.written = True
            exchange.chunk(block)
        return block

    def close(self) -> None:
        """See the end: the server has handed everything over, or the client has left."""
        exchange = self._passing.exchange
        if self._ended or exchange.is_whole:
            exchange.finish()
        else:
            exchange.give_up("aborted")
        closing = getattr(self._result, "close", None)
        if closing is not None:
            closing()


class _SizedBody(_Body):
    """The same where the application says how many blocks there are."""

    def __len__(self) -> int:
        return len(cast("Any", self._result))


class _Input:
    """wsgi.input, seen as the application reads it."""

    def __init__(self, stream: Any, exchange: _Exchange, length: int) -> None:
        self._stream = stream
        self._exchange = exchange
        self._left = length

    def _see(self, block: bytes) -> bytes:
        self._left -= len(block) if self._left > 0 else 0
        self._exchange.request_chunk(block, self._left == 0 or (self._left < 0 and not block))
        return block

    def read(self, *size: int) -> bytes:
        return self._see(self._stream.read(*size))

    def readline(self, *size: int) -> bytes:
        return self._see(self._stream.readline(*size))

    def readlines(self, *hint: int) -> list[bytes]:
        return [self._see(line) for line in self._stream.readlines(*hint)]

    def __iter__(self) -> Iterator[bytes]:
        return (self._see(line) for line in self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
