"""The mirror port acknowledges every request, and forwards or counts it."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from shadowdiff.intake import dispatch
from shadowdiff.intake.counters import ControlCounts, Disposition, MirrorCounts
from shadowdiff.model import UNKNOWN_TARGET, Candidate, Control, Failure, Side, Target
from tests.fakes.counts import all_counts
from tests.integration.intake.scripted import Intake, exchange, get, intake, target, until, v2

ONE = MirrorCounts(received=1)


async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")


async def hanging(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


def row(running: Intake, name: str = "svc") -> MirrorCounts:
    return running.counters.mirrored[name]


@pytest.mark.parametrize(
    ("request_bytes", "disposition", "name"),
    [
        (get(), "forwarded", "svc"),
        (get(method="HEAD"), "forwarded", "svc"),
        (get(method="POST", body=b"x"), "blocked", "svc"),
        (get(method="PURGE"), "blocked", "svc"),
        (get("*", method="OPTIONS"), "blocked", "svc"),
        (get("/", "upgrade: websocket", "sec-websocket-key: x"), "blocked", "svc"),
        (get(host="other-shadow:80"), "blocked", UNKNOWN_TARGET),
        (get(host="other", method="POST", body=b"x" * 3_000_000), "blocked", UNKNOWN_TARGET),
        (get("/", "x-shadowdiff: 1"), "looped", "svc"),
        (get("/", "baggage: a=b, shadowdiff=1"), "looped", "svc"),
        (get().replace(b"x-diff-id: 7", b"x-other: 7"), "unidentified", "svc"),
        (get().replace(b"x-diff-id: 7", b"x-diff-id: 8"), "sampled_out", "svc"),
        (get(body=b"x" * 2_000_000), "too_large", "svc"),
    ],
    ids=[
        "GET", "HEAD", "POST", "unknown method", "asterisk", "websocket", "unknown host", "unknown host, long body",
        "loop", "loop by baggage", "no id", "sampled out", "too large",
    ],
)  # fmt: skip
async def test_every_request_is_acknowledged_and_has_one_disposition(
    request_bytes: bytes, disposition: str, name: str
) -> None:
    """Every request gets an empty 202 and one count."""
    async with v2(answering) as port, intake(target(port, sample=0.5)) as running:
        answer = await exchange(running.mirror_port, request_bytes)
        assert answer.startswith(b"HTTP/1.1 202 Accepted\r\n")
        assert answer.endswith(b"\r\n\r\n")
        await running.settled()
        assert MirrorCounts(received=1, **{disposition: 1}) == row(running, name)
        assert (disposition == "forwarded") == bool(running.store.seen)
        assert 1 == sum(each.received for each in all_counts(running.counters))


async def test_requests_that_are_not_compared_leave_examples() -> None:
    """An operator needs the examples to find out why nothing pairs."""
    async with v2(answering) as port, intake(target(port)) as running:
        await running.mirrored(
            get("/a?secret", host="other-shadow:80"),
            get("/b", "x-shadowdiff: 1"),
            get("/c").replace(b"x-diff-id: 7\r\n", b""),
        )
        assert [("other:80", 1, "/a")] == running.counters.unknown_mirrored.newest()
        assert [("svc:80", 1, "/b")] == running.counters.loops.newest()
        assert [("svc:80", 1, "/c")] == running.counters.unidentified.newest()


@pytest.mark.parametrize("part", [b"", b"x", b"x" * 100_000])
async def test_an_aborted_upload_is_not_forwarded(part: bytes) -> None:
    """A client that disconnects early sends no complete request."""
    async with v2(answering) as port, intake(target(port, methods=("POST",))) as running:
        _, writer = await asyncio.open_connection("127.0.0.1", running.mirror_port)
        writer.write(get(method="POST", body=b"y" * 200_000)[:-200_000] + part)
        await writer.drain()
        await until(lambda: 1 == row(running).received, "received")
        writer.close()
        await until(lambda: 1 == row(running)[Disposition.ABORTED], "aborted")
        await running.settled()
        assert [] == running.store.seen
        assert 0 == running.dispatcher.held_bytes


async def test_the_reply_comes_after_the_body_and_before_v2s_response() -> None:
    """An earlier reply would truncate the copy, and a later one would hold the mesh's connection."""
    async with v2(hanging) as port, intake(target(port, methods=("POST",), timeout_s=0.5)) as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.mirror_port)
        request = get(method="POST", body=b"0123456789")
        writer.write(request[:-1])
        await until(lambda: 1 == row(running).received, "received")
        answer = asyncio.ensure_future(reader.read())
        assert not answer.done()
        writer.write(request[-1:])
        assert (await answer).startswith(b"HTTP/1.1 202 ")
        writer.close()
        assert [] == running.store.seen, "v2 has not answered yet"
        await running.settled()
        assert [Failure.TIMEOUT] == [seen.failure for seen in running.store.seen]


