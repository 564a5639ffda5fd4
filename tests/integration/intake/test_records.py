"""The records port: what is taken, and every way to be refused."""

from __future__ import annotations

import asyncio
import base64
import json

import pytest

from shadowdiff.intake import records
from shadowdiff.intake.books import RecordRow
from shadowdiff.model import UNKNOWN_TARGET, Control, Side
from tests.integration.intake.scripted import exchange, intake, status_and_body, target, until

FIELDS = {
    "x-shadowdiff-id": "7a",
    "x-shadowdiff-id-source": "x-diff-id",
    "x-shadowdiff-method": "GET",
    "x-shadowdiff-path": "/p?q",
    "x-shadowdiff-host": "svc:80",
    "x-shadowdiff-status": "200",
}
LINE: dict[str, object] = {
    "id": "7a", "id_source": "x-diff-id", "method": "GET", "path": "/p?q", "host": "svc:80", "status": 200,
}  # fmt: skip


def ndjson(*lines: dict[str, object] | bytes) -> bytes:
    return b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines) + b"\n"


async def test_a_record_is_taken_with_its_body() -> None:
    """An empty 202, and the observation under its target's name."""
    async with intake(target(1)) as running:
        assert (202, b"") == await running.record({**FIELDS, "x-shadowdiff-h-etag": "e"}, b"\x00body")
        (seen,) = running.store.seen
        assert ("svc", Side.PRIMARY, b"\x00body", ((b"etag", b"e"),), 1_000) == (
            seen.target, seen.side, seen.body, seen.headers, seen.at_ms,
        )  # fmt: skip
        assert RecordRow(received=1, accepted=1) == running.books.records("svc")


@pytest.mark.parametrize(
    ("change", "expected", "name"),
    [
        ({}, RecordRow(received=1, accepted=1), "svc"),
        ({"x-shadowdiff-method": "POST"}, RecordRow(received=1, ineligible=1), "svc"),
        ({"x-shadowdiff-id": "8"}, RecordRow(received=1, sampled_out=1), "svc"),
        ({"x-shadowdiff-host": "other"}, RecordRow(received=1, ineligible=1), UNKNOWN_TARGET),
    ],
    ids=["taken", "method", "sampled out", "unknown host"],
)
async def test_what_is_not_compared_is_still_answered_202(
    change: dict[str, str], expected: RecordRow, name: str
) -> None:
    """A recorder has done nothing wrong by sending it."""
    async with intake(target(1, sample=0.5)) as running:
        assert (202, b"") == await running.record({**FIELDS, **change})
        assert expected == running.books.records(name)
        assert [("other", 1, "/p")] * (name == UNKNOWN_TARGET) == running.books.unknown_recorded.newest()
        running.check()


async def test_sides_have_rows_of_their_own() -> None:
    """A mesh can record v2 as well, and the metrics tell them apart."""
    async with intake(target(1)) as running:
        await running.record({**FIELDS, "x-shadowdiff-side": "candidate"})
        await running.record(FIELDS)
        assert 1 == running.books.record_row("svc", Side.CANDIDATE).accepted
        assert 1 == running.books.record_row("svc", Side.PRIMARY).accepted
        assert RecordRow(received=2, accepted=2) == running.books.records("svc")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"x-shadowdiff-status": "abc"}, b"x-shadowdiff-status is 'abc': it is a number from 100 to 599\n"),
        ({"x-shadowdiff-id": ""}, b"x-shadowdiff-id is missing: "),
        ({"x-shadowdiff-attempt": "x"}, b"x-shadowdiff-attempt is 'x': "),
        ({"x-shadowdiff-size": "1"}, b"x-shadowdiff-size is 1: the body alone has 4 bytes\n"),
    ],
)
async def test_a_bad_record_is_refused_in_one_line(change: dict[str, str], says: bytes) -> None:
    """400, and the line names the header; it counts with the target that its host names."""
    async with intake(target(1)) as running:
        status, body = await running.record({**FIELDS, **change}, b"body")
        assert 400 == status
        assert body.startswith(says)
        assert 1 == body.count(b"\n")
        assert RecordRow(received=1, refused=1) == running.books.records("svc")


