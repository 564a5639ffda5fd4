"""Receive the requests that a mesh mirrors (port 8080), as an ASGI 3 application.

Every request gets an empty 202 when its body has been read, even if it is not compared. This port never waits for v2 or
the store. The head of a request decides what happens to it; a body that is not needed is read and dropped. Each request
gets exactly one disposition.
"""

from __future__ import annotations

from dataclasses import InitVar, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from shadowdiff.intake.counters import Disposition
from shadowdiff.intake.exchange import ACCEPTED, answer_other, head_cost
from shadowdiff.intake.overload import LoadShedder
from shadowdiff.intake.routing import HostIndex, read_routing_headers
from shadowdiff.intake.upstream import MirroredRequest
from shadowdiff.model import UNKNOWN_TARGET, Target
from shadowdiff.rules.traffic import header_value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from shadowdiff.intake.counters import IntakeCounters
    from shadowdiff.intake.dispatch import Dispatcher, TargetQueue
    from shadowdiff.intake.exchange import RawHeaders, Receive, Reply, Scope, Send


class _ReceivedHead(NamedTuple):
    """The decision from a request's head. disposition: None if the request must be sent to v2."""

    queue: TargetQueue | None
    host: str
    identity: tuple[str, str] | None
    disposition: Disposition | None


@dataclass(kw_only=True, eq=False)
class MirrorApp:
    """The mirror port. `replace` swaps the targets between two requests.

    identify: returns the id of a request and the name of its header, or None.
    """

    dispatcher: Dispatcher
    counters: IntakeCounters
    identify: Callable[[RawHeaders], tuple[str, str] | None]
    in_sample: Callable[[str, float], bool]
    targets: InitVar[Iterable[Target]]
    max_request_bytes: int = 10 << 20
    load_shedder: LoadShedder = field(default_factory=LoadShedder)

    def __post_init__(self, targets: Iterable[Target]) -> None:
        self._unknown = self.counters.mirrored[UNKNOWN_TARGET]
        self.replace(targets)

    def replace(self, targets: Iterable[Target]) -> None:
        """Use new targets and settings; requests in flight keep the old ones."""
        queues = [(target, self.dispatcher.queue(target)) for target in targets]
        self._hosts = HostIndex([(host, queue) for target, queue in queues for host in target.hosts])
        self.dispatcher.retire_unused()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] != "http":
            await answer_other(scope, receive, send)
            return
        head = self._receive_head(scope)
        body, disposition = await self._read(receive, head.disposition)
        if disposition is not Disposition.ABORTED:
            await send({"type": "http.response.start", "status": ACCEPTED.status, "headers": ACCEPTED.headers})
            await send({"type": "http.response.body", "body": b""})
        self._dispatch(scope, head, body, disposition)

    def take_whole(self, scope: Scope, body: bytes) -> Reply:
        """Process a request whose body has arrived, as `__call__` does, but return the response immediately."""
        head = self._receive_head(scope)
        disposition = head.disposition
        if len(body) > self.max_request_bytes:
            disposition = disposition or Disposition.TOO_LARGE
        self._dispatch(scope, head, body, disposition)
        return ACCEPTED

    def _receive_head(self, scope: Scope) -> _ReceivedHead:
        """Count a request, and decide from its head what happens to it."""
        headers: RawHeaders = scope["headers"]
        raw_host, is_shadow, upgrade = read_routing_headers(headers)
        queue, host = self._hosts.find(raw_host)
        counts = self._unknown if queue is None else queue.counts
        counts.received += 1
        counts.in_flight += 1
        identity: tuple[str, str] | None = None
        disposition: Disposition | None = None
        if is_shadow:
            disposition = Disposition.LOOPED
        elif (
            queue is None
            or not queue.traffic.allows(scope["method"], scope["raw_path"])
            or upgrade == b"websocket"
            or scope["raw_path"][:1] != b"/"  # `OPTIONS *`; the `*` must not become part of the candidate's authority
        ):
            disposition = Disposition.BLOCKED
        elif queue.traffic.selects and not self._includes(queue, scope):
            disposition = Disposition.EXCLUDED
        elif (identity := self.identify(headers)) is None:
            disposition = Disposition.UNIDENTIFIED
        elif (sample := queue.target.sample) < 1.0 and not self.in_sample(identity[0], sample):
            disposition = Disposition.SAMPLED_OUT
        elif not self.load_shedder.accepts(queue.target.name, identity[0]):
            disposition = Disposition.SHED
        return _ReceivedHead(queue, host, identity, disposition)

    def _includes(self, queue: TargetQueue, scope: Scope) -> bool:
        value_of = partial(header_value, scope["headers"])
        return queue.traffic.includes(scope["method"], scope["raw_path"], value_of, self.in_sample)

    def _dispatch(self, scope: Scope, head: _ReceivedHead, body: bytes, disposition: Disposition | None) -> None:
        queue, host, identity, _ = head
        if queue is None or identity is None or disposition is not None:
            self._end(scope, head, disposition or Disposition.BLOCKED)
            return
        raw_path, query = scope["raw_path"], scope["query_string"]
        path: bytes = raw_path + b"?" + query if query else raw_path
        held_bytes = head_cost(scope) + len(body)
        request = MirroredRequest(
            *identity, scope["method"], path.decode("latin-1"), host, scope["headers"], body, held_bytes
        )
        operation = queue.traffic.graphql.operation(request.method, request.path, request.headers, body)
        if operation is None or operation.is_query:
            self.dispatcher.submit(queue, request)
        else:
            self.dispatcher.withhold(queue, request)

    async def _read(self, receive: Receive, disposition: Disposition | None) -> tuple[bytes, Disposition | None]:
        """Read a body to its end; keep it if it is needed and there is room."""
        parts: list[bytes] = []
        size = held = 0
        more = True
        try:
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return b"", Disposition.ABORTED
                part: bytes = message.get("body", b"")
                parts.append(part)
                size += len(part)
                more = message.get("more_body")
                if size > self.max_request_bytes:
                    disposition = disposition or Disposition.TOO_LARGE
                elif more and disposition is None and not self.dispatcher.has_room(size - held):
                    disposition = Disposition.SHED
                if disposition is not None:
                    parts.clear()
                elif more:
                    self.dispatcher.held_bytes += size - held
                    held = size
        finally:
            self.dispatcher.held_bytes -= held
        return b"".join(parts), disposition

    def _end(self, scope: Scope, head: _ReceivedHead, disposition: Disposition) -> None:
        """Count a request that is not sent to v2, with an example if an operator must act on it."""
        queue, host, *_ = head
        counters = self.counters
        (self._unknown if queue is None else queue.counts).end(disposition)
        if queue is not None:
            path: bytes = scope["raw_path"]
            counters.losses.add(queue.target.name, f"mirrored.{disposition}", scope["method"], path.decode("latin-1"))
        if disposition is Disposition.SHED:
            target = queue.target.name if queue else UNKNOWN_TARGET
            counters.shed_reasons[target, "overload" if head.disposition else "memory"] += 1
        elif disposition is Disposition.LOOPED:
            counters.loops.add(host, scope["path"])
        elif disposition is Disposition.UNIDENTIFIED:
            counters.unidentified.add(host, scope["path"])
        elif queue is None:
            counters.unknown_mirrored.add(host, scope["path"])
        elif disposition is Disposition.BLOCKED:
            counters.blocked.add(f"{scope['method']} {host}", scope["path"])