async def test_one_connection_carries_many_requests() -> None:
    """The mesh keeps its connections, and pipelined requests get responses in order."""
    async with v2(answering) as port, intake(target(port)) as running:
        kept = get("/").replace(b"connection: close\r\n", b"")
        answer = await exchange(running.mirror_port, kept * 4 + get("/"))
        await running.settled()
        assert 5 == answer.count(b"HTTP/1.1 202 ")
        assert 5 == row(running)[Disposition.FORWARDED]


async def test_an_upgrade_that_v1_ignores_is_an_ordinary_request() -> None:
    """Java's client offers h2c with every first request, and the offer is not forwarded."""
    async with v2(answering) as port, intake(target(port)) as running:
        request = get("/", "upgrade: h2c", "http2-settings: AAMAAABkAARAAAAAAAIAAAAA")
        await running.mirrored(request.replace(b"connection: close", b"connection: Upgrade, HTTP2-Settings, close"))
        assert MirrorCounts(received=1, forwarded=1) == row(running)


async def test_a_full_queue_is_a_failure_of_v2() -> None:
    """One request is sent, one waits too long, and the third does not fit. All three failures are stored."""
    async with (
        v2(hanging) as port,
        intake(target(port, concurrency=1, queue=1, timeout_s=0.6, queue_timeout_s=0.1)) as running,
    ):
        await running.mirrored(get("/1"), get("/2"), get("/3"))
        assert {"/1": Failure.TIMEOUT, "/2": Failure.SATURATED, "/3": Failure.SATURATED} == {
            seen.path: seen.failure for seen in running.store.seen
        }
        assert MirrorCounts(received=3, forwarded=3) == row(running)


@pytest.mark.parametrize("has_answered", [True, False])
async def test_an_overloaded_service_sheds_if_v2_answers(has_answered: bool) -> None:
    """If v2 does not respond, the failure counts against v2, however busy this service is."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"GET /first "):
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        await reader.read()

    async with (
        v2(script) as port,
        intake(target(port, concurrency=1, queue=0, timeout_s=0.6), is_busy=True) as running,
    ):
        if has_answered:
            await running.mirrored(get("/first"))
        await running.mirrored(get("/hangs"), get("/no-room"))
        failures = {seen.path: seen.failure for seen in running.store.seen}
        assert Failure.TIMEOUT == failures["/hangs"]
        assert (None if has_answered else Failure.SATURATED) == failures.get("/no-room")
        assert ({("svc", "busy"): 1} if has_answered else {}) == running.counters.shed_reasons


async def test_waiting_requests_are_sent_in_turn() -> None:
    """A queue with one place is enough to serve all requests."""
    async with v2(answering) as port, intake(target(port, concurrency=1)) as running:
        await running.mirrored(*[get(f"/{number}") for number in range(6)])
        assert [None] * 6 == [seen.failure for seen in running.store.seen]


async def test_memory_is_bounded() -> None:
    """A request that does not fit is shed with a reason, and does not count against v2."""
    async with (
        v2(hanging) as port,
        intake(target(port, timeout_s=0.3), bounds={"most_items": 2}) as running,
    ):
        await running.mirrored(get("/1"), get("/2"), get("/3"))
        assert MirrorCounts(received=3, forwarded=2, shed=1) == row(running)
        assert {("svc", "memory"): 1} == running.counters.shed_reasons


async def test_arriving_bodies_count_as_memory() -> None:
    """Slow uploads must not exceed the memory limit together."""
    async with (
        v2(answering) as port,
        intake(target(port, methods=("POST",)), bounds={"most_bytes": 300_000}) as running,
    ):
        await running.mirrored(get(method="POST", body=b"x" * 500_000))
        assert MirrorCounts(received=1, shed=1) == row(running)
        assert 0 == running.dispatcher.held_bytes


@pytest.mark.parametrize("has_room", [True, False])
async def test_a_request_that_the_store_cannot_take_is_store_lost(*, has_room: bool) -> None:
    """The store's queue is full, or the store fails later."""
    async with v2(answering) as port, intake(target(port)) as running:
        running.store.has_room = has_room
        running.store.settles = False
        await running.mirrored(get())
        assert MirrorCounts(received=1, store_lost=1) == row(running)


async def test_a_request_is_in_flight_until_the_store_confirms_it() -> None:
    """A request counts as `forwarded` only after the store has confirmed it."""
    async with v2(answering) as port, intake(target(port)) as running:
        running.store.settles = None
        await exchange(running.mirror_port, get())
        await until(lambda: bool(running.store.unsettled), "offered")
        assert MirrorCounts(received=1, in_flight=1) == row(running)
        running.store.unsettled.pop()(True)
        assert MirrorCounts(received=1, forwarded=1) == row(running)


