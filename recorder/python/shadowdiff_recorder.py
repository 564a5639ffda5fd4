"""Record v1's responses inside v1, with an ASGI or a WSGI middleware.

It is one file, so that you can copy it into your application. It needs only the standard library of Python 3.8 or
later.

The recorder sends copies of v1's responses to shadowdiff's records port in batches. If `mirror_to` is set, the recorder
also sends copies of safe requests to shadowdiff's mirror port. The recorder passes each response to the server
unchanged, and only then reads the response. The application never waits for shadowdiff, and never gets an exception
from the recorder. Memory is bounded. The recorder counts each record once, as sent, dropped or queued. Make the
recorder the outermost middleware:

    app = AsgiMiddleware(app, url="http://shadowdiff:8081")
    app = WsgiMiddleware(app, url="http://shadowdiff:8081", mirror_to="http://shadowdiff:8080")

If `url` or `mirror_to` is empty, the recorder reads SHADOWDIFF_RECORDS_URL or SHADOWDIFF_MIRROR_URL. If there is no
URL, the middleware is off and passes every request directly to the application.
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
_SHADOW_HEADER = b"x-shadowdiff"
_UNIQUE_ID = "x-diff-id"
_ID_BYTES = 256
_ITEM_BYTES = 512
"""The approximate memory of a queued item without its body and headers."""
_BACKOFF_S = (0.2, 5.0)
_HURRIED_BACKOFF_S = 0.1
_WARNING_EVERY_S = 60.0
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
_ASCII = "".join(map(chr, range(128)))
_ESCAPE = re.compile("%([0-9A-Fa-f]{2})")
_PARAMETER = re.compile(r"\{[^{}]*\}")
_COOKIES = re.compile("[;,]")
_CONDITION_KEYS = frozenset({"route", "path", "header", "users"})
_USER_KEYS = ({"share", "header"}, {"share", "cookie"})
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def fnv1a32(text: str) -> int:
    """Return the FNV-1a-32 hash of a header value (one character per byte), with ASCII letters in lower case."""
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
    """Return the id and the name of the first header in `id_headers` that has a usable value, or two empty strings."""
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


# -- conditions: which requests are recorded. fixtures/conditions.json has test vectors; the service decides alike ----


def _normal(path: bytes) -> str:
    """Return a path without its query; unreserved characters are plain, all other escapes are in upper case."""
    path = path.partition(b"?")[0].partition(b"#")[0]
    return _ESCAPE.sub(_undone, urllib.parse.quote(path, safe=_ASCII)) or "/"


def _undone(escape: re.Match[str]) -> str:
    char = chr(int(escape.group(1), 16))
    return char if char in _UNRESERVED else escape.group().upper()


def _fits(literals: Sequence[str], segment: str) -> bool:
    """Whether the literals occur in this order, with a nonempty value for each parameter between them."""
    if len(literals) == 1:
        return segment == literals[0]
    at = len(literals[0])
    for literal in literals[1:-1]:
        at = segment.find(literal, at + 1)
        if at < 0:
            return False
        at += len(literal)
    last = literals[-1]
    return segment.startswith(literals[0]) and segment.endswith(last) and len(segment) - len(last) > at


class _Place:
    """A template such as `GET /products/{id}`; with `is_route` false a path, or with a trailing `*` its start."""

    def __init__(self, text: str, *, is_route: bool) -> None:
        self.method, _, path = text.rpartition(" ")
        if not path.startswith("/"):
            raise ValueError(f"path is {text!r}: write /products/{{id}}, GET /products/{{id}} or /api/*")
        self._is_start = not is_route and path.endswith("*")
        self._path = _normal((path[:-1] if self._is_start else path).encode())
        self._segments = [_PARAMETER.split(part) for part in self._path.split("/")] if is_route else None

    def holds(self, method: str, path: str) -> bool:
        if self.method and self.method != method:
            return False
        if self._segments is None:
            return path.startswith(self._path) if self._is_start else path == self._path
        segments = path.split("/")
        return len(segments) == len(self._segments) and all(map(_fits, self._segments, segments))


class _Condition:
    """One entry of include or exclude: a text, or a dict with route, path, header and users."""

    def __init__(self, given: Any) -> None:
        if isinstance(given, str):
            given = {"path" if given.endswith("*") else "route": given}
        if not isinstance(given, dict) or not given or set(cast("dict[Any, Any]", given)) - _CONDITION_KEYS:
            raise ValueError(f"condition {given!r}: write a text, or a dict with route, path, header or users")
        stated = cast("dict[str, Any]", given)
        users = cast("dict[str, Any]", stated.get("users") or {})
        if users and (set(users) not in _USER_KEYS or not 0 <= users["share"] <= 1):
            raise ValueError(f"users is {users!r}: write a share from 0 to 1, and either header or cookie")
        self._places = [_Place(stated[key], is_route=key == "route") for key in ("route", "path") if key in stated]
        header = cast("dict[str, str]", stated.get("header") or {})
        self._header = [(name.lower().encode(), value) for name, value in header.items()]
        self._share: float | None = users["share"] if users else None
        self._user_header = str(users.get("header", "")).lower().encode()
        self.cookie = str(users.get("cookie", ""))
        self.headers = [name for name, _ in self._header] + ([self._user_header] if self._user_header else [])

    def holds(self, method: str, path: str, headers: Pairs) -> bool:
        if not all(place.holds(method, path) for place in self._places):
            return False
        if not all(_has_value(_joined(headers, name), expected) for name, expected in self._header):
            return False
        if self._share is None:
            return True
        user = _cookie(headers, self.cookie) if self.cookie else _joined(headers, self._user_header)
        return user != "" and _kept(user, self._share)


class _Conditions:
    """include and exclude. `read` returns the headers that the conditions read, so that the service can decide too."""

    def __init__(self, include: Sequence[Any], exclude: Sequence[Any]) -> None:
        self._include, self._exclude = [_Condition(one) for one in include], [_Condition(one) for one in exclude]
        every = [*self._include, *self._exclude]
        self._headers = sorted({name for one in every for name in one.headers})
        self._cookies = sorted({one.cookie for one in every if one.cookie})
        self.is_empty = not every

    def includes(self, method: str, raw_path: bytes, headers: Pairs) -> bool:
        path = _normal(raw_path)
        if any(one.holds(method, path, headers) for one in self._exclude):
            return False
        return not self._include or any(one.holds(method, path, headers) for one in self._include)

    def read(self, headers: Pairs) -> dict[str, str]:
        found = {name.decode("latin-1"): _joined(headers, name) for name in self._headers}
        if self._cookies:
            found["cookie"] = "; ".join(f"{name}={_cookie(headers, name)}" for name in self._cookies)
        return found


def _joined(headers: Pairs, name: bytes) -> str:
    """Return the start of a header's value; several fields are joined, as Envoy joins them."""
    value = b",".join(value for known, value in headers if known == name)
    return value[:_ID_BYTES].decode("latin-1").strip(" \t")


