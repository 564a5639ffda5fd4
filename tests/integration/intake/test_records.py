"""Test the records port: what it accepts, and every reason to reject."""

from __future__ import annotations

import asyncio
import base64
import json

import pytest

from shadowdiff.intake import records_port
from shadowdiff.intake.counters import Disposition, RecordCounts
from shadowdiff.model import UNKNOWN_TARGET, Control, Side
from tests.fakes.counts import all_counts
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


async def test_a_record_is_accepted_with_its_body() -> None:
    """The response is an empty 202, and the observation belongs to its target."""
    async with intake(target(1)) as running:
        assert (202, b"") == await running.record({**FIELDS, "x-shadowdiff-h-etag": "e"}, b"\x00body")
        (seen,) = running.store.seen
        assert ("svc", Side.PRIMARY, b"\x00body", ((b"etag", b"e"),), 1_000) == (
            seen.target, seen.side, seen.body, seen.headers, seen.at_ms,
        )  # fmt: skip
        assert RecordCounts(received=1, accepted=1) == running.counters.records("svc")


@pytest.mark.parametrize(
    ("change", "expected", "name"),
    [
        ({}, RecordCounts(received=1, accepted=1), "svc"),
        ({"x-shadowdiff-method": "POST"}, RecordCounts(received=1, ineligible=1), "svc"),
        (
            {"x-shadowdiff-method": "POST", "x-shadowdiff-path": "/search?q=1"},
            RecordCounts(received=1, accepted=1),
            "svc",
        ),
        ({"x-shadowdiff-id": "8"}, RecordCounts(received=1, sampled_out=1), "svc"),
        ({"x-shadowdiff-host": "other"}, RecordCounts(received=1, ineligible=1), UNKNOWN_TARGET),
    ],
    ids=["taken", "method", "method of this route", "sampled out", "unknown host"],
)
async def test_a_record_that_is_not_compared_gets_202(
    change: dict[str, str], expected: RecordCounts, name: str
) -> None:
    """The recorder made no mistake by sending it."""
    async with intake(target(1, sample=0.5, methods=("GET", "POST /search"))) as running:
        assert (202, b"") == await running.record({**FIELDS, **change})
        assert expected == running.counters.records(name)
        assert [("other", 1, "/p")] * (name == UNKNOWN_TARGET) == running.counters.unknown_recorded.newest()
        running.check()


async def test_each_side_has_its_own_counts() -> None:
    """A mesh can also record v2, and the metrics distinguish the sides."""
    async with intake(target(1)) as running:
        await running.record({**FIELDS, "x-shadowdiff-side": "candidate"})
        await running.record(FIELDS)
        assert 1 == running.counters.recorded["svc", Side.CANDIDATE][Disposition.ACCEPTED]
        assert 1 == running.counters.recorded["svc", Side.PRIMARY][Disposition.ACCEPTED]
        assert RecordCounts(received=2, accepted=2) == running.counters.records("svc")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"x-shadowdiff-status": "abc"}, b"x-shadowdiff-status is 'abc': use a number from 100 to 599\n"),
        ({"x-shadowdiff-id": ""}, b"x-shadowdiff-id is missing: "),
        ({"x-shadowdiff-attempt": "x"}, b"x-shadowdiff-attempt is 'x': "),
        ({"x-shadowdiff-size": "1"}, b"x-shadowdiff-size is 1, but the body has 4 bytes: send the body's full size\n"),
    ],
)
async def test_a_bad_record_is_refused_in_one_line(change: dict[str, str], says: bytes) -> None:
    """The 400 names the header, and counts for the target of the host."""
    async with intake(target(1)) as running:
        status, body = await running.record({**FIELDS, **change}, b"body")
        assert 400 == status
        assert body.startswith(says)
        assert 1 == body.count(b"\n")
        assert RecordCounts(received=1, refused=1) == running.counters.records("svc")


