"""Receive the responses that recorders post (port 8081), as an ASGI 3 application.

`POST /record` contains one response; `POST /records` contains many as NDJSON. The reply is 202 when the observations
are in the sink's queue, or 503 if the queue is full. Each record gets exactly one disposition, and a malformed line in
a batch does not affect the other lines.
"""

from __future__ import annotations

import asyncio
from dataclasses import InitVar, dataclass, field
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING

import msgspec

from shadowdiff.intake import record_parser
from shadowdiff.intake.admission import Admission
from shadowdiff.intake.counters import Disposition
from shadowdiff.intake.exchange import ACCEPTED, Reply, answer_other
from shadowdiff.intake.overload import LoadShedder
from shadowdiff.intake.record_parser import RecordError, RecordHeaders
from shadowdiff.intake.routing import HostIndex
from shadowdiff.model import UNKNOWN_TARGET, Observation, Side, Target
from shadowdiff.rules.traffic import NotRecordedError, Traffic, recorded_value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from shadowdiff.intake.counters import IntakeCounters, RecordCounts
    from shadowdiff.intake.exchange import Receive, Scope, Send
    from shadowdiff.model import ObservationSink

DROPPED_BYTES = 64 << 20
"""How many bytes beyond a limit are read and dropped before the connection is closed."""
MOST_LINES = 100_000
"""The maximum number of lines in one batch."""
MOST_LISTED = 1000
"""The maximum number of rejected lines that the reply to a batch lists. It only counts the others."""
LINES_PER_TURN = 64
"""The number of lines of a batch that are parsed before other tasks run on the event loop."""

_TOO_FAST = "this address sends more records per second than limits.records_per_source allows: send the rest later"
_OVERLOADED = "the queue is full: send the record again later, or set a sample rate in the recorder"
_RETRY = (b"retry-after", b"1")


class _RecordTarget:
    """The settings of the target that a record's host belongs to, and its counts by side."""

    def __init__(self, counters: IntakeCounters, target: Target | None) -> None:
        self.name = target.name if target else UNKNOWN_TARGET
        self.traffic = Traffic(target) if target else None
        self.sample = target.sample if target else 1.0
        self.asks_control = target is not None and target.control is not None
        self.counts = {side: counters.recorded[self.name, side] for side in Side}


@dataclass(slots=True)
class _BatchResult:
    """The outcomes of a batch's lines. Only the first errors are listed, so that the reply has a size limit."""

    accepted: int = 0
    is_overloaded: bool = False
    unlisted: int = 0
    refused: list[dict[str, int | str]] = field(default_factory=list[dict[str, int | str]])

    def refuse(self, number: int, error: str) -> None:
        """Add a rejected line."""
        if len(self.refused) < MOST_LISTED:
            self.refused.append({"line": number, "error": error})
        else:
            self.unlisted += 1

    def reply(self) -> Reply:
        """Return the response to the batch."""
        if self.accepted:
            more = {"refused_more": self.unlisted} if self.unlisted else {}
            answer = msgspec.json.encode({"accepted": self.accepted, "refused": self.refused, **more})
            return _reply(202, answer, b"application/json")
        if self.refused:
            first = self.refused[0]
            return _error(503 if self.is_overloaded else 400, f"line {first['line']}: {first['error']}")
        return _error(400, "the batch is empty: write one JSON object per line")