def _cookie(headers: Pairs, name: str) -> str:
    whole = b",".join(value for known, value in headers if known == b"cookie").decode("latin-1")
    for part in _COOKIES.split(whole):
        known, equals, value = part.strip(" \t").partition("=")
        if equals and known == name:
            return value[:_ID_BYTES].strip(" \t")
    return ""


def _has_value(value: str, expected: str) -> bool:
    if expected.endswith("*"):
        return value != "" and value.startswith(expected[:-1])
    return value == expected


class _Record(NamedTuple):
    """A queued response of v1. `cost` is its memory in bytes, and `born_s` is its start time on the monotonic clock."""

    facts: dict[str, Any]
    headers: Pairs
    body: bytes
    cost: int
    born_s: float


class _Copy(NamedTuple):
    """One request to mirror."""

    method: bytes
    path: bytes
    headers: Pairs
    body: bytes
    cost: int
    born_s: float


class _Lost(Exception):  # noqa: N818  names a disposition
    """shadowdiff did not accept a batch; has the reason for the counts, and the cause."""

    def __init__(self, reason: str, cause: object) -> None:
        super().__init__(f"{reason}: {cause}")
        self.reason = reason


class _Stale(Exception):  # noqa: N818  a state, not a fault
    """A kept-alive connection closed before the reply, so the sender needs a new connection."""