@pytest.mark.parametrize("declares", [True, False])
async def test_a_body_beyond_the_bound_is_413(*, declares: bool) -> None:
    """Whether its length is declared or only found out."""
    async with intake(target(1)) as running:
        if declares:
            status, body = await running.record(FIELDS, b"x" * 200_000)
        else:
            lines = ["POST /record HTTP/1.1", "host: s", "transfer-encoding: chunked", "connection: close"]
            lines += [f"{name}: {value}" for name, value in FIELDS.items()]
            request = "\r\n".join(lines).encode() + b"\r\n\r\n" + (b"100\r\n" + b"x" * 256 + b"\r\n") * 8 + b"0\r\n\r\n"
            status, body = status_and_body(await exchange(running.records_port, request))
        assert (413, b"the body has more than 1000 bytes: cut it, and send x-shadowdiff-size\n") == (status, body)
        assert RecordRow(received=1, refused=1) == running.books.records("svc")


async def test_an_aborted_post_is_refused() -> None:
    """Half a body is no record."""
    async with intake(target(1)) as running:
        _, writer = await asyncio.open_connection("127.0.0.1", running.records_port)
        lines = ["POST /record HTTP/1.1", "host: s", "content-length: 500", *(f"{n}: {v}" for n, v in FIELDS.items())]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\nhalf")
        await until(lambda: 1 == running.books.records("svc").received, "received")
        writer.close()
        await until(lambda: 1 == running.books.records("svc").refused, "refused")
        running.check()


async def test_overload_is_503_and_counted() -> None:
    """The recorder is told at once, and the record is shed, not lost in silence."""
    async with intake(target(1)) as running:
        running.store.has_room = False
        status, body = await running.record(FIELDS)
        assert (503, True) == (status, body.startswith(b"the queue is full"))
        status, body = await running.record({}, ndjson(LINE), "/records")
        assert (503, True) == (status, body.startswith(b"line 1: the queue is full"))
        assert RecordRow(received=2, shed=2) == running.books.records("svc")
        assert {("svc", "records_queue"): 2} == running.books.shed_reasons


async def test_a_record_that_the_store_loses_later_is_said_so() -> None:
    """It was answered 202 when it was queued; the books tell what became of it."""
    async with intake(target(1)) as running:
        running.store.settles = None
        assert (202, b"") == await running.record(FIELDS)
        assert RecordRow(received=1, in_flight=1) == running.books.records("svc")
        running.store.unsettled.pop()(False)
        assert RecordRow(received=1, store_lost=1) == running.books.records("svc")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/record", 405), ("PUT", "/records", 405), ("POST", "/", 404), ("POST", "/record/", 404)],
)
async def test_other_methods_and_paths_are_named(method: str, path: str, status: int) -> None:
    """Nothing is counted, for nothing was recorded."""
    async with intake(target(1)) as running:
        request = f"{method} {path} HTTP/1.1\r\nhost: s\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
        answer = await exchange(running.records_port, request.encode())
        assert (status, True) == (status_and_body(answer)[0], answer.endswith(b"POST /record or POST /records\n"))
        assert (b"allow: POST" in answer) == (405 == status)
        assert not any(row.received for row in running.books.rows())


async def test_the_good_lines_of_a_batch_are_taken_and_the_bad_ones_named() -> None:
    """By number, the first being 1; blank lines are nothing."""
    async with intake(target(1)) as running:
        batch = ndjson(
            {**LINE, "body_base64": base64.b64encode(b"hi").decode(), "headers": [["A", "b"]]},
            {**LINE, "status": "x"},
            b"",
            b"{nonsense",
            {**LINE, "host": "other"},
            {**LINE, "side": "candidate"},
        )
        status, body = await running.record({}, batch, "/records")
        assert 202 == status
        assert {
            "accepted": 3,
            "refused": [
                {"line": 2, "error": "Expected `int`, got `str` - at `$.status`"},
                {"line": 4, "error": "JSON is malformed: object keys must be strings (byte 1)"},
            ],
        } == json.loads(body)
        assert [(b"hi", ((b"a", b"b"),)), (b"", ())] == [(seen.body, seen.headers) for seen in running.store.seen]
        assert RecordRow(received=3, accepted=2, refused=1) == running.books.records("svc")
        assert RecordRow(received=2, refused=1, ineligible=1) == running.books.records(UNKNOWN_TARGET)
        running.check()


