"""One request and its answer: as far as the request came, and the two ways in which an application answers it.

In: what a connection has read.  Out: what it is to write.
Holds: a request that came whole may be answered at once (`TakesWhole`), without a task; any other one is answered the
ASGI way, whose two callables are an `Exchange`.  Source: ASGI 3, HTTP connection scope.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

from shadowdiff.intake.wire import head_of_answer

if TYPE_CHECKING:
    from shadowdiff.intake.asgi import Message, Scope
    from shadowdiff.intake.headers import RawHeaders


class Reply(NamedTuple):
    """An answer that is whole."""

    status: int
    headers: RawHeaders
    body: bytes = b""


ACCEPTED = Reply(202, [(b"content-length", b"0")])


class TakesWhole(Protocol):
    """An application that can answer a whole request at once. None: it is to be asked the ASGI way."""

    def take_whole(self, scope: Scope, body: bytes) -> Reply | None:
        """Return the answer to a request whose body is whole."""
        ...


@dataclass(slots=True)
class Request:
    """One request as far as it came.

    unread_bytes: of the body, not taken by the application yet; once it is dropped, how much was.
    is_dropped: whether what still comes of it is thrown away, since it was answered before its end.
    since_s: when its head was whole, by the loop's clock.
    """

    scope: Scope
    keep_alive: bool
    expects_continue: bool
    parts: list[bytes] = field(default_factory=list[bytes])
    unread_bytes: int = 0
    is_whole: bool = False
    is_dropped: bool = False
    since_s: float = 0.0


class Carrier(Protocol):
    """The connection, as far as an exchange needs it."""

    @property
    def is_lost(self) -> bool:
        """Whether nobody listens any more."""
        ...

    def write(self, data: bytes) -> None:
        """Send a part of an answer, if anybody still listens."""
        ...

    async def more(self, request: Request) -> None:
        """Wait until more of the body has come, or its end, or the connection's."""
        ...


class Exchange:
    """The two callables of one ASGI call."""

    __slots__ = ("_connection", "_head", "_request", "has_begun", "is_complete")

    def __init__(self, connection: Carrier, request: Request) -> None:
        self._connection = connection
        self._request = request
        self._head = b""
        self.has_begun = self.is_complete = False

    async def receive(self) -> Message:
        """Return the next part of the body, or that nobody listens any more."""
        request = self._request
        if request.expects_continue and not request.parts and not request.is_whole:
            self._connection.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.expects_continue = False
        await self._connection.more(request)
        if not request.parts and not request.is_whole:  # the connection has ended
            return {"type": "http.disconnect"}
        body = b"".join(request.parts)
        request.parts.clear()
        request.unread_bytes = 0
        return {"type": "http.request", "body": body, "more_body": not request.is_whole}

    async def send(self, message: Message) -> None:
        """Send a part of the answer."""
        if message["type"] == "http.response.start":
            self._head = head_of_answer(message["status"], message["headers"], keep_alive=self._request.keep_alive)
            return
        body = b"" if self._request.scope["method"] == "HEAD" else message.get("body", b"")
        self._connection.write(self._head + body)
        self._head = b""
        self.has_begun = True
        self.is_complete = not message.get("more_body", False)