class _Peer:
    """One kept-alive connection to a port of shadowdiff, with a deadline for every network wait."""

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
        """Open the connection if it is not open. Raises: OSError."""
        if self._connection is None:
            kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
            connection = kind(*self._address, timeout=self._timeout_s)
            connection.connect()
            self._connection, self._has_answered = connection, False

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def exchange(self, method: bytes, request: bytes) -> tuple[int, bytes]:
        """Send one request, and return the status and the start of the reply's body.

        Raises: _Stale if a new connection may succeed, otherwise _Lost.
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


class _SendQueue:
    """A bounded queue, and one daemon thread that sends the queued items over one connection.

    Whenever no thread has the lock, taken = sent + dropped + queued.
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
        """Start with an empty queue. Also called in a forked child, which does not have the parent's threads."""
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

    # -- methods that the application calls; these never wait --------------------------------------------------------

    def offer(self, item: Any) -> None:
        """Queue `item`, whose bytes are already reserved, or count the reason for dropping it."""
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
        """Count an item that the queue has no room for."""
        with self._wake:
            self._taken += 1
            self._count_dropped(1, "full")

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="shadowdiff-" + type(self).__name__, daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # no thread can start: the interpreter is exiting, or the machine is out of threads
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
        """Return the number of items taken, sent, dropped (by reason), and queued or in flight."""
        with self._wake:
            queued = len(self._queue) + len(self._in_flight)
            return {"taken": self._taken, "sent": self._sent, "dropped": dict(self._dropped), "queued": queued}

    def flush(self, timeout_s: float) -> bool:
        """Wait at most `timeout_s` until the queue is empty; return whether the queue is empty."""
        with self._wake:
            self._hurried = True
            self._wake.notify()
            try:
                return self._idle.wait_for(lambda: not self._queue and not self._in_flight, timeout_s)
            finally:
                self._hurried = False

    def close(self, timeout_s: float) -> None:
        """Send queued items for at most `timeout_s`, drop the rest, and end the thread."""
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

    # -- run by the thread ---------------------------------------------------------------------------

    def _run(self) -> None:
        batch = self._take()
        while batch:
            try:
                self._deliver(batch)
            except Exception as error:  # noqa: BLE001  the thread's outer edge: an error loses a batch, and never affects v1
                self._settle(batch, 0, "broken")
                self._recorder.warn(f"batch lost; error in the recorder: {error!r}")
            batch = self._take()
        self.peer.close()

    def _take(self) -> list[Any]:
        """Wait for a batch and return it. Return an empty batch after the queue is closed."""
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
        """Drop queued items that are too old to be paired."""
        oldest = time.monotonic() - self._max_age_s
        while self._queue and self._queue[0].born_s < oldest:
            self._drop([self._queue.popleft()], "stale")

    def _deliver(self, batch: list[Any]) -> None:
        """Send `batch`. Retry items until they are too old. Do not retry items that may have arrived."""
        sent, reason = 0, "refused"
        while True:
            try:
                self.peer.connect()
                sent = self.send(batch)
            except _Stale:
                continue  # retry only once: if a new connection fails, the batch is lost or the port is unreachable
            except _Lost as lost:
                reason = lost.reason
                self._back_off(lost)
            except OSError as error:  # connect() failed, so the sender sent nothing
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
        """Send the batch, and return how many items were accepted. Raises: _Lost."""
        raise NotImplementedError

    def _settle(self, batch: list[Any], sent: int, reason: str) -> None:
        with self._wake:
            if self._in_flight is not batch:  # close() has already counted the batch
                return
            self._in_flight = []
            self._sent += sent
            self._recorder.release(sum(item.cost for item in batch))
            self._count_dropped(len(batch) - sent, reason)
            self._idle.notify_all()

    def _back_off(self, lost: _Lost) -> None:
        """Double the backoff, and log the reason at a limited rate."""
        self._backoff_s = min(max(self._backoff_s * 2, _BACKOFF_S[0]), _BACKOFF_S[1])
        self._recorder.warn(f"{self.peer.url} accepts nothing ({lost}); responses are not affected")

    def _pause(self) -> bool:
        """Wait for the backoff, or briefly during a flush; return whether to continue."""
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
            raise _Lost("overloaded", f"status {status}")
        return status, answer


class _Records(_SendQueue):
    """Sends responses to `POST /records` in NDJSON batches."""

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
            self._recorder.warn(f"{self.peer.url} refused {refused}, with {status}: {answer[:500]!r}")
        return taken


