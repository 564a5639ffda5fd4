"""Take in the requests that a mesh mirrors (port 8080).

In: any method, any path, as an ASGI 3 application.  Out: an empty 202, once the whole body was read; after that,
requests that are to be compared, handed to the dispatcher.
Holds: never waits on v2 or the store. What becomes of a request is decided from its headers, so that a body
nobody needs is read and dropped; each request gets exactly one disposition.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

from shadowdiff.intake.asgi import answer_other
from shadowdiff.intake.exchange import ACCEPTED
from shadowdiff.intake.headers import Marks, RawHeaders, read_marks
from shadowdiff.intake.held import head_cost
from shadowdiff.intake.hosts import HostIndex
from shadowdiff.intake.mirrored import Mirrored
from shadowdiff.intake.thinning import Thinning
from shadowdiff.model import UNKNOWN_TARGET, Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from shadowdiff.intake.asgi import Receive, Scope, Send
    from shadowdiff.intake.books import Books, MirrorRow
    from shadowdiff.intake.dispatch import Dispatcher, Keeps, Lane
    from shadowdiff.intake.exchange import Reply

    Identify = Callable[[RawHeaders], tuple[str, str] | None]

MAX_REQUEST_BYTES = 10 << 20

_ACCEPTED = {"type": "http.response.start", "status": 202, "headers": [(b"content-length", b"0")]}
_NOTHING = {"type": "http.response.body", "body": b""}


class _Reading(NamedTuple):
    """How reading a body ended: whole and kept, or the disposition that this leaves."""

    body: bytes
    disposition: str


class _Arrival(NamedTuple):
    """What a request's head says; an empty disposition where it is to be forwarded."""

    lane: Lane | None
    host: str
    row: MirrorRow
    identity: tuple[str, str] | None
    disposition: str