@pytest.mark.parametrize(
    ("batch", "status", "says"),
    [
        (ndjson({**LINE, "id": ""}), 400, b"line 1: id is empty\n"),
        (b"\n\n", 400, b"the batch is empty: one JSON object per line\n"),
        (b"", 400, b"the batch is empty: one JSON object per line\n"),
        (ndjson(LINE) * 500, 413, b"the batch has more than 20000 bytes: send smaller ones\n"),
    ],
    ids=["all bad", "blank", "empty", "too large"],
)
async def test_a_batch_of_which_nothing_was_taken_is_refused(batch: bytes, status: int, says: bytes) -> None:
    """With one line that names what is wrong."""
    async with intake(target(1)) as running:
        assert (status, says) == await running.record({}, batch, "/records")
        running.check()


async def test_bodies_that_still_arrive_have_a_bound_together() -> None:
    """Slow senders cannot add up: what finds no room is 503, and shed."""
    async with intake(target(1)) as running:
        head = b"POST /records HTTP/1.1\r\nhost: s\r\nconnection: close\r\ncontent-length: 18000\r\n\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", running.records_port)
        writer.write(head + b"x" * 10_000)
        await until(lambda: 10_000 == running.records.reading_bytes, "half is here")
        writer.write(b"x" * 8_000)
        status, body = status_and_body(await reader.read())
        writer.close()
        assert (503, True) == (status, body.startswith(b"the queue is full"))
        assert RecordRow(received=1, shed=1) == running.books.records(UNKNOWN_TARGET)
        assert {(UNKNOWN_TARGET, "records_memory"): 1} == running.books.shed_reasons
        assert 0 == running.records.reading_bytes


async def test_long_batches_are_taken_whole() -> None:
    """Others get their turn in between, and no line is lost or doubled."""
    async with intake(target(1)) as running:
        lines = [{**LINE, "id": f"7-{number}"} for number in range(150)]
        status, body = await running.record({}, ndjson(*lines), "/records")
        assert (202, {"accepted": 150, "refused": []}) == (status, json.loads(body))
        assert [line["id"] for line in lines] == [seen.id for seen in running.store.seen]


async def test_new_targets_take_effect_between_two_records() -> None:
    """A method that becomes eligible is eligible from the next record on."""
    async with intake(target(1)) as running:
        await running.record({**FIELDS, "x-shadowdiff-method": "POST"})
        running.records.replace([target(1, methods=("POST",))])
        await running.record({**FIELDS, "x-shadowdiff-method": "POST"})
        assert RecordRow(received=2, ineligible=1, accepted=1) == running.books.records("svc")


async def test_the_answer_to_a_batch_is_bounded() -> None:
    """However many lines are wrong, the first thousand are listed and the others counted; each has its place."""
    async with intake(target(1)) as running:
        status, answer = await running.record({}, ndjson(LINE) + b"x\n" * 5_000, "/records")
        told = json.loads(answer)
        assert (202, 1, 1000, 4000) == (status, told["accepted"], len(told["refused"]), told["refused_more"])
        assert 5_000 == running.books.records(UNKNOWN_TARGET).refused
        running.check()


async def test_a_batch_of_too_many_lines_is_refused_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it is taken apart: a line of one byte takes forty in memory."""
    monkeypatch.setattr(records, "MOST_LINES", 100)
    async with intake(target(1)) as running:
        assert (413, b"the batch has more than 100 lines: send smaller ones\n") == await running.record(
            {}, b"x\n" * 101, "/records"
        )
        assert RecordRow(received=1, refused=1) == running.books.records(UNKNOWN_TARGET)


async def test_a_fault_in_taking_a_record_is_said_and_not_the_senders() -> None:
    """A 500 and a line of the log, on the fast way and on the other, and the connection ends."""
    async with intake(target(1)) as running:
        running.store.breaks = True
        assert 500 == (await running.record(FIELDS, b"x"))[0]
        assert 500 == (await running.record({}, ndjson(LINE), "/records"))[0]


async def test_a_control_that_the_service_asks_is_recorded_by_nobody() -> None:
    """Else whoever reaches the port could say that v1 differs from itself wherever v2 does."""
    asked = target(1, control=Control(url="http://127.0.0.1:1"))
    says = "side is control: the control of svc is asked by the service, and recorded by nobody\n"
    for one, status in ((asked, 400), (target(1), 202)):
        async with intake(one) as running:
            got, told = await running.record({**FIELDS, "x-shadowdiff-side": "control"}, b"x")
            assert (status, says if status == 400 else "") == (got, told.decode())
            got, told = await running.record({}, ndjson({**LINE, "side": "control"}), "/records")
            assert (status, status == 400) == (got, says in told.decode())
            assert status == 202 or 2 == running.books.records("svc").refused
            running.check()