@pytest.mark.parametrize("declares", [True, False])
async def test_a_body_beyond_the_bound_is_413(*, declares: bool) -> None:
    """The limit applies with and without a declared length."""
    async with intake(target(1)) as running:
        if declares:
            status, body = await running.record(FIELDS, b"x" * 200_000)
        else:
            lines = ["POST /record HTTP/1.1", "host: s", "transfer-encoding: chunked", "connection: close"]
            lines += [f"{name}: {value}" for name, value in FIELDS.items()]
            request = "\r\n".join(lines).encode() + b"\r\n\r\n" + (b"100\r\n" + b"x" * 256 + b"\r\n") * 8 + b"0\r\n\r\n"
            status, body = status_and_body(await exchange(running.records_port, request))
        assert (413, b"the body has more than 1000 bytes: truncate it, and send x-shadowdiff-size\n") == (status, body)
        assert RecordCounts(received=1, refused=1) == running.counters.records("svc")


async def test_an_aborted_post_is_refused() -> None:
    """An incomplete body is not a record."""
    async with intake(target(1)) as running:
        _, writer = await asyncio.open_connection("127.0.0.1", running.records_port)
        lines = ["POST /record HTTP/1.1", "host: s", "content-length: 500", *(f"{n}: {v}" for n, v in FIELDS.items())]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\nhalf")
        await until(lambda: 1 == running.counters.records("svc").received, "received")
        writer.close()
        await until(lambda: 1 == running.counters.records("svc")[Disposition.REFUSED], "refused")
        running.check()


async def test_overload_is_503_and_counted() -> None:
    """The recorder gets the reply immediately, and the record is shed."""
    async with intake(target(1)) as running:
        running.store.has_room = False
        status, body = await running.record(FIELDS)
        assert (503, True) == (status, body.startswith(b"the queue is full"))
        status, body = await running.record({}, ndjson(LINE), "/records")
        assert (503, True) == (status, body.startswith(b"line 1: the queue is full"))
        assert RecordCounts(received=2, shed=2) == running.counters.records("svc")
        assert {("svc", "records_queue"): 2} == running.counters.shed_reasons


async def test_a_record_that_the_store_loses_later_is_store_lost() -> None:
    """The record got a 202 when it was queued. The counters show the loss."""
    async with intake(target(1)) as running:
        running.store.settles = None
        assert (202, b"") == await running.record(FIELDS)
        assert RecordCounts(received=1, in_flight=1) == running.counters.records("svc")
        running.store.unsettled.pop()(False)
        assert RecordCounts(received=1, store_lost=1) == running.counters.records("svc")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/record", 405), ("PUT", "/records", 405), ("POST", "/", 404), ("POST", "/record/", 404)],
)
async def test_other_methods_and_paths_are_refused(method: str, path: str, status: int) -> None:
    """Requests with other methods or paths count nowhere, because they recorded nothing."""
    async with intake(target(1)) as running:
        request = f"{method} {path} HTTP/1.1\r\nhost: s\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
        answer = await exchange(running.records_port, request.encode())
        assert (status, True) == (status_and_body(answer)[0], answer.endswith(b"POST /record or POST /records\n"))
        assert (b"allow: POST" in answer) == (405 == status)
        assert not any(row.received for row in all_counts(running.counters))


async def test_the_good_lines_of_a_batch_are_accepted_and_the_bad_ones_listed() -> None:
    """The response lists line numbers from 1, and ignores blank lines."""
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
        assert RecordCounts(received=3, accepted=2, refused=1) == running.counters.records("svc")
        assert RecordCounts(received=2, refused=1, ineligible=1) == running.counters.records(UNKNOWN_TARGET)
        running.check()


@pytest.mark.parametrize(
    ("batch", "status", "says"),
    [
        (
            ndjson({**LINE, "id": ""}),
            400,
            b"line 1: id is missing: a record needs id, id_source, method, path, host and status\n",
        ),
        (b"\n\n", 400, b"the batch is empty: write one JSON object per line\n"),
        (b"", 400, b"the batch is empty: write one JSON object per line\n"),
        (ndjson(LINE) * 500, 413, b"the batch has more than 20000 bytes: send smaller batches\n"),
    ],
    ids=["all bad", "blank", "empty", "too large"],
)
async def test_a_batch_without_a_good_line_is_refused(batch: bytes, status: int, says: bytes) -> None:
    """The response has one line with the error."""
    async with intake(target(1)) as running:
        assert (status, says) == await running.record({}, batch, "/records")
        running.check()


