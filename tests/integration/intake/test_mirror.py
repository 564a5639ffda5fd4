"""The mirror port: what is acknowledged, what goes on, and where everything else is counted."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from shadowdiff.intake import dispatch
from shadowdiff.intake.books import ControlRow, MirrorRow
from shadowdiff.intake.dispatch import Bounds
from shadowdiff.model import UNKNOWN_TARGET, Candidate, Control, Failure, Side, Target
from tests.integration.intake.scripted import Intake, exchange, get, intake, target, until, v2

ONE = MirrorRow(received=1)


async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")


async def hanging(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


def row(running: Intake, name: str = "svc") -> MirrorRow:
    return running.books.mirror_row(name)


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
async def test_every_request_is_acknowledged_and_has_one_place(
    request_bytes: bytes, disposition: str, name: str
) -> None:
    """A 202 with no body whatever becomes of it, and one count in one row."""
    async with v2(answering) as port, intake(target(port, sample=0.5)) as running:
        answer = await exchange(running.mirror_port, request_bytes)
        assert answer.startswith(b"HTTP/1.1 202 Accepted\r\n")
        assert answer.endswith(b"\r\n\r\n")
        await running.settled()
        expected = MirrorRow(received=1)
        setattr(expected, disposition, 1)
        assert expected == row(running, name)
        assert (disposition == "forwarded") == bool(running.store.seen)
        assert 1 == sum(each.received for each in running.books.rows())


async def test_misfits_are_kept_as_examples() -> None:
    """What a person needs who asks why nothing pairs."""
    async with v2(answering) as port, intake(target(port)) as running:
        await running.mirrored(
            get("/a?secret", host="other-shadow:80"),
            get("/b", "x-shadowdiff: 1"),
            get("/c").replace(b"x-diff-id: 7\r\n", b""),
        )
        assert [("other:80", 1, "/a")] == running.books.unknown_mirrored.newest()
        assert [("svc:80", 1, "/b")] == running.books.loops.newest()
        assert [("svc:80", 1, "/c")] == running.books.unidentified.newest()


@pytest.mark.parametrize("part", [b"", b"x", b"x" * 100_000])
async def test_an_aborted_upload_is_no_observation(part: bytes) -> None:
    """A client that leaves in the middle gives v2 nothing to answer."""
    async with v2(answering) as port, intake(target(port, methods=("POST",))) as running:
        _, writer = await asyncio.open_connection("127.0.0.1", running.mirror_port)
        writer.write(get(method="POST", body=b"y" * 200_000)[:-200_000] + part)
        await writer.drain()
        await until(lambda: 1 == row(running).received, "received")
        writer.close()
        await until(lambda: 1 == row(running).aborted, "aborted")
        await running.settled()
        assert [] == running.store.seen
        assert 0 == running.dispatcher.held_bytes


async def test_the_answer_comes_after_the_whole_body_and_before_v2s() -> None:
    """Answering early would cut the copy, answering late would hold the mesh's connection."""
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
    """The mesh keeps its connections; pipelined requests are answered in turn."""
    async with v2(answering) as port, intake(target(port)) as running:
        kept = get("/").replace(b"connection: close\r\n", b"")
        answer = await exchange(running.mirror_port, kept * 4 + get("/"))
        await running.settled()
        assert 5 == answer.count(b"HTTP/1.1 202 ")
        assert 5 == row(running).forwarded


async def test_an_upgrade_that_v1_ignores_is_an_ordinary_request() -> None:
    """Java's client offers h2c with every first request; the offer itself stays behind."""
    async with v2(answering) as port, intake(target(port)) as running:
        request = get("/", "upgrade: h2c", "http2-settings: AAMAAABkAARAAAAAAAIAAAAA")
        await running.mirrored(request.replace(b"connection: close", b"connection: Upgrade, HTTP2-Settings, close"))
        assert MirrorRow(received=1, forwarded=1) == row(running)


async def test_a_full_lane_counts_against_v2_and_is_no_shed() -> None:
    """One is out, one waits too long, and the third finds no place: three failures, all parked."""
    async with (
        v2(hanging) as port,
        intake(target(port, concurrency=1, queue=1, timeout_s=0.6, queue_timeout_s=0.1)) as running,
    ):
        await running.mirrored(get("/1"), get("/2"), get("/3"))
        assert {"/1": Failure.TIMEOUT, "/2": Failure.SATURATED, "/3": Failure.SATURATED} == {
            seen.path: seen.failure for seen in running.store.seen
        }
        assert MirrorRow(received=3, forwarded=3) == row(running)


@pytest.mark.parametrize("has_answered", [True, False])
async def test_what_finds_no_room_while_the_service_is_busy_is_shed_where_v2_answers(has_answered: bool) -> None:
    """A v2 of which nothing is heard is blamed however busy this service is."""

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
        assert ({("svc", "busy"): 1} if has_answered else {}) == running.books.shed_reasons


async def test_what_waits_is_served_when_its_turn_comes() -> None:
    """A lane of one still serves everybody."""
    async with v2(answering) as port, intake(target(port, concurrency=1)) as running:
        await running.mirrored(*[get(f"/{number}") for number in range(6)])
        assert [None] * 6 == [seen.failure for seen in running.store.seen]