@dataclass(kw_only=True, eq=False)
class RecordsApp:
    """The records port. `replace` swaps the targets between two records; `admission` checks tokens and rates.

    max_reading_bytes: the size limit of all bodies that are still arriving, for all connections together.
    """

    sink: ObservationSink
    counters: IntakeCounters
    in_sample: Callable[[str, float], bool]
    targets: InitVar[Iterable[Target]]
    now_ms: Callable[[], int]
    max_record_bytes: int = 1 << 20
    max_batch_bytes: int = 16 << 20
    max_reading_bytes: int = 128 << 20
    admission: Admission = field(default_factory=lambda: Admission((), 0, lambda: 0.0))
    load_shedder: LoadShedder = field(default_factory=LoadShedder)
    reading_bytes: int = 0

    def __post_init__(self, targets: Iterable[Target]) -> None:
        self._unknown = _RecordTarget(self.counters, None)
        self.replace(targets)

    def replace(self, targets: Iterable[Target]) -> None:
        """Use new targets and settings."""
        made = [(target, _RecordTarget(self.counters, target)) for target in targets]
        self._hosts = HostIndex([(host, one) for target, one in made for host in target.hosts])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] != "http":
            await answer_other(scope, receive, send)
            return
        if scope["method"] != "POST":
            reply = _error(405, "this port accepts only POST: send POST /record or POST /records", (b"allow", b"POST"))
        elif not self.admission.is_open and not self.admission.has_token(scope):
            reply = await self._refuse_client(scope, receive)
        elif scope["path"] == "/record":
            reply = await self._take_one(scope, receive)
        elif scope["path"] == "/records":
            reply = await self._take_batch(scope, receive)
        else:
            reply = _error(404, "there is no such path: send POST /record or POST /records")
        await send({"type": "http.response.start", "status": reply.status, "headers": reply.headers})
        await send({"type": "http.response.body", "body": reply.body})

    async def _refuse_client(self, scope: Scope, receive: Receive) -> Reply:
        """Drop a record without a correct token. It does not count for a target, because its content is not trusted."""
        counts = self._unknown.counts[Side.PRIMARY]
        counts.receive()
        await self._read(scope, receive, 0)
        counts.end(Disposition.REFUSED)
        peer = scope.get("client")
        self.counters.refusals.add(
            f"no valid token of access.records in a record from {peer[0] if peer else '?'}", "/record"
        )
        if self.admission.must_wait(scope):
            error = "this address sent too many wrong tokens: wait a minute"
            return _error(429, error, (b"retry-after", b"60"))
        error = "a token is required: send `Authorization: Bearer TOKEN` with a token of access.records"
        return _error(401, error, (b"www-authenticate", b'Bearer realm="shadowdiff"'))

    def _receive(self, scope: Scope) -> tuple[RecordHeaders, _RecordTarget, RecordCounts]:
        headers = record_parser.read_record_headers(scope["headers"])
        target = self._hosts.find(headers.fields.get(b"x-shadowdiff-host", b"")).entry or self._unknown
        counts = target.counts[record_parser.side_of(headers.fields)]
        counts.received += 1
        counts.in_flight += 1
        return headers, target, counts

    async def _take_one(self, scope: Scope, receive: Receive) -> Reply:
        headers, target, counts = self._receive(scope)
        if not self.admission.is_open and not self.admission.has_room(scope):
            await self._read(scope, receive, 0)
            self._shed(target, counts, "records_rate")
            return _error(503, _TOO_FAST, _RETRY)
        body = await self._read(scope, receive, self.max_record_bytes)
        if isinstance(body, HTTPStatus):
            too_large = f"the body has more than {self.max_record_bytes} bytes: truncate it, and send x-shadowdiff-size"
            return self._refuse_body(target, counts, body, too_large)
        return self._take(headers, target, counts, body)

    def take_whole(self, scope: Scope, body: bytes) -> Reply | None:
        """Process a record whose body has arrived, as `__call__` does, but return the reply immediately."""
        if scope["path"] != "/record" or scope["method"] != "POST" or len(body) > self.max_record_bytes:
            return None
        admission = self.admission
        if not admission.is_open and not (admission.has_token(scope) and admission.has_room(scope)):
            return None  # `__call__` sends the error
        return self._take(*self._receive(scope), body)

    def _take(self, headers: RecordHeaders, target: _RecordTarget, counts: RecordCounts, body: bytes) -> Reply:
        try:
            observation = record_parser.observation_of_headers(headers, body, target.name, self.now_ms())
            _check_side(target, observation)
            unwanted = self._unwanted(target, observation, lambda: headers.request_headers)
        except RecordError as error:
            counts.end(Disposition.REFUSED)
            self.counters.refusals.add(str(error), "/record")
            return _error(400, str(error))
        return ACCEPTED if self._file(target, counts, observation, unwanted) else _error(503, _OVERLOADED, _RETRY)

    async def _take_batch(self, scope: Scope, receive: Receive) -> Reply:
        counts = self._unknown.counts[Side.PRIMARY]
        bound = f"{self.max_batch_bytes} bytes"
        batch = await self._read(scope, receive, self.max_batch_bytes)
        if isinstance(batch, bytes) and batch.count(b"\n") > MOST_LINES:
            batch, bound = HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"{MOST_LINES} lines"
        if isinstance(batch, HTTPStatus):
            counts.receive()  # the batch's line count is unknown, so the batch counts as one record
            too_large = f"the batch has more than {bound}: send smaller batches"
            return self._refuse_body(self._unknown, counts, batch, too_large)
        if not self.admission.is_open:
            lines = sum(1 for line in batch.split(b"\n") if line.strip())
            if not self.admission.has_room(scope, lines):
                counts.receive(lines)
                self._shed(self._unknown, counts, "records_rate", lines)
                return _error(503, _TOO_FAST, _RETRY)
        self.reading_bytes += len(batch)  # other tasks run while the lines of the body are parsed
        try:
            return (await self._take_lines(batch)).reply()
        finally:
            self.reading_bytes -= len(batch)

    async def _take_lines(self, batch: bytes) -> _BatchResult:
        result = _BatchResult()
        for number, line in enumerate(batch.split(b"\n"), 1):
            if number % LINES_PER_TURN == 0:
                await asyncio.sleep(0)
            if not line.strip():
                continue
            try:
                is_taken = self._take_line(line)
            except RecordError as error:
                counts = self._target_of(record_parser.host_of_line(line)).counts[Side.PRIMARY]
                counts.receive()
                counts.end(Disposition.REFUSED)
                self.counters.refusals.add(str(error), "/records")
                result.refuse(number, str(error))
            else:
                result.accepted += is_taken
                if not is_taken:
                    result.is_overloaded = True
                    result.refuse(number, _OVERLOADED)
        return result

    def _take_line(self, line: bytes) -> bool:
        observation = record_parser.observation_of_line(line, self.now_ms(), self.max_record_bytes)
        target = self._target_of(observation.host)
        _check_side(target, observation)
        unwanted = self._unwanted(target, observation, lambda: record_parser.request_headers_of_line(line))
        counts = target.counts[observation.side]
        counts.receive()
        return self._file(target, counts, msgspec.structs.replace(observation, target=target.name), unwanted)

    def _target_of(self, host: str) -> _RecordTarget:
        return self._hosts.find_text(host).entry or self._unknown

    def _unwanted(
        self,
        target: _RecordTarget,
        observation: Observation,
        request_headers: Callable[[], Iterable[tuple[bytes, bytes]]],
    ) -> Disposition | None:
        """Return why the target does not compare a request; None if it does. Raises: RecordError.

        The mirror port decides in the same way. A record without a header that decides is rejected: if it was accepted
        or dropped, the other half of its request might stay alone.
        """
        traffic, method, path = target.traffic, observation.method, observation.path
        if traffic is None or not traffic.allows(method, path):
            return Disposition.INELIGIBLE
        if not traffic.selects:
            return None
        try:
            included = traffic.includes(method, path, partial(recorded_value, request_headers()), self.in_sample)
        except NotRecordedError as error:
            raise RecordError(
                f"x-shadowdiff-q-{error} is missing: include or exclude of {target.name} reads this header of the "
                "request; set the same INCLUDE and EXCLUDE in the recorder, or send the header, empty if it is missing"
            ) from error
        return None if included else Disposition.EXCLUDED

    def _file(
        self, target: _RecordTarget, counts: RecordCounts, observation: Observation, unwanted: Disposition | None
    ) -> bool:
        """Set the disposition of a valid record; return False if there is no room for the record."""
        if unwanted:
            self._lose(target, counts, unwanted, observation)
            if target is self._unknown:
                self.counters.unknown_recorded.add(observation.host, observation.path)
            return True
        if target.sample < 1.0 and not self.in_sample(observation.id, target.sample):
            self._lose(target, counts, Disposition.SAMPLED_OUT, observation)
            return True
        if not self.load_shedder.accepts(target.name, observation.id):
            reason = "overload"
        elif self.sink(observation, counts.settle, 0.0):
            return True
        else:
            reason = "records_queue"
        self._lose(target, counts, Disposition.SHED, observation)
        self.counters.shed_reasons[target.name, reason] += 1
        return False

    def _lose(self, target: _RecordTarget, counts: RecordCounts, why: Disposition, observation: Observation) -> None:
        """Set the disposition of a record that is not stored, and count it by route. Unknown hosts have no routes."""
        counts.end(why)
        if target is not self._unknown:
            self.counters.losses.add(target.name, f"recorded.{why}", observation.method, observation.path)

    def _shed(self, target: _RecordTarget, counts: RecordCounts, reason: str, records: int = 1) -> None:
        counts.end(Disposition.SHED, records)
        self.counters.shed_reasons[target.name, reason] += records

    def _refuse_body(self, target: _RecordTarget, counts: RecordCounts, status: HTTPStatus, too_large: str) -> Reply:
        if status is HTTPStatus.SERVICE_UNAVAILABLE:
            self._shed(target, counts, "records_memory")
            return _error(status, _OVERLOADED, _RETRY)
        counts.end(Disposition.REFUSED)
        return _error(status, too_large)

    async def _read(self, scope: Scope, receive: Receive, limit: int) -> bytes | HTTPStatus:
        """Read a body; return 413 if it is too large or its sender disconnected, or 503 if there is no memory for it.

        A body that is not kept is read and dropped up to a limit: a reply with unread bytes would reset the connection,
        and the sender would not receive the reply.
        """
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
        is_declared = declared.isdigit() and int(declared[:15]) > limit
        refusal = HTTPStatus.REQUEST_ENTITY_TOO_LARGE if is_declared else None
        parts: list[bytes] = []
        size = held = 0
        more = True
        try:
            while more and size <= limit + DROPPED_BYTES:
                kept = 0 if refusal else size
                self.reading_bytes += kept - held
                held = kept
                message = await receive()
                part: bytes = message.get("body", b"")
                size += len(part)
                more = message.get("more_body")
                if size > limit or message["type"] != "http.request":
                    refusal = refusal or HTTPStatus.REQUEST_ENTITY_TOO_LARGE
                elif held and self.reading_bytes + len(part) > self.max_reading_bytes:
                    refusal = refusal or HTTPStatus.SERVICE_UNAVAILABLE
                parts.append(part)
                if refusal:
                    parts.clear()
        finally:
            self.reading_bytes -= held
        return refusal or b"".join(parts)


def _check_side(target: _RecordTarget, observation: Observation) -> None:
    """Reject a record of the control if the service itself sends requests to the control. Raises: RecordError.

    Otherwise any recorder could decide which differences count as noise.
    """
    if target.asks_control and observation.side is Side.CONTROL:
        raise RecordError(
            f"side is control: do not record the control of {target.name}, because shadowdiff itself calls it"
        )


def _reply(status: int, body: bytes, content_type: bytes, *headers: tuple[bytes, bytes]) -> Reply:
    length = str(len(body)).encode()
    return Reply(status, [(b"content-type", content_type), (b"content-length", length), *headers], body)


def _error(status: int, line: str, *headers: tuple[bytes, bytes]) -> Reply:
    return _reply(status, f"{line}\n".encode(), b"text/plain; charset=utf-8", *headers)