async def test_arriving_bodies_have_a_common_bound() -> None:
    """A record without room gets 503 and is shed, so slow senders cannot fill the memory together."""
    async with intake(target(1)) as running:
        head = b"POST /records HTTP/1.1\r\nhost: s\r\nconnection: close\r\ncontent-length: 18000\r\n\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", running.records_port)
        writer.write(head + b"x" * 10_000)
        await until(lambda: 10_000 == running.records.reading_bytes, "half is here")
        writer.write(b"x" * 8_000)
        status, body = status_and_body(await reader.read())
        writer.close()
        assert (503, True) == (status, body.startswith(b"the queue is full"))
        assert RecordCounts(received=1, shed=1) == running.counters.records(UNKNOWN_TARGET)
        assert {(UNKNOWN_TARGET, "records_memory"): 1} == running.counters.shed_reasons
        assert 0 == running.records.reading_bytes


async def test_a_long_batch_is_accepted_whole() -> None:
    """Other tasks run while a long batch is read, and no line is lost or duplicated."""
    async with intake(target(1)) as running:
        lines = [{**LINE, "id": f"7-{number}"} for number in range(150)]
        status, body = await running.record({}, ndjson(*lines), "/records")
        assert (202, {"accepted": 150, "refused": []}) == (status, json.loads(body))
        assert [line["id"] for line in lines] == [seen.id for seen in running.store.seen]


async def test_new_targets_take_effect_between_two_records() -> None:
    """A newly configured method is accepted from the next record on."""
    async with intake(target(1)) as running:
        await running.record({**FIELDS, "x-shadowdiff-method": "POST"})
        running.records.replace([target(1, methods=("POST",))])
        await running.record({**FIELDS, "x-shadowdiff-method": "POST"})
        assert RecordCounts(received=2, ineligible=1, accepted=1) == running.counters.records("svc")


async def test_the_reply_to_a_batch_is_bounded() -> None:
    """The reply lists the first thousand wrong lines and counts the others. Each line has its disposition."""
    async with intake(target(1)) as running:
        status, answer = await running.record({}, ndjson(LINE) + b"x\n" * 5_000, "/records")
        summary = json.loads(answer)
        assert (202, 1, 1000, 4000) == (status, summary["accepted"], len(summary["refused"]), summary["refused_more"])
        assert 5_000 == running.counters.records(UNKNOWN_TARGET)[Disposition.REFUSED]
        running.check()


async def test_a_batch_of_too_many_lines_is_refused_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """The batch is rejected before it is split, because a line of one byte takes forty in memory."""
    monkeypatch.setattr(records_port, "MOST_LINES", 100)
    async with intake(target(1)) as running:
        assert (413, b"the batch has more than 100 lines: send smaller batches\n") == await running.record(
            {}, b"x\n" * 101, "/records"
        )
        assert RecordCounts(received=1, refused=1) == running.counters.records(UNKNOWN_TARGET)


async def test_an_error_in_the_records_port_is_500() -> None:
    """The error is logged, with and without an ASGI call, and the connection closes."""
    async with intake(target(1)) as running:
        running.store.breaks = True
        assert 500 == (await running.record(FIELDS, b"x"))[0]
        assert 500 == (await running.record({}, ndjson(LINE), "/records"))[0]


async def test_a_recorded_control_is_refused_if_one_is_configured() -> None:
    """A recorder must not be able to claim that v1 differs from itself where v2 differs."""
    asked = target(1, control=Control(url="http://127.0.0.1:1"))
    says = "side is control: do not record the control of svc, because shadowdiff itself calls it\n"
    for one, status in ((asked, 400), (target(1), 202)):
        async with intake(one) as running:
            got, text = await running.record({**FIELDS, "x-shadowdiff-side": "control"}, b"x")
            assert (status, says if status == 400 else "") == (got, text.decode())
            got, text = await running.record({}, ndjson({**LINE, "side": "control"}), "/records")
            assert (status, status == 400) == (got, says in text.decode())
            assert status == 202 or 2 == running.counters.records("svc")[Disposition.REFUSED]
            running.check()