async def test_an_error_of_the_sink_loses_one_request() -> None:
    """The lost request is counted, and the next request is processed."""
    async with v2(answering) as port, intake(target(port)) as running:
        running.store.breaks = True
        await running.mirrored(get())
        running.store.breaks = False
        await running.mirrored(get())
        assert MirrorCounts(received=2, shed=1, forwarded=1) == row(running)
        assert {("svc", "error"): 1} == running.counters.shed_reasons


async def test_new_targets_take_effect_between_two_requests() -> None:
    """Hosts, methods and the candidate change. Requests in flight use the old settings."""
    asked: list[str] = []

    def naming(name: str):  # noqa: ANN202
        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked.append(name)
            await answering(reader, writer)

        return script

    async with v2(naming("old")) as old, v2(naming("new")) as new, intake(target(old)) as running:
        await running.mirrored(get())
        other = Target(name="other", hosts=("other",), candidate=Candidate(url=f"http://127.0.0.1:{new}"))
        running.mirror.replace([target(new), other])
        await running.mirrored(get(), get(host="other"))
        running.mirror.replace([other])
        await running.mirrored(get())
        assert ["old", "new", "new"] == asked
        assert MirrorCounts(received=2, forwarded=2) == row(running)
        assert MirrorCounts(received=1, blocked=1) == row(running, UNKNOWN_TARGET)


async def test_a_client_that_half_closes_after_its_request_is_served_or_counted() -> None:
    """The client sent a complete request. Whatever the server does, the counts balance."""
    async with v2(answering) as port, intake(target(port)) as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.mirror_port)
        writer.write(get())
        writer.write_eof()
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()
        await until(lambda: 1 == row(running).received, "received")
        await running.settled()
        assert 1 == row(running)[Disposition.FORWARDED] + row(running)[Disposition.ABORTED]


async def test_lifespan_and_websockets_are_answered() -> None:
    """The application supports servers that use lifespan events and WebSockets."""
    async with v2(answering) as port, intake(target(port)) as running:
        for scope, messages, answers in (
            ("lifespan", ["lifespan.startup", "lifespan.shutdown"], ["startup.complete", "shutdown.complete"]),
            ("websocket", ["websocket.connect"], ["close"]),
        ):
            sent: list[str] = []
            waiting = iter(messages)

            async def receive() -> dict[str, str]:
                return {"type": next(waiting)}  # noqa: B023 - called within the turn

            async def send(message: dict[str, str]) -> None:
                sent.append(message["type"].partition(".")[2])  # noqa: B023 - called within the turn

            await running.mirror({"type": scope}, receive, send)  # pyright: ignore[reportArgumentType]
            assert answers == sent


async def test_a_stopped_dispatcher_leaves_its_requests_in_flight() -> None:
    """The dispatcher reports no further failures of v2, and the counts balance."""
    async with (
        v2(hanging) as port,
        intake(target(port, concurrency=1, timeout_s=0.5, queue_timeout_s=0.2)) as running,
    ):
        await exchange(running.mirror_port, get("/1"))
        await until(lambda: 1 == running.dispatcher.held_items, "out")
        reader, writer = await asyncio.open_connection("127.0.0.1", running.mirror_port)
        writer.write(get("/2"))
        await until(lambda: 2 == row(running).received, "received")
        running.dispatcher.stop()
        (queue,) = running.dispatcher.queues.values()
        assert queue.timer is None
        await reader.read()
        writer.close()
        await running.dispatcher.drained()
        running.check()
        assert ([], 0, 2) == (running.store.seen, row(running)[Disposition.FORWARDED], row(running).in_flight)


async def test_control_requests_have_their_own_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow control gets no more requests, and pairs without one do not wait for it."""
    monkeypatch.setattr(dispatch, "CONTROL_CONCURRENCY", 1)
    async with v2(hanging) as slow, v2(answering) as port:
        control = Control(url=f"http://127.0.0.1:{slow}", sample=1.0, timeout_s=0.4)
        async with intake(target(port, control=control)) as running:
            await running.mirrored(get("/1"), get("/2"))
            candidates = running.store.of(Side.CANDIDATE)
            waits = {seen.path: running.store.waits[running.store.seen.index(seen)] for seen in candidates}
            assert {"/1": 0.4, "/2": 0.0} == waits
            assert [Failure.TIMEOUT] == [seen.failure for seen in running.store.of(Side.CONTROL)]
            assert ControlCounts(received=2, observed=1, shed=1) == running.counters.controls["svc"]
            assert {("svc", "control"): 1} == running.counters.shed_reasons