def _line(record: _Record) -> bytes:
    """Return the record as one line of JSON.

    Join the body as bytes, because JSON-encoding megabytes would block every thread.
    """
    facts = dict(record.facts, headers=[[n.decode("latin-1"), v.decode("latin-1")] for n, v in record.headers])
    start = json.dumps(facts, separators=(",", ":")).encode("ascii")
    return b'%b,"body_base64":"%b"}\n' % (start[:-1], base64.b64encode(record.body))


def _accepted(answer: bytes, offered: int) -> int:
    """Return from the reply how many records of the batch shadowdiff accepted."""
    try:
        accepted = json.loads(answer).get("accepted", offered)
    except (ValueError, AttributeError):
        return offered
    return max(0, min(offered, accepted)) if isinstance(accepted, int) else offered


class _Mirror(_SendQueue):
    """Sends requests to the mirror port one by one, as a mesh does."""

    def send(self, batch: list[_Copy]) -> int:
        copy = batch[0]
        head = [b"%b %b HTTP/1.1" % (copy.method, copy.path), *(b"%b: %b" % pair for pair in copy.headers)]
        if copy.body:
            head.append(b"content-length: %d" % len(copy.body))
        status, answer = self._ask(copy.method, head, copy.body)
        if status in _TAKEN:
            return 1
        self._recorder.warn(f"{self.peer.url} refused a mirrored request, with {status}: {answer[:500]!r}")
        return 0


