"""Test the mirror port without a network: the head of each request decides its one disposition."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from shadowdiff.intake.counters import IntakeCounters, MirrorCounts
from shadowdiff.intake.dispatch import Dispatcher, TargetQueue
from shadowdiff.intake.exchange import ACCEPTED
from shadowdiff.intake.mirror_port import MirrorApp
from shadowdiff.intake.overload import LoadShedder
from shadowdiff.model import UNKNOWN_TARGET, Candidate, Target

if TYPE_CHECKING:
    from shadowdiff.intake.exchange import RawHeaders
    from shadowdiff.intake.upstream import MirroredRequest

HOST = (b"host", b"svc-shadow:80")
ID = (b"x-diff-id", b"7")


class Submitted:
    """Replaces the dispatcher, and completes each request immediately."""

    def __init__(self, counters: IntakeCounters) -> None:
        self.counters = counters
        self.requests: list[MirroredRequest] = []
        self.room_bytes = 1 << 20
        self.held_bytes = 0

    def queue(self, target: Target) -> TargetQueue:
        """Return the queue of a target."""
        return TargetQueue(target, self.counters.mirrored[target.name], self.counters.controls[target.name])

    def has_room(self, item_bytes: int) -> bool:
        """Return whether an item fits."""
        return self.held_bytes + item_bytes <= self.room_bytes

    def retire_unused(self) -> None:
        """Do nothing, because this dispatcher opens no connections."""

    def submit(self, queue: TargetQueue, request: MirroredRequest) -> None:
        """Record a request."""
        self.requests.append(request)
        queue.counts.settle(True)

    def withhold(self, queue: TargetQueue, request: MirroredRequest) -> None:
        """Record a request that is not sent."""
        assert request.body
        queue.counts.withhold(True)


class Mirror:
    """The mirror app with this dispatcher."""

    def __init__(self, *, sample: float = 1.0, fill: float = 0.0) -> None:
        self.counters = IntakeCounters()
        self.dispatcher = Submitted(self.counters)
        methods = ("GET", "HEAD", "OPTIONS", "POST /search")
        candidate = Candidate(url="http://v2")
        target = Target(
            name="svc", hosts=("svc",), candidate=candidate, sample=sample, methods=methods, graphql=("/graphql",)
        )
        self.app = MirrorApp(
            dispatcher=cast("Dispatcher", self.dispatcher),
            counters=self.counters,
            identify=lambda headers: next(((v.decode(), "x-diff-id") for n, v in headers if n == b"x-diff-id"), None),
            in_sample=lambda identity, _share: identity == "7",
            targets=[target],
            max_request_bytes=100,
            load_shedder=LoadShedder(lambda _target: fill),
        )

    async def asgi(self, scope: dict[str, Any], *messages: dict[str, Any]) -> list[dict[str, Any]]:
        """Send a request in parts, and return the app's messages."""
        sent: list[dict[str, Any]] = []
        rest = iter(messages)

        async def receive() -> Any:
            return next(rest)

        async def send(message: Any) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        return sent

    @property
    def counts(self) -> MirrorCounts:
        """Return the counts of the target."""
        return self.counters.mirrored["svc"]


def head(*headers: tuple[bytes, bytes], method: str = "GET", path: bytes = b"/a", query: bytes = b"") -> dict[str, Any]:
    """Return the scope of a request."""
    fields: RawHeaders = list(headers or (HOST, ID))
    return {
        "type": "http", "method": method, "path": path.decode(), "raw_path": path, "query_string": query,
        "headers": fields, "head_bytes": 50,
    }  # fmt: skip


def part(body: bytes, *, more: bool = True) -> dict[str, Any]:
    """Return a part of a body."""
    return {"type": "http.request", "body": body, "more_body": more}


@pytest.mark.parametrize(
    ("scope", "disposition", "name"),
    [
        (head(), "forwarded", "svc"),
        (head(method="POST"), "blocked", "svc"),
        (head(method="POST", path=b"/search"), "forwarded", "svc"),
        (head(method="PUT", path=b"/search"), "blocked", "svc"),
        (head(path=b"*", method="OPTIONS"), "blocked", "svc"),
        (head(HOST, ID, (b"upgrade", b"WebSocket")), "blocked", "svc"),
        (head((b"host", b"other"), ID), "blocked", UNKNOWN_TARGET),
        (head(HOST, ID, (b"x-shadowdiff", b"1")), "looped", "svc"),
        (head(HOST, ID, (b"baggage", b"a=1, shadowdiff=1")), "looped", "svc"),
        (head(HOST), "unidentified", "svc"),
        (head(HOST, (b"x-diff-id", b"8")), "sampled_out", "svc"),
    ],
)
async def test_the_head_decides_on_both_ways(scope: dict[str, Any], disposition: str, name: str) -> None:
    """A request gets the same 202 and disposition whether it arrives whole or in parts."""
    expected = MirrorCounts(received=2, **{disposition: 2})
    mirror = Mirror(sample=0.5)
    assert ACCEPTED is mirror.app.take_whole(scope, b"")
    start, body = await mirror.asgi(scope, part(b"", more=False))
    assert (202, b"") == (start["status"], body["body"])
    assert expected == mirror.counters.mirrored[name]
    assert (2 if disposition == "forwarded" else 0) == len(mirror.dispatcher.requests)
    assert 0 == mirror.dispatcher.held_bytes


