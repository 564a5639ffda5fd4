"""Take in the responses that recorders post (port 8081).

In: `POST /record` (one response) and `POST /records` (NDJSON, many), as an ASGI 3 application.
Out: observations, offered to the sink; 202 as soon as they are in its bounded queue, 503 when it is full.
Holds: each record gets exactly one disposition; a bad line never costs the good ones beside it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

import msgspec

from shadowdiff.intake.admission import Admission
from shadowdiff.intake.asgi import answer_other
from shadowdiff.intake.exchange import ACCEPTED, Reply
from shadowdiff.intake.hosts import HostIndex
from shadowdiff.intake.record_form import Form, Refused, host_of_line, observe, observe_line, read_form, side_of
from shadowdiff.intake.thinning import Thinning
from shadowdiff.model import UNKNOWN_TARGET, Observation, Side, Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from shadowdiff.intake.asgi import Message, Receive, Scope, Send
    from shadowdiff.intake.books import Books, RecordRow
    from shadowdiff.intake.dispatch import Keeps, Sink
    from shadowdiff.intake.headers import RawHeaders

MAX_RECORD_BYTES = 1 << 20
MAX_BATCH_BYTES = 16 << 20
MAX_READING_BYTES = 128 << 20
"""Of bodies that are still arriving, over all connections."""
DROPPED_BYTES = 64 << 20
"""Read and dropped beyond a bound, before the connection is given up."""
MOST_LINES = 100_000
"""Of one batch."""
MOST_LISTED = 1000
"""Refused lines that the answer to a batch names; more are only counted."""
LINES_PER_TURN = 64
"""Lines of a batch taken before others get a turn on the loop."""

_TOO_FAST = "more records came from this address than limits.records_per_source: send the rest later"
_TOO_MANY_WRONG = "too many wrong tokens came from this address: wait a minute"
_BRING_ONE = "a token is needed: send `Authorization: Bearer TOKEN`, one of access.records"
_OVERLOADED = "the queue is full: send it again later, or sample on the recorder's side"


class _Place:
    """What a record's host names: its target's settings, made ready, and its rows by side."""

    __slots__ = ("asks_control", "keeps_all", "methods", "name", "rows", "sample")

    def __init__(self, books: Books, target: Target | None) -> None:
        self.name = target.name if target else UNKNOWN_TARGET
        self.methods = frozenset(target.methods if target else ())
        self.sample = target.sample if target else 1.0
        self.keeps_all = self.sample >= 1.0
        self.asks_control = target is not None and target.control is not None
        self.rows = {side: books.record_row(self.name, side) for side in Side}


@dataclass(slots=True)
class _Told:
    """What became of the lines of a batch. The first refusals are listed, lest a batch make an answer without end."""

    accepted: int = 0
    overloaded: bool = False
    unlisted: int = 0
    refused: list[dict[str, int | str]] = field(default_factory=list[dict[str, int | str]])

    def refuse(self, number: int, why: str) -> None:
        """Note a line that was not taken."""
        if len(self.refused) < MOST_LISTED:
            self.refused.append({"line": number, "error": why})
        else:
            self.unlisted += 1

    def reply(self) -> Reply:
        """Return the answer to the batch."""
        if self.accepted:
            more = {"refused_more": self.unlisted} if self.unlisted else {}
            answer = msgspec.json.encode({"accepted": self.accepted, "refused": self.refused, **more})
            return _reply(202, answer, b"application/json")
        if self.refused:
            first = self.refused[0]
            return _refusal(503 if self.overloaded else 400, f"line {first['line']}: {first['error']}")
        return _refusal(400, "the batch is empty: one JSON object per line")


class RecordsApp:
    """The records intake. `replace` swaps the targets between two records."""

    def __init__(
        self,
        *,
        sink: Sink,
        books: Books,
        keeps: Keeps,
        targets: Iterable[Target],
        now_ms: Callable[[], int],
        max_record_bytes: int = MAX_RECORD_BYTES,
        max_batch_bytes: int = MAX_BATCH_BYTES,
        max_reading_bytes: int = MAX_READING_BYTES,
        admission: Admission | None = None,
        thinning: Thinning | None = None,
    ) -> None:
        self._sink = sink
        self._books = books
        self._keeps = keeps
        self._now_ms = now_ms
        self._admission = admission or Admission((), 0, lambda: 0.0)
        self._thinning = thinning or Thinning()
        self._max_record_bytes = max_record_bytes
        self._max_batch_bytes = max_batch_bytes
        self._max_reading_bytes = max_reading_bytes
        self.reading_bytes = 0
        self._unknown = _Place(books, None)
        self._hosts: HostIndex[_Place]
        self.replace(targets)

    def replace(self, targets: Iterable[Target]) -> None:
        """Take new targets and settings."""
        places = [(target, _Place(self._books, target)) for target in targets]
        self._hosts = HostIndex([(host, place) for target, place in places for host in target.hosts])

    def admit(self, admission: Admission) -> None:
        """Take new tokens and rates."""
        self._admission = admission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] != "http":
            await answer_other(scope, receive, send)
        elif scope["method"] != "POST":
            await _refuse(send, 405, "only POST is served here: POST /record or POST /records", (b"allow", b"POST"))
        elif not self._admission.is_open and not self._admission.knows(scope):
            await self._take_unknown(scope, receive, send)
        elif scope["path"] == "/record":
            await self._take_one(scope, receive, send)
        elif scope["path"] == "/records":
            await self._take_many(scope, receive, send)
        else:
            await _refuse(send, 404, "nothing is served at this path: POST /record or POST /records")

    async def _take_unknown(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse what brings no token, or a wrong one: nothing it says is believed, and its body is dropped."""
        row = self._unknown.rows[Side.PRIMARY]
        row.received += 1
        row.in_flight += 1
        await self._read_on(scope, receive, await receive(), 0)
        _refused(row)
        peer = scope.get("client")
        self._books.refusals.saw(f"no token of access.records came from {peer[0] if peer else '?'}", "/record")
        if self._admission.waits(scope):
            await _refuse(send, 429, _TOO_MANY_WRONG, (b"retry-after", b"60"))
        else:
            await _refuse(send, 401, _BRING_ONE, (b"www-authenticate", b'Bearer realm="shadowdiff"'))

    def _shed(self, place: _Place, row: RecordRow, reason: str, records: int = 1) -> None:
        """Enter records that found no room."""
        row.in_flight -= records
        row.shed += records
        for _ in range(records):
            self._books.shed(place.name, reason)

    async def _take_one(self, scope: Scope, receive: Receive, send: Send) -> None:
        form = read_form(cast("RawHeaders", scope["headers"]))
        place = self._hosts.find(form.fields.get(b"x-shadowdiff-host", b"")).entry or self._unknown
        row = place.rows[side_of(form.fields)]
        row.received += 1
        row.in_flight += 1
        if not self._admission.is_open and not self._admission.has_room(scope):
            await self._read_on(scope, receive, await receive(), 0)
            self._shed(place, row, "records_rate")
            await _refuse(send, 503, _TOO_FAST, (b"retry-after", b"1"))
            return
        message = await receive()
        first: bytes = message.get("body", b"")
        body: bytes | HTTPStatus = first
        if message.get("more_body") or message["type"] != "http.request" or len(first) > self._max_record_bytes:
            body = await self._read_on(scope, receive, message, self._max_record_bytes)
        if isinstance(body, HTTPStatus):
            says = f"the body has more than {self._max_record_bytes} bytes: cut it, and send x-shadowdiff-size"
            await self._turn_away(send, place, row, body, says)
            return
        reply = self._take(form, body, place, row)
        await _send(send, reply)

    def take_whole(self, scope: Scope, body: bytes) -> Reply | None:
        """Take one record whose body has come whole, and return the answer: what `__call__` does, at once."""
        if scope["path"] != "/record" or scope["method"] != "POST" or len(body) > self._max_record_bytes:
            return None
        admission = self._admission
        if not admission.is_open and not (admission.knows(scope) and admission.has_room(scope)):
            return None  # `__call__` says why
        form = read_form(cast("RawHeaders", scope["headers"]))
        place = self._hosts.find(form.fields.get(b"x-shadowdiff-host", b"")).entry or self._unknown
        row = place.rows[side_of(form.fields)]
        row.received += 1
        row.in_flight += 1
        return self._take(form, body, place, row)

    def _take(self, form: Form, body: bytes, place: _Place, row: RecordRow) -> Reply:
        """Give a record that was read whole its disposition, and return the answer."""
        try:
            observation = observe(form, body, place.name, self._now_ms())
            _check_side(place, observation)
        except Refused as error:
            _refused(row)
            self._books.refusals.saw(str(error), "/record")
            return _refusal(400, str(error))
        if self._file(place, row, observation):
            return ACCEPTED
        return _refusal(503, _OVERLOADED, (b"retry-after", b"1"))

    async def _take_many(self, scope: Scope, receive: Receive, send: Send) -> None:
        batch = await self._read_on(scope, receive, await receive(), self._max_batch_bytes)
        if isinstance(batch, HTTPStatus):
            await self._turn_batch_away(send, batch, f"{self._max_batch_bytes} bytes")
        elif batch.count(b"\n") > MOST_LINES:
            await self._turn_batch_away(send, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"{MOST_LINES} lines")
        elif not self._admission.is_open and not self._batch_has_room(scope, batch):
            await _refuse(send, 503, _TOO_FAST, (b"retry-after", b"1"))
        else:
            self.reading_bytes += len(batch)  # others get their turn while its lines are taken
            try:
                told = await self._take_lines(batch)
            finally:
                self.reading_bytes -= len(batch)
            await _send(send, told.reply())

    async def _take_lines(self, batch: bytes) -> _Told:
        told = _Told()
        for number, line in enumerate(batch.split(b"\n"), 1):
            if number % LINES_PER_TURN == 0:
                await asyncio.sleep(0)
            if not line.strip():
                continue
            try:
                taken = self._take_line(line)
            except Refused as error:
                self._count_refused(line)
                self._books.refusals.saw(str(error), "/records")
                told.refuse(number, str(error))
            else:
                told.accepted += taken
                if not taken:
                    told.overloaded = True
                    told.refuse(number, _OVERLOADED)
        return told

    async def _turn_batch_away(self, send: Send, status: HTTPStatus, bound: str) -> None:
        """Refuse a batch whole: how many lines it holds is not known, and it counts as one record."""
        row = self._unknown.rows[Side.PRIMARY]
        row.received += 1
        row.in_flight += 1
        await self._turn_away(send, self._unknown, row, status, f"the batch has more than {bound}: send smaller ones")

    def _batch_has_room(self, scope: Scope, batch: bytes) -> bool:
        lines = sum(1 for line in batch.split(b"\n") if line.strip())
        if self._admission.has_room(scope, lines):
            return True
        row = self._unknown.rows[Side.PRIMARY]
        row.received += lines
        row.in_flight += lines
        self._shed(self._unknown, row, "records_rate", lines)
        return False

    def _take_line(self, line: bytes) -> bool:
        observation = observe_line(line, self._now_ms(), self._max_record_bytes)
        place = self._hosts.find_text(observation.host).entry or self._unknown
        _check_side(place, observation)
        row = place.rows[observation.side]
        row.received += 1
        row.in_flight += 1
        return self._file(place, row, msgspec.structs.replace(observation, target=place.name))

    def _file(self, place: _Place, row: RecordRow, observation: Observation) -> bool:
        """Give a sound record its disposition; False when there is no room for it."""
        if observation.method not in place.methods:
            row.in_flight -= 1
            row.ineligible += 1
            self._lost(place, "ineligible", observation)
            if place is self._unknown:
                self._books.unknown_recorded.saw(observation.host, observation.path)
            return True
        if not place.keeps_all and not self._keeps(observation.id, place.sample):
            row.in_flight -= 1
            row.sampled_out += 1
            self._lost(place, "sampled_out", observation)
            return True
        if not self._thinning.takes(place.name, observation.id):
            reason = "overload"
        elif self._sink(observation, row.settled, 0.0):
            return True
        else:
            reason = "records_queue"
        self._lost(place, "shed", observation)
        self._shed(place, row, reason)
        return False

    def _lost(self, place: _Place, disposition: str, observation: Observation) -> None:
        """Count by its route what goes no further; a host that nobody configured has no routes."""
        if place is not self._unknown:
            self._books.losses.add(place.name, f"recorded.{disposition}", observation.method, observation.path)

    def _count_refused(self, line: bytes) -> None:
        place = self._hosts.find_text(host_of_line(line)).entry or self._unknown
        row = place.rows[Side.PRIMARY]
        row.received += 1
        row.in_flight += 1
        _refused(row)

    async def _turn_away(self, send: Send, place: _Place, row: RecordRow, status: HTTPStatus, too_large: str) -> None:
        """Answer a body that was not kept, and enter where it went."""
        if status is HTTPStatus.SERVICE_UNAVAILABLE:
            self._shed(place, row, "records_memory")
            await _refuse(send, status, _OVERLOADED, (b"retry-after", b"1"))
            return
        _refused(row)
        await _refuse(send, status, too_large)

    async def _read_on(self, scope: Scope, receive: Receive, message: Message, limit: int) -> bytes | HTTPStatus:
        """Read the rest of a body; else say 413 (too large, or its sender left), or 503 where memory has no room.

        What is not kept is read and dropped, up to a bound: an answer beside unread bytes resets the connection,
        and its sender never sees why.
        """
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
        refusal = HTTPStatus.REQUEST_ENTITY_TOO_LARGE if declared.isdigit() and int(declared[:15]) > limit else None
        parts: list[bytes] = [message.get("body", b"")]
        size = len(parts[0])
        held = 0
        try:
            while message.get("more_body") and size <= limit + DROPPED_BYTES:
                kept = 0 if refusal else size
                self.reading_bytes += kept - held
                held = kept
                message = await receive()
                part: bytes = message.get("body", b"")
                size += len(part)
                if size > limit:
                    refusal = refusal or HTTPStatus.REQUEST_ENTITY_TOO_LARGE
                elif self.reading_bytes + len(part) > self._max_reading_bytes:
                    refusal = refusal or HTTPStatus.SERVICE_UNAVAILABLE
                if refusal:
                    parts.clear()
                else:
                    parts.append(part)
        finally:
            self.reading_bytes -= held
        if message["type"] != "http.request" or size > limit:
            refusal = refusal or HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        return refusal or b"".join(parts)


def _check_side(place: _Place, observation: Observation) -> None:
    """Refuse a control's answer where the service asks the control itself.

    What v1 differs in from itself would else be whatever somebody says. Raises: Refused.
    """
    if place.asks_control and observation.side is Side.CONTROL:
        raise Refused(f"side is control: the control of {place.name} is asked by the service, and recorded by nobody")


def _refused(row: RecordRow) -> None:
    row.in_flight -= 1
    row.refused += 1


def _reply(status: int, body: bytes, content_type: bytes, *headers: tuple[bytes, bytes]) -> Reply:
    length = str(len(body)).encode()
    return Reply(status, [(b"content-type", content_type), (b"content-length", length), *headers], body)


def _refusal(status: int, line: str, *headers: tuple[bytes, bytes]) -> Reply:
    return _reply(status, f"{line}\n".encode(), b"text/plain; charset=utf-8", *headers)


async def _refuse(send: Send, status: int, line: str, *headers: tuple[bytes, bytes]) -> None:
    await _send(send, _refusal(status, line, *headers))


async def _send(send: Send, reply: Reply) -> None:
    await send({"type": "http.response.start", "status": reply.status, "headers": reply.headers})
    await send({"type": "http.response.body", "body": reply.body})