class Recorder:
    """Sends the records of a middleware from background threads. The threads start when the first record arrives.

    url: shadowdiff's records port. mirror_to: its mirror port, if no proxy mirrors the requests. token: a token in the
    service's `access.records`, if the service requires a token. side: `primary` in v1, `candidate` in v2. sample: the
    share of requests to record, sampled by id; must equal the target's `sample`. id_headers: names in lower case, in
    order of preference; must equal `pairing.id_headers`. include, exclude: conditions, as in the target; only requests
    that meet one of the first (if it is not empty), and none of the second, are recorded. mirror_methods: the
    methods of requests to mirror, such as GET, or of one route, such as POST /search. If a mirrored request writes
    data, v2 repeats that write. max_body_bytes: the size at which the recorder truncates
    bodies; it still sends the full size. max_records, max_bytes: the limits of the queue; max_bytes also covers the
    bodies of unfinished responses. timeout_s: the deadline of each network wait. max_age_s: the age at which a record
    or an unfinished response is too old to be paired; must equal `pairing.window`. flush_s: how long the process may
    wait at exit until queued records are sent. Raises: ValueError, naming the argument.
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
        include: Sequence[Any] = (),
        exclude: Sequence[Any] = (),
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
            raise ValueError("token has characters that no header can carry: write it in ASCII, on one line")
        if mirror_to and side != "primary":
            raise ValueError(f"mirror_to is {mirror_to!r} with side {side!r}: only v1 mirrors")
        if not 0.0 <= sample <= 1.0:
            raise ValueError(f"sample is {sample!r}: it is a share from 0 to 1")
        if min(max_body_bytes, max_records, max_bytes, timeout_s, max_age_s) <= 0 or flush_s < 0:
            raise ValueError("max_body_bytes, max_records, max_bytes, timeout_s and max_age_s are above 0")
        self.side = side
        self.token = token.encode("ascii")
        self.sample = sample
        self.id_headers = tuple(name.lower() for name in id_headers)
        self.conditions = _Conditions(include, exclude)
        self.mirror_methods = frozenset(entry for entry in mirror_methods if " " not in entry)
        self._mirror_routes = [_Place(entry, is_route=True) for entry in mirror_methods if " " in entry]
        self.skip_agents = tuple(text.encode("latin-1") for text in skip_agents)
        self.skip_paths = frozenset(text.encode("latin-1") for text in skip_paths)
        self.max_body_bytes = max_body_bytes
        self.flush_s = flush_s
        self.max_age_s = max_age_s
        self._max_bytes = max_bytes
        self._warned_s = 0.0
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
    def queues(self) -> list[_SendQueue]:
        """The queue of records and, if requests are mirrored, the queue of copies."""
        return [self._records, self._mirror] if self._mirror else [self._records]

    def reset(self) -> None:
        """Start with empty queues and zero counts. Also called in a forked child, which lacks the parent's threads."""
        self.lock = threading.RLock()
        self._held_bytes = 0
        self._skipped = {}
        for queue in self.queues:
            queue.reset()

    def reserve(self, count: int) -> bool:
        """Reserve `count` bytes of max_bytes; return whether enough bytes were free."""
        with self.lock:
            if self._held_bytes + count > self._max_bytes:
                return False
            self._held_bytes += count
            return True

    def release(self, count: int) -> None:
        """Release reserved bytes."""
        with self.lock:
            self._held_bytes = max(0, self._held_bytes - count)

    def skip(self, reason: str) -> None:
        """Count a request that is not recorded."""
        with self.lock:
            self._skipped[reason] = self._skipped.get(reason, 0) + 1

    def offer(self, record: _Record | None, copy: _Copy | None) -> None:
        """Queue a response and its request. None stands for an item that the queue had no room for."""
        with self.lock:
            if record is None:
                self._records.refuse()
            else:
                self._records.offer(record)
            if copy is not None and self._mirror is not None:
                self._mirror.offer(copy)

    def stats(self) -> dict[str, Any]:
        """Return the current counts of this process.

        In `records` and in `mirror`, taken = sent + queued + the sum of dropped.
        """
        with self.lock:
            counts: dict[str, Any] = {"records": self._records.counts(), "skipped": dict(self._skipped)}
            if self._mirror is not None:
                counts["mirror"] = self._mirror.counts()
            return counts

    def flush(self, timeout_s: float | None = None) -> bool:
        """Wait at most `timeout_s` (default flush_s) until every queued item is sent or dropped."""
        until = time.monotonic() + (self.flush_s if timeout_s is None else timeout_s)
        done = [queue.flush(max(0.0, until - time.monotonic())) for queue in self.queues]
        return all(done)

    def close(self, timeout_s: float | None = None) -> None:
        """Flush, drop the remaining records, and end the threads. Records that arrive later count as dropped."""
        until = time.monotonic() + (self.flush_s if timeout_s is None else timeout_s)
        for queue in self.queues:
            queue.close(max(0.0, until - time.monotonic()))

    def warn(self, text: str) -> None:
        """Log a warning, at most once a minute. If the logger raises an exception, v1 is not affected."""
        with self.lock:
            quiet = self._warned_s and time.monotonic() - self._warned_s < _WARNING_EVERY_S
            self._warned_s = self._warned_s if quiet else time.monotonic()
        if not quiet:
            with contextlib.suppress(Exception):
                _LOG.warning("%s; %s", text, json.dumps(self.stats()))

    def mirrors(self, method: str, path: bytes) -> bool:
        """Whether the recorder mirrors requests with this method on this path."""
        if self._mirror is None or method in self.mirror_methods:
            return self._mirror is not None
        return any(route.holds(method, _normal(path)) for route in self._mirror_routes)

    @property
    def is_mirror(self) -> bool:
        """Whether this recorder mirrors requests."""
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
    """Catch errors of the recorder, so that they never reach the application."""

    @functools.wraps(step)
    def guarded(self: _Exchange, *args: Any, **named: Any) -> _Made | None:
        try:
            return step(self, *args, **named)
        except Exception as error:  # noqa: BLE001  the edge to v1, which no error may cross
            self.break_off(error)
            return None

    return guarded


