"""Test a v2 that sends hostile HTTP/2: for any frames, each call ends in time with a response or a failure."""

from __future__ import annotations

import asyncio
import random
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from hpack import Encoder
from hyperframe import frame

from shadowdiff.intake.http2 import Http2Client
from tests.integration.intake.scripted import v2

if TYPE_CHECKING:
    from collections.abc import Callable

    from shadowdiff.intake.connection import Response

QUICK, DEEP = 300, 20_000
"""Calls."""
AT_ONCE = 16
TIMEOUT_S = 2.0
MOST_BYTES = 100_000

Draw = random.Random
OPENING = frame.SettingsFrame(0).serialize() + frame.SettingsFrame(0, flags=["ACK"]).serialize()
PATH = Encoder().encode([(":path", "/shop.Shop/Get")])[2:]
"""As encoded in the head of the call."""
_FIELDS: list[list[tuple[str, str]]] = [
    [(":status", "200"), ("content-type", "application/grpc")],
    [(":status", "200"), ("grpc-status", "0")],
    [("grpc-status", "0"), ("grpc-message", "a%20b")],
    [(":status", "abc")],
    [(":status", "٣")],
    [(":status", "-1")],
    [(":status", "99999999999999999999")],
    [(":status", "100")],
    [("content-type", "application/grpc")],
    [(":status", "200"), (":status", "500")],
    [(":status", "200"), ("x", "y\r\nz: 1")],
    [(":status", "200"), ("content-length", "-5")],
    [(":status", "200"), ("content-length", "99999999999999999999")],
    [(":status", "200"), *((f"x-{number}", "v" * 50) for number in range(1_500))],
    [(":status", "200"), ("X-Upper", "1"), ("connection", "close"), ("transfer-encoding", "chunked")],
    [(":path", "/"), (":status", "200")],
    [],
]


def _headers(draw: Draw, made: Any) -> Any:
    made.data = Encoder().encode(draw.choice(_FIELDS)) if draw.random() < 0.9 else draw.randbytes(30)
    made.flags.add("END_HEADERS") if draw.random() < 0.9 else None
    return made


def _data(draw: Draw, stream: int) -> frame.Frame:
    size = draw.choice((0, 0, 5, 5, 1_000, 16_384, 16_385))
    return frame.DataFrame(stream, b"x" * size, flags=["END_STREAM"] if draw.random() < 0.3 else [])


def _settings(draw: Draw, _stream: int) -> frame.Frame:
    number, value = draw.randint(0, 9), draw.choice((0, 1, 2**31, 2**32 - 1, 16_384, 100))
    return frame.SettingsFrame(0, settings={number: value})


_FRAMES: tuple[Callable[[Draw, int], frame.Frame], ...] = (
    lambda draw, stream: _headers(draw, frame.HeadersFrame(stream)),
    lambda draw, stream: _headers(draw, frame.HeadersFrame(stream, flags=["END_STREAM"])),
    lambda draw, stream: _headers(draw, frame.ContinuationFrame(stream)),
    lambda draw, stream: _headers(draw, frame.PushPromiseFrame(stream, promised_stream_id=draw.choice((4, 2)))),
    _data,
    _data,
    _settings,
    lambda draw, stream: frame.RstStreamFrame(stream, error_code=draw.randint(0, 20)),
    lambda draw, _stream: frame.GoAwayFrame(0, draw.choice((0, 1, 2**31 - 1)), error_code=draw.randint(0, 20)),
    lambda draw, stream: frame.WindowUpdateFrame(stream, window_increment=draw.choice((1, 2**31 - 1))),
    lambda draw, _stream: frame.PingFrame(0, opaque_data=draw.randbytes(8)),
    lambda draw, stream: frame.PriorityFrame(stream, depends_on=stream, stream_weight=draw.randint(0, 255)),
)
_STREAM_AT = 5
"""Offset of the stream id in a frame; hyperframe itself would write no other number there."""


def _frame(draw: Draw) -> bytes:
    sent = bytearray(draw.choice(_FRAMES)(draw, draw.choice((1, 1, 1, 1, 3, 5, 2, 2**31 - 1))).serialize())
    if draw.random() < 0.1:
        sent[_STREAM_AT : _STREAM_AT + 4] = draw.choice((0, 1, 2, 2**31)).to_bytes(4)
    return bytes(sent)


def hostile_response(draw: Draw) -> bytes:
    """Return what v2 sends on one connection: frames, often changed or truncated, or bytes that are not HTTP/2."""
    if draw.random() < 0.05:
        return draw.choice((b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", draw.randbytes(100), b"\xff" * 1_000, b""))
    sent = b""
    if draw.random() < 0.5:
        head = Encoder().encode([(":status", draw.choice(("200", "404", "abc", "٣", "9999999")))])
        ends = draw.random() < 0.5
        sent = frame.HeadersFrame(1, head, flags=["END_HEADERS", *(["END_STREAM"] if ends else [])]).serialize()
    for _ in range(draw.choice((1, 3, 3, 10, 30))):
        sent += _frame(draw)
    if draw.random() < 0.4:
        changed = bytearray(sent)
        for _ in range(draw.randint(1, 4)):
            changed[draw.randrange(len(changed))] = draw.randrange(256)
        sent = bytes(changed)
    return sent[: draw.randrange(len(sent) + 1)] if draw.random() < 0.2 else sent


async def _call(port: int) -> Response:
    client = Http2Client(MOST_BYTES)
    try:
        until_s = asyncio.get_running_loop().time() + TIMEOUT_S
        fields = [(b"host", b"v2"), (b"content-type", b"application/grpc")]
        return await client.send(("http", "127.0.0.1", port), b"/shop.Shop/Get", fields, b"\0\0\0\0\0", until_s)
    finally:
        client.close()


@pytest.mark.parametrize(
    "calls", [QUICK, pytest.param(DEEP, marks=[pytest.mark.deep, pytest.mark.timeout(3600)])], ids=["quick", "deep"]
)
async def test_hostile_frames_give_a_response_or_a_failure_of_v2(calls: int, caplog: pytest.LogCaptureFixture) -> None:
    """No call raises an exception, hangs or exceeds its limit, and the event loop reports no error."""
    drawn = iter(range(calls))
    complaints: list[Any] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: complaints.append(context))

    async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        draw = Draw(next(answered))
        with suppress(ConnectionError):
            if draw.random() < 0.9:  # the call arrives after v2 sent its settings
                writer.write(OPENING)
                heard = b""
                while PATH not in heard and (part := await reader.read(65_536)):
                    heard += part
            writer.write(hostile_response(draw))
            if draw.random() < 0.1:
                await reader.read()  # keeps the connection open

    async def one_by_one(port: int) -> None:
        for _ in drawn:
            answer = await _call(port)
            assert answer.failure is not None or 100 <= answer.status <= 599, answer
            assert len(answer.body) <= MOST_BYTES
            seen[str(answer.failure or answer.status)] = seen.get(str(answer.failure or answer.status), 0) + 1

    answered = iter(range(calls * 8))
    seen: dict[str, int] = {}
    async with v2(answers) as port, asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(one_by_one(port))
    assert [] == complaints
    assert [] == [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert {"200", "malformed", "reset"} <= set(seen), seen
    sys.stdout.write(f"{seen}\n")