class MirrorApp:
    """The mirror intake. `replace` swaps the targets between two requests."""

    def __init__(
        self,
        *,
        dispatcher: Dispatcher,
        books: Books,
        identify: Identify,
        keeps: Keeps,
        targets: Iterable[Target],
        max_request_bytes: int = MAX_REQUEST_BYTES,
        thinning: Thinning | None = None,
    ) -> None:
        self._dispatcher = dispatcher
        self._books = books
        self._identify = identify
        self._keeps = keeps
        self._max_request_bytes = max_request_bytes
        self._thinning = thinning or Thinning()
        self._unknown = books.mirror_row(UNKNOWN_TARGET)
        self._hosts: HostIndex[Lane]
        self.replace(targets)

    def replace(self, targets: Iterable[Target]) -> None:
        """Take new targets and settings; requests on their way keep what they have."""
        lanes = [(target, self._dispatcher.lane(target)) for target in targets]
        self._hosts = HostIndex([(host, lane) for target, lane in lanes for host in target.hosts])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] != "http":
            await answer_other(scope, receive, send)
            return
        arrival = self._arrive(scope)
        message = await receive()
        body: bytes = message.get("body", b"")
        disposition = arrival.disposition
        if message["type"] == "http.disconnect":
            disposition = "aborted"
        elif message.get("more_body"):
            body, disposition = await self._read_on(receive, body, disposition)
        elif len(body) > self._max_request_bytes:
            disposition = disposition or "too_large"

        if disposition != "aborted":
            await send(_ACCEPTED)
            await send(_NOTHING)
        self._go_on(scope, arrival, body, disposition)

    def take_whole(self, scope: Scope, body: bytes) -> Reply:
        """Take a request whose body has come whole, and return its acknowledgement: what `__call__` does, at once."""
        arrival = self._arrive(scope)
        disposition = arrival.disposition
        if len(body) > self._max_request_bytes:
            disposition = disposition or "too_large"
        self._go_on(scope, arrival, body, disposition)
        return ACCEPTED

    def _arrive(self, scope: Scope) -> _Arrival:
        """Count a request, and decide from its head what becomes of it."""
        headers = cast("RawHeaders", scope["headers"])
        marks = read_marks(headers)
        lane, host = self._hosts.find(marks.host)
        row = self._unknown if lane is None else lane.row
        row.received += 1
        row.in_flight += 1
        identity, disposition = self._decide(lane, scope, headers, marks)
        return _Arrival(lane, host, row, identity, disposition)

    def _go_on(self, scope: Scope, arrival: _Arrival, body: bytes, disposition: str) -> None:
        """Hand a request that is to be compared to the dispatcher; enter what became of any other."""
        lane, host, _, identity, _ = arrival
        if disposition or lane is None or identity is None:
            self._close(arrival, disposition, scope)
            return
        query: bytes = scope["query_string"]
        path: bytes = scope["raw_path"] + b"?" + query if query else scope["raw_path"]
        held_bytes = head_cost(scope) + len(body)
        told = path.decode("latin-1")
        self._dispatcher.submit(
            lane, Mirrored(identity[0], identity[1], scope["method"], told, host, scope["headers"], body, held_bytes)
        )

    def _decide(
        self, lane: Lane | None, scope: Scope, headers: RawHeaders, marks: Marks
    ) -> tuple[tuple[str, str] | None, str]:
        """Return the request's identity, and an empty disposition where it is to be forwarded."""
        if marks.is_shadow:
            return None, "looped"
        if lane is None or scope["method"] not in lane.methods or marks.upgrade == b"websocket":
            return None, "blocked"
        if scope["raw_path"][:1] != b"/":  # `OPTIONS *`; and nothing may be read as part of the candidate's authority
            return None, "blocked"
        identity = self._identify(headers)
        if identity is None:
            return None, "unidentified"
        if lane.target.sample < 1.0 and not self._keeps(identity[0], lane.target.sample):
            return None, "sampled_out"
        return identity, "" if self._thinning.takes(lane.target.name, identity[0]) else "shed"

    async def _read_on(self, receive: Receive, body: bytes, disposition: str) -> _Reading:
        """Read the rest of a long body to its end, keeping it while it is wanted and there is room."""
        parts, size, held = [body], len(body), 0
        dispatcher = self._dispatcher
        try:
            while True:
                if size > self._max_request_bytes:
                    disposition = disposition or "too_large"
                elif not disposition and not dispatcher.has_room(size - held):
                    disposition = "shed"
                if disposition:
                    parts.clear()
                else:
                    dispatcher.held_bytes += size - held
                    held = size
                message = await receive()
                if message["type"] == "http.disconnect":
                    return _Reading(b"", "aborted")
                part: bytes = message.get("body", b"")
                parts.append(part)
                size += len(part)
                if not message.get("more_body"):
                    break
        finally:
            dispatcher.held_bytes -= held
        if size > self._max_request_bytes:
            disposition = disposition or "too_large"
        return _Reading(b"" if disposition else b"".join(parts), disposition)

    def _close(self, arrival: _Arrival, disposition: str, scope: Scope) -> None:
        """Enter the disposition of a request that goes no further."""
        lane, host, row, *_ = arrival
        row.in_flight -= 1
        setattr(row, disposition, getattr(row, disposition) + 1)
        if lane is not None:
            path: bytes = scope["raw_path"]
            self._books.losses.add(lane.target.name, f"mirrored.{disposition}", scope["method"], path.decode("latin-1"))
        if disposition == "shed":
            reason = "overload" if arrival.disposition else "memory"
            self._books.shed(lane.target.name if lane else UNKNOWN_TARGET, reason)
        elif disposition == "looped":
            self._books.loops.saw(host, scope["path"])
        elif disposition == "unidentified":
            self._books.unidentified.saw(host, scope["path"])
        elif lane is None:
            self._books.unknown_mirrored.saw(host, scope["path"])
        elif disposition == "blocked":
            self._books.blocked.saw(f"{scope['method']} {host}", scope["path"])