async def test_a_request_is_forwarded_as_received() -> None:
    """The request keeps its query, its body from all parts, and the user's host."""
    mirror = Mirror()
    scope = head(query=b"x=%2F", path=b"/a%20b")
    await mirror.asgi(scope, part(b"one "), part(b"two", more=False))
    (request,) = mirror.dispatcher.requests
    assert ("7", "x-diff-id", "GET", "/a%20b?x=%2F", "svc:80", b"one two") == (
        request.id, request.id_source, request.method, request.path, request.host, request.body,
    )  # fmt: skip
    assert request.held_bytes > len(request.body)


@pytest.mark.parametrize(
    ("body", "disposition"),
    [
        (b'{"query": "query A{a}"}', "forwarded"),
        (b'{"query": "mutation A{a}"}', "withheld"),
        (b'{"query": "subscription A{a}"}', "withheld"),
        (b'[{"query": "{a}"}, {"query": "mutation{a}"}]', "withheld"),
        (b"not JSON", "withheld"),
    ],
)
async def test_only_queries_of_graphql_are_sent(body: bytes, disposition: str) -> None:
    """`methods` does not matter at these paths, and a body that cannot be read is not sent."""
    mirror = Mirror()
    scope = head(HOST, ID, (b"content-type", b"application/json"), method="POST", path=b"/graphql")
    mirror.app.take_whole(scope, body)
    await mirror.asgi(scope, part(body[:9]), part(body[9:], more=False))
    assert MirrorCounts(received=2, **{disposition: 2}) == mirror.counts


@pytest.mark.parametrize(
    ("parts", "room_bytes", "disposition"),
    [
        ([b"x" * 60, b"x" * 60, b"x" * 60], 1000, "too_large"),
        ([b"x" * 30, b"x" * 30, b"x" * 30], 50, "shed"),
    ],
)
async def test_a_long_body_is_kept_only_within_its_bounds(
    parts: list[bytes], room_bytes: int, disposition: str
) -> None:
    """The port reads the body to its end in any case, so the sender gets its 202."""
    mirror = Mirror()
    mirror.dispatcher.room_bytes = room_bytes
    sent = await mirror.asgi(head(), *map(part, parts), part(b"", more=False))
    assert 202 == sent[0]["status"]
    assert MirrorCounts(received=1, **{disposition: 1}) == mirror.counts
    assert ({("svc", "memory"): 1} if disposition == "shed" else {}) == mirror.counters.shed_reasons
    assert 0 == mirror.dispatcher.held_bytes


@pytest.mark.parametrize("first", [[], [part(b"x" * 60)]])
async def test_a_sender_that_leaves_aborts_its_request(first: list[dict[str, Any]]) -> None:
    """The port sends it no response."""
    mirror = Mirror()
    assert [] == await mirror.asgi(head(), *first, {"type": "http.disconnect"})
    assert MirrorCounts(received=1, aborted=1) == mirror.counts


def test_an_overloaded_service_sheds_by_id() -> None:
    """The response has the reason."""
    mirror = Mirror(fill=1.0)
    mirror.app.take_whole(head(), b"")
    assert MirrorCounts(received=1, shed=1) == mirror.counts
    assert {("svc", "overload"): 1} == mirror.counters.shed_reasons


def test_requests_that_are_not_compared_leave_examples() -> None:
    """An operator needs the examples, without queries, to find out why nothing pairs."""
    mirror = Mirror()
    for scope in (
        head((b"host", b"other"), ID, path=b"/unknown"),
        head(HOST, ID, (b"x-shadowdiff", b"1"), path=b"/loop"),
        head(HOST, path=b"/no-id", query=b"token=secret"),
        head(method="POST", path=b"/post"),
    ):
        mirror.app.take_whole(scope, b"")
    counters = mirror.counters
    assert [("other", 1, "/unknown")] == counters.unknown_mirrored.newest()
    assert [("svc:80", 1, "/loop")] == counters.loops.newest()
    assert [("svc:80", 1, "/no-id")] == counters.unidentified.newest()
    assert [("POST svc:80", 1, "/post")] == counters.blocked.newest()
    assert {"_other mirrored.blocked", "_other mirrored.looped", "_other mirrored.unidentified"} == set(
        counters.losses.counts["svc"]
    )


def test_replaced_targets_hold_for_the_next_request() -> None:
    """A removed target is unknown."""
    mirror = Mirror()
    mirror.app.replace([])
    mirror.app.take_whole(head(), b"")
    assert MirrorCounts(received=1, blocked=1) == mirror.counters.mirrored[UNKNOWN_TARGET]