async def test_memory_is_bounded_and_what_does_not_fit_is_shed_with_its_reason() -> None:
    """This service's own bound is not held against v2."""
    async with (
        v2(hanging) as port,
        intake(target(port, timeout_s=0.3), bounds=Bounds(items=2)) as running,
    ):
        await running.mirrored(get("/1"), get("/2"), get("/3"))
        assert MirrorRow(received=3, forwarded=2, shed=1) == row(running)
        assert {("svc", "memory"): 1} == running.books.shed_reasons


async def test_bodies_being_read_count_as_memory_held() -> None:
    """Slow uploads cannot add up beyond the bound."""
    async with (
        v2(answering) as port,
        intake(target(port, methods=("POST",)), bounds=Bounds(body_bytes=300_000)) as running,
    ):
        await running.mirrored(get(method="POST", body=b"x" * 500_000))
        assert MirrorRow(received=1, shed=1) == row(running)
        assert 0 == running.dispatcher.held_bytes


@pytest.mark.parametrize("has_room", [True, False])
async def test_what_the_store_cannot_take_is_lost_and_said_so(*, has_room: bool) -> None:
    """A full queue at once, or a store that fails later: the same place in the books."""
    async with v2(answering) as port, intake(target(port)) as running:
        running.store.has_room = has_room
        running.store.settles = False
        await running.mirrored(get())
        assert MirrorRow(received=1, store_lost=1) == row(running)


async def test_until_the_store_has_answered_a_request_is_in_flight() -> None:
    """`forwarded` is counted when the store said so, and not before."""
    async with v2(answering) as port, intake(target(port)) as running:
        running.store.settles = None
        await exchange(running.mirror_port, get())
        await until(lambda: bool(running.store.unsettled), "offered")
        assert MirrorRow(received=1, in_flight=1) == row(running)
        running.store.unsettled.pop()(True)
        assert MirrorRow(received=1, forwarded=1) == row(running)


async def test_an_error_of_the_sink_costs_one_request_and_not_the_service() -> None:
    """The task's outer edge counts it, and the next request goes its way."""
    async with v2(answering) as port, intake(target(port)) as running:
        running.store.breaks = True
        await running.mirrored(get())
        running.store.breaks = False
        await running.mirrored(get())
        assert MirrorRow(received=2, shed=1, forwarded=1) == row(running)
        assert {("svc", "error"): 1} == running.books.shed_reasons


async def test_new_targets_take_effect_between_two_requests() -> None:
    """Hosts, methods and the candidate change; what is on its way keeps what it had."""
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
        assert MirrorRow(received=2, forwarded=2) == row(running)
        assert MirrorRow(received=1, blocked=1) == row(running, UNKNOWN_TARGET)


async def test_a_client_that_half_closes_after_its_request_is_served_or_counted() -> None:
    """It gave its request whole; whatever the server makes of the early end, the books balance."""
    async with v2(answering) as port, intake(target(port)) as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.mirror_port)
        writer.write(get())
        writer.write_eof()
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()
        await until(lambda: 1 == row(running).received, "received")
        await running.settled()
        assert 1 == row(running).forwarded + row(running).aborted


async def test_lifespan_and_websockets_are_answered() -> None:
    """A server that speaks them finds an application that does, too."""
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


async def test_after_a_stop_nothing_expires_and_the_books_still_balance() -> None:
    """A service that gives up draining leaves what it holds in flight, and says nothing more of v2, whatever comes."""
    async with (
        v2(hanging) as port,
        intake(target(port, concurrency=1, timeout_s=0.5, queue_timeout_s=0.01)) as running,
    ):
        await exchange(running.mirror_port, get("/1"))
        await until(lambda: 1 == running.dispatcher.held_items, "out")
        reader, writer = await asyncio.open_connection("127.0.0.1", running.mirror_port)
        writer.write(get("/2"))
        await until(lambda: 2 == row(running).received, "received")
        running.dispatcher.stop()
        (lane,) = running.dispatcher.lanes()
        assert lane.timer is None
        await reader.read()
        writer.close()
        await running.dispatcher.drained()
        running.check()
        assert ([], 0, 2) == (running.store.seen, row(running).forwarded, row(running).in_flight)


async def test_controls_have_a_bound_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow control is asked no more, and the pairs that it misses do not wait for it."""
    monkeypatch.setattr(dispatch, "CONTROL_CONCURRENCY", 1)
    async with v2(hanging) as slow, v2(answering) as port:
        control = Control(url=f"http://127.0.0.1:{slow}", sample=1.0, timeout_s=0.4)
        async with intake(target(port, control=control)) as running:
            await running.mirrored(get("/1"), get("/2"))
            candidates = running.store.of(Side.CANDIDATE)
            waits = {seen.path: running.store.waits[running.store.seen.index(seen)] for seen in candidates}
            assert {"/1": 0.4, "/2": 0.0} == waits
            assert [Failure.TIMEOUT] == [seen.failure for seen in running.store.of(Side.CONTROL)]
            assert ControlRow(received=2, observed=1, shed=1) == running.books.control_row("svc")
            assert {("svc", "control"): 1} == running.books.shed_reasons