class _Exchange:
    """A request and its response. Each exchange ends once: it is recorded, or skipped with a reason."""

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
        """Whether the request can have a body."""
        length = _first(self._request_headers, b"content-length")
        return length not in (b"", b"0") or bool(_first(self._request_headers, b"transfer-encoding"))

    @property
    def wants_request_body(self) -> bool:
        """Whether the mirror needs the request's body."""
        return self.may_have_body and self._recorder.mirrors(self._method, self._path)

    @_harmless
    def begin(self) -> bool:
        """Find the id. Return whether to record the request; if not, count the reason."""
        recorder, headers = self._recorder, self._request_headers
        agent = _first(headers, b"user-agent")
        if any(name == _SHADOW_HEADER for name, _ in headers):
            return self.give_up("shadow")
        if self._method == "CONNECT":
            return self.give_up("tunnel")
        if self._path.partition(b"?")[0] in recorder.skip_paths or agent.startswith(recorder.skip_agents):
            return self.give_up("probe")
        conditions = recorder.conditions
        if not conditions.is_empty and not conditions.includes(self._method, self._path, headers):
            return self.give_up("excluded")
        if recorder.is_mirror:  # the sender of the mirrored copy generates the id, so users cannot forge an id
            self._id, self._id_source = uuid.uuid4().hex, _UNIQUE_ID
        else:
            self._id, self._id_source = _identify(headers, recorder.id_headers)
        if not self._id:
            return self.give_up("unidentified")
        return _kept(self._id, recorder.sample) or self.give_up("sampled_out")

    @_harmless
    def request_chunk(self, chunk: bytes, is_last: bool) -> None:  # noqa: FBT001
        """Add a part of the request's body."""
        self._request_read = self._request_read or is_last
        if not chunk or self.over or self._request_cut:
            return
        if sum(map(len, self._request_chunks)) + len(chunk) <= self._recorder.max_body_bytes:
            self._hold(self._request_chunks, bytes(chunk))
        else:
            self._request_cut = True

    @_harmless
    def start(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Store the response's head. A second head replaces the first."""
        self._status = status
        self._headers = tuple((bytes(name).lower(), bytes(value)) for name, value in headers)

    @_harmless
    def chunk(self, chunk: bytes) -> None:
        """Add a part of the response's body that the server already has."""
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
        """Record the time at which the server got the last part of the body."""
        if self._duration_ms < 0:
            self._duration_ms = (time.perf_counter() - self._started_s) * 1000

    @property
    def is_whole(self) -> bool:
        """Return whether the server received the whole response, although no final message arrived."""
        length = _first(self._headers, b"content-length")
        return self._is_bodiless() or (length.isdigit() and self._size >= int(length))

    @_harmless
    def finish(self) -> None:
        """Queue the whole response. If requests are mirrored, queue the request too."""
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
        """Record an exception of the application.

        The server sends 500 unless the head was sent or the client disconnected.
        """
        if on_the_wire or not isinstance(error, Exception):
            self.give_up("aborted")
            return
        self.start(500, ())
        self._chunks.clear()
        self._size = 0
        self.finish()

    def give_up(self, reason: str) -> bool:
        """Count a request that is not recorded."""
        if not self.over:
            self.over = True
            self._chunks.clear()
            self._request_chunks.clear()
            self._give_back()
            self._recorder.skip(reason)
        return False

    def break_off(self, error: Exception) -> None:
        """Stop recording after an error in the recorder."""
        self.give_up("broken")
        self._recorder.warn(f"request not recorded; error in the recorder: {error!r}")

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
        stated = self._recorder.conditions.read(self._request_headers)
        traced = [
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in self._request_headers
            if name in _TRACE_HEADERS and name.decode("latin-1") not in stated
        ]
        if traced or stated:
            facts["request_headers"] = [*traced, *stated.items()]
        body_bytes = sum(map(len, self._chunks))
        self._reserved -= body_bytes
        return _Record(facts, self._headers, b"".join(self._chunks), cost + body_bytes, time.monotonic())

    def _copy(self) -> _Copy | None:
        """Return the request to mirror, or count the reason for not mirroring the request."""
        recorder = self._recorder
        if not recorder.is_mirror:
            return None
        headers = self._mirrored_headers()
        size = _ITEM_BYTES + sum(len(name) + len(value) for name, value in headers)
        if not recorder.mirrors(self._method, self._path):
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
    """Records the HTTP responses of an ASGI application.

    Takes the options of Recorder. The attribute `recorder` has the counts.
    """

    def __init__(self, app: AsgiApp, url: str = "", mirror_to: str = "", **options: Any) -> None:
        self.app = app
        self.recorder = _recorder(url, mirror_to, options)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Handle one ASGI scope."""
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
            if not isinstance(headers, (list, tuple)):  # the server can read an iterator only once
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
        exchange.give_up("aborted")  # the last part of the body was never sent, unless the exchange has ended


def _flushing(recorder: Recorder, send: Send) -> Send:
    """Return a `send` that flushes the queue when the application shuts down.

    A signal may kill the server after that.
    """

    async def sending(message: Message) -> None:
        if message["type"].startswith("lifespan.shutdown"):
            recorder.flush()
        await send(message)

    return sending


def _asgi_exchange(recorder: Recorder, scope: Message) -> _Exchange | None:
    try:
        exchange = _Exchange(recorder, scope["method"], _asgi_path(scope), _asgi_headers(scope))
    except Exception as error:  # noqa: BLE001  the edge to v1, which no error may cross
        recorder.skip("broken")
        recorder.warn(f"request not recorded; error in the recorder: {error!r}")
        return None
    return exchange if exchange.begin() else None


def _asgi_headers(scope: Message) -> Pairs:
    """Return the request's headers. An HTTP/1.0 client can omit the Host header."""
    headers = tuple(scope["headers"])
    server = scope.get("server")
    if server and not _first(headers, b"host"):
        headers += ((b"host", f"{server[0]}:{server[1]}".encode("latin-1")),)
    return headers


def _asgi_path(scope: Message) -> bytes:
    """Return the request target. Encode the decoded path again if the server provides no raw path."""
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
    """Records the responses of a WSGI application.

    Takes the options of Recorder. The attribute `recorder` has the counts.
    """

    def __init__(self, app: WsgiApp, url: str = "", mirror_to: str = "", **options: Any) -> None:
        self.app = app
        self.recorder = _recorder(url, mirror_to, options)

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Handle one WSGI request."""
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
        # Return a list as a list, because servers add Content-Length to a response of one block.
        return passing.sized(result) if hasattr(result, "__len__") else _Body(passing, result)


def _length(environ: Environ) -> int:
    text = str(environ.get("CONTENT_LENGTH") or "")
    return int(text) if text.isdigit() else -1


def _wsgi_exchange(recorder: Recorder, environ: Environ) -> _Exchange | None:
    try:
        exchange = _Exchange(recorder, environ["REQUEST_METHOD"], _wsgi_path(environ), _wsgi_headers(environ))
    except Exception as error:  # noqa: BLE001  the edge to v1, which no error may cross
        recorder.skip("broken")
        recorder.warn(f"request not recorded; error in the recorder: {error!r}")
        return None
    return exchange if exchange.begin() else None


def _wsgi_headers(environ: Environ) -> Pairs:
    """Return the request's headers, with names in lower case. The server has already joined repeated headers."""
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
    """Return the raw request target if the server provides it (such as gunicorn or uWSGI), or encode the path again."""
    raw = environ.get("RAW_URI") or environ.get("REQUEST_URI")
    if raw:
        origin, scheme_ends, rest = cast("str", raw).partition("://")
        if scheme_ends and origin.isalpha():  # a URL in absolute form, as clients send it to a proxy
            raw = "/" + rest.partition("/")[2]
        return raw.encode("latin-1")
    path = _quoted((environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")).encode("latin-1")) or b"/"
    query = environ.get("QUERY_STRING", "").encode("latin-1")
    return path + b"?" + query if query else path


class _Passing:
    """Passes the response from the application to the server, with start_response, write() and the iterable."""

    def __init__(self, exchange: _Exchange, start_response: Callable[..., Any]) -> None:
        self.exchange = exchange
        self.written = False
        self._start_response = start_response

    def start(self, status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Callable[[bytes], Any]:
        """Pass the response's head to the server, then store the head.

        If the head comes too late, the server raises the application's own error.
        """
        write = self._start_response(status, headers, *exc_info)
        self.exchange.start(*_head(status, headers))

        def writing(block: bytes) -> None:
            write(block)
            self.written = True
            self.exchange.chunk(block)

        return writing

    def sized(self, result: Any) -> Any:
        """Record the blocks of a list or tuple, and return the list or tuple unchanged.

        Wrap only an iterable that has close().
        """
        if type(result) not in (list, tuple):
            return _SizedBody(self, result)
        for block in result:
            self.exchange.chunk(block)
        self.exchange.finish()
        return result


def _head(status: Any, headers: Any) -> tuple[int, Pairs]:
    try:
        return int(status[:3]), tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in headers)
    except Exception:  # noqa: BLE001  the server reports the error
        return 0, ()


class _Body:
    """Wraps the application's iterable, and records each block that the server reads."""

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
        """End the exchange. The server has sent the whole response, or the client has disconnected."""
        exchange = self._passing.exchange
        if self._ended or exchange.is_whole:
            exchange.finish()
        else:
            exchange.give_up("aborted")
        closing = getattr(self._result, "close", None)
        if closing is not None:
            closing()


class _SizedBody(_Body):
    """A recorded iterable that has a length."""

    def __len__(self) -> int:
        return len(cast("Any", self._result))


class _Input:
    """Wraps wsgi.input, and records the bytes that the application reads."""

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
