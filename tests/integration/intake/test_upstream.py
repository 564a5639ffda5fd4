"""What v2 is asked, byte for byte, and what becomes of every way to answer."""

from __future__ import annotations

import asyncio
import gzip
import socket
import struct
from collections.abc import Awaitable, Callable

import pytest

from shadowdiff.model import Candidate, Control, Failure, HostPolicy, Observation, Side, Target
from tests.integration.intake.scripted import Intake, get, intake, target, until, v2

Respond = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def answering(response: bytes, heard: list[bytes] | None = None, *, close: bool = True) -> Respond:
    """Return a v2 that gives the same bytes to every request, and notes what it heard."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if heard is not None:
            heard.append(head)
        writer.write(response)
        await writer.drain()
        if not close:
            await reader.read()

    return script


OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


async def observed(script: Respond, request: bytes | None = None, **settings: float) -> Observation:
    """Return the one observation that a scripted v2 leads to."""
    async with v2(script) as port, intake(target(port, **settings)) as running:  # pyright: ignore[reportArgumentType]
        await running.mirrored(request or get())
        assert 1 == running.books.mirror_row("svc").forwarded
        (observation,) = running.store.seen
        return observation


@pytest.mark.parametrize(
    "path",
    [
        "/", "/a%2Fb", "/a%2fb/%41", "/../x/./y", "//x//y/", "/a?x=%20+%2B&y=;&y", "/a?b?c=%26", "/%00%ff",
        "/a;p=1/b:c@d", "/a'\"(){}|^`", "/+~$&,=!*", "/?", "/x?q=http://h/p",
    ],
)  # fmt: skip
async def test_path_and_query_arrive_byte_for_byte(path: str) -> None:
    """What v1 was asked is what v2 is asked: nothing is decoded, encoded or normalised."""
    heard: list[bytes] = []
    observation = await observed(answering(OK, heard), get(path))
    sent = path.removesuffix("?")  # the server gives no trace of an empty query
    assert sent.encode() == heard[0].split(b" ")[1]
    assert sent == observation.path


async def test_an_absolute_form_is_asked_by_its_path() -> None:
    """The candidate is named by configuration alone, whatever the request line says."""
    heard: list[bytes] = []
    await observed(answering(OK, heard), get("http://elsewhere.example:1/p?q=1"))
    assert heard[0].startswith(b"GET /p?q=1 HTTP/1.1\r\n")
    assert b"elsewhere" not in heard[0]


async def test_headers_arrive_as_sent_and_nothing_is_added_but_the_marks() -> None:
    """No User-Agent, Accept or Accept-Encoding of the client library; order and duplicates kept."""
    heard: list[bytes] = []
    request = get("/p", "cookie: a=1", "X-Two: 2", "cookie: b=2", "baggage: k=v", "x-envoy-attempt-count: 1")
    async with v2(answering(OK, heard)) as port, intake(target(port)) as running:
        await running.mirrored(request)
    lines = heard[0].decode().split("\r\n")
    assert [
        "GET /p HTTP/1.1", "cookie: a=1", "x-two: 2", "cookie: b=2", "x-shadowdiff: 1",
        "baggage: k=v,shadowdiff=1", f"host: 127.0.0.1:{port}", "x-forwarded-host: svc:80", "", "",
    ] == lines  # fmt: skip


async def test_a_preserved_host_has_lost_its_suffix() -> None:
    """v2 sees the Host that the user sent; and a prefix of the candidate's URL stands before the path."""
    heard: list[bytes] = []
    async with (
        v2(answering(OK, heard)) as port,
        intake(target(port, host=HostPolicy.PRESERVE, prefix="/v2/")) as running,
    ):
        await running.mirrored(get("/p?q"))
    assert heard[0].startswith(b"GET /v2/p?q HTTP/1.1\r\n")
    assert b"\r\nhost: svc:80\r\n" in heard[0]
    assert b"x-forwarded-host" not in heard[0]


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_is_sent_whole_with_its_own_length(*, chunked: bool) -> None:
    """However it came, also after `Expect: 100-continue`, v2 gets one body and no content type of our making."""
    heard: list[bytes] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        heard.append(await reader.readexactly(5))
        writer.write(OK)

    if chunked:
        request = get("/", "transfer-encoding: chunked", "expect: 100-continue", method="POST")
        request += b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
    else:
        request = get("/", method="POST", body=b"hello")
    async with v2(script) as port, intake(target(port, methods=("POST",))) as running:
        (observation,) = await _posted(running, request)
    assert b"hello" == heard[1]
    assert b"content-length: 5\r\n" in heard[0].lower()
    for absent in (b"content-type", b"transfer-encoding", b"expect"):
        assert absent not in heard[0].lower()
    assert b"hello" == observation.request_body


async def _posted(running: Intake, request: bytes) -> list[Observation]:
    reader, writer = await asyncio.open_connection("127.0.0.1", running.mirror_port)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    assert answer.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n").startswith(b"HTTP/1.1 202 ")
    await running.settled()
    return running.store.seen


async def test_response_headers_keep_order_and_duplicates() -> None:
    """Names in lower case, values as they were, duration and times measured."""
    seen = await observed(
        answering(b"HTTP/1.1 203 X\r\nSet-Cookie: a\r\nX-B:  v \r\nset-cookie: b\r\nContent-Length: 2\r\n\r\nok")
    )
    assert ((b"set-cookie", b"a"), (b"x-b", b"v"), (b"set-cookie", b"b"), (b"content-length", b"2")) == seen.headers
    assert (203, b"ok", 2, None, 1_000) == (seen.status, seen.body, seen.body_bytes, seen.failure, seen.at_ms)
    assert seen.duration_ms > 0
    assert ("7", "x-diff-id", "GET", "svc:80", Side.CANDIDATE) == (
        seen.id, seen.id_source, seen.method, seen.host, seen.side,
    )  # fmt: skip
    assert (b"host", b"svc-shadow:80") in seen.request_headers


HEAD = b"HTTP/1.1 200 OK\r\n"
GZIP = gzip.compress(b"x" * 1000)
MIB = b"y" * (1 << 20)


@pytest.mark.parametrize(
    ("response", "method", "status", "body"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", "GET", 204, b""),
        (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 99\r\n\r\n", "GET", 304, b""),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 1234\r\n\r\n", "HEAD", 200, b""),
        (HEAD + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(GZIP) + GZIP, "GET", 200, GZIP),
        (b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(MIB) + MIB, "GET", 200, MIB),
        (HEAD + b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", "GET", 200, b"abcde"),
        (b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nuntil the end", "GET", 200, b"until the end"),
        (b"HTTP/1.0 200 OK\r\n\r\nold", "GET", 200, b"old"),
        (b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + OK, "GET", 200, b"ok"),
        (b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n", "GET", 302, b""),
        (b"HTTP/1.1 500 Oops\r\ncontent-length: 1\r\n\r\n!", "GET", 500, b"!"),
        (b"HTTP/1.1 200 OK\r\nx-long: " + b"v" * 30_000 + b"\r\ncontent-length: 0\r\n\r\n", "GET", 200, b""),
    ],
    ids=["204", "304", "HEAD", "gzip", "1MiB", "chunked", "close", "1.0", "103", "302", "500", "long header"],
)  # fmt: skip
async def test_every_whole_answer_is_taken_as_it_is(response: bytes, method: str, status: int, body: bytes) -> None:
    """Nothing followed, nothing decoded, and none of these is truncated or failed."""
    seen = await observed(answering(response), get(method=method))
    assert (status, body, len(body), None) == (seen.status, seen.body, seen.body_bytes, seen.failure)


async def resetting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
    await writer.drain()
    sock: socket.socket = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.parametrize(
    ("script", "failure", "status"),
    [
        (answering(b""), Failure.RESET, 0),
        (answering(b"HTTP/1.1 200 OK\r\ncontent-le"), Failure.RESET, 0),
        (answering(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf"), Failure.RESET, 200),
        (answering(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n"), Failure.RESET, 200),
        (resetting, Failure.RESET, 200),
        (answering(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nhalf\r\n"), Failure.MALFORMED, None),
        (answering(b"SSH-2.0-OpenSSH\r\n"), Failure.MALFORMED, 0),
        (answering(b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n"), Failure.MALFORMED, 0),
        (answering(b"HTTP/1.1 200 OK\r\nx: " + b"v" * 100_000 + b"\r\n\r\n"), Failure.MALFORMED, 0),
    ],
    ids=["empty", "in headers", "in body", "in chunks", "RST", "bad chunk", "no HTTP", "bad header", "huge header"],
)
async def test_every_broken_answer_is_a_failure_with_its_cause(
    script: Respond, failure: Failure, status: int | None
) -> None:
    """What came is kept, and never looks whole."""
    seen = await observed(script)
    assert failure == seen.failure
    if status is not None:
        assert status == seen.status
    assert seen.truncated or not seen.status


async def hanging(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


async def test_a_v2_that_accepts_and_never_answers_times_out() -> None:
    """A stopped process looks so: the kernel accepts for it."""
    seen = await observed(hanging, timeout_s=0.1)
    assert (Failure.TIMEOUT, 0) == (seen.failure, seen.status)
    assert seen.duration_ms >= 90


async def test_a_v2_that_never_ends_its_body_times_out_with_what_came() -> None:
    """The deadline spans the whole exchange, not each read."""
    seen = await observed(answering(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", close=False), timeout_s=0.1)
    assert (Failure.TIMEOUT, 200, b"half", 9) == (seen.failure, seen.status, seen.body, seen.body_bytes)


async def test_an_endless_body_is_cut_at_the_bound_and_the_connection_dropped() -> None:
    """Memory and traffic are bounded, and the observation says that it is only the start."""
    dropped = asyncio.Event()

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            while True:
                writer.write(b"z" * 65_536)
                await writer.drain()
        except ConnectionError:
            dropped.set()

    async with v2(endless) as port, intake(target(port), max_body_bytes=100_000) as running:
        (seen,) = await running.mirrored(get())
        assert (b"z" * 100_000, None) == (seen.body, seen.failure)
        assert seen.truncated
        async with asyncio.timeout(5):
            await dropped.wait()


async def test_a_long_body_with_a_length_says_its_full_size() -> None:
    """The size that v2 declared is what the comparison is told."""
    response = b"HTTP/1.1 200 OK\r\ncontent-length: 500000\r\n\r\n" + b"z" * 500_000
    async with v2(answering(response)) as port, intake(target(port), max_body_bytes=1000) as running:
        (seen,) = await running.mirrored(get())
    assert (1000, 500_000) == (len(seen.body), seen.body_bytes)


async def test_a_dead_v2_is_refused_and_then_left_alone() -> None:
    """After five refusals the breaker answers, and every request still counts against v2."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    async with intake(target(port)) as running:
        for _ in range(8):  # one after another: of several at once, more than five may be refused
            await running.mirrored(get())
        assert [Failure.REFUSED] * 5 + [Failure.BREAKER_OPEN] * 3 == [o.failure for o in running.store.seen]
        assert 8 == running.books.mirror_row("svc").forwarded


async def test_a_name_that_does_not_resolve_is_told_apart() -> None:
    """A typing error in the candidate's URL is no dead service."""
    wrong = Target(name="svc", hosts=("svc",), candidate=Candidate(url="http://no-such-host.invalid:1"))
    async with intake(wrong) as running:
        (seen,) = await running.mirrored(get())
    assert Failure.UNRESOLVED == seen.failure


async def test_a_closed_idle_connection_is_not_held_against_v2() -> None:
    """A GET that meets a connection closed under it is sent once more, on a new one."""
    heard: list[bytes] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(OK)
        heard.append(await reader.readuntil(b"\r\n\r\n"))  # and closes without an answer

    async with v2(script) as port, intake(target(port)) as running:
        await running.mirrored(get())
        await running.mirrored(get())
        await until(lambda: 2 == len(running.store.seen), "both observed")
    assert [None, None] == [seen.failure for seen in running.store.seen]
    assert 3 == len(heard)


async def test_a_new_connection_that_ends_unheard_is_no_reason_to_ask_twice() -> None:
    """v2 took the request and closed: it may have worked on it, so that it is a failure and not sent again."""
    heard: list[bytes] = []
    seen = await observed(answering(b"", heard))
    assert (Failure.RESET, 1) == (seen.failure, len(heard))


async def test_connections_are_used_again_after_every_answer_whose_end_is_clear() -> None:
    """Also after HEAD, whose length speaks of a body that never comes, after chunks, and after an interim answer."""
    answers = [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 1234\r\n\r\n", "HEAD", b""),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx-sum: 7\r\n\r\n", "GET", b"a"),
        (b"HTTP/1.1 102 Wait\r\n\r\nHTTP/1.1 103 Hints\r\nlink: x\r\n\r\n" + OK, "GET", b"ok"),
        (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n", "GET", b""),
        (OK, "GET", b"ok"),
    ]
    connections = 0

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        for response, _, _ in answers:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(response)

    async with v2(script) as port, intake(target(port)) as running:
        for _, method, _ in answers:
            await running.mirrored(get(method=method))
        seen = running.store.seen
    assert [body for *_, body in answers] == [observation.body for observation in seen]
    assert [None] * len(answers) == [observation.failure for observation in seen]
    assert ((b"x-sum", b"7"),) == seen[1].trailers
    assert 1 == connections


@pytest.mark.parametrize("surplus", [b"junk", OK], ids=["junk", "a second answer"])
async def test_what_comes_after_an_answer_never_becomes_part_of_the_next(surplus: bytes) -> None:
    """A connection that says more than it was asked is closed, and the next request goes out on a new one."""
    async with v2(answering(OK + surplus, close=False)) as port, intake(target(port)) as running:
        await running.mirrored(get())
        await running.mirrored(get())
        seen = running.store.seen
    assert [200, 200] == [observation.status for observation in seen]
    assert b"ok" == seen[1].body
    assert [None] == [seen[1].failure]


async def test_an_answer_before_the_whole_request_was_read_is_taken() -> None:
    """v2 may refuse a large body from its head; its connection is not used again."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()
        await reader.read(1)

    request = get("/", method="POST", body=b"x" * (4 << 20))
    async with v2(script) as port, intake(target(port, methods=("POST",)), max_request_bytes=8 << 20) as running:
        (observation,) = await _posted(running, request)
    assert (413, None) == (observation.status, observation.failure)


async def test_the_control_is_asked_the_same_and_its_pair_waits_for_it() -> None:
    """The control sees the marks and no pairing id; only the candidate's observation carries the request."""
    heard: list[bytes] = []
    asked_v2: list[bytes] = []
    async with (
        v2(answering(OK, heard)) as control_port,
        v2(answering(OK, asked_v2)) as port,
        intake(
            target(port, control=Control(url=f"http://127.0.0.1:{control_port}", sample=1.0, timeout_s=3))
        ) as running,
    ):
        await running.mirrored(get("/p?q", "x-request-id: r"))
        (candidate,), (control,) = running.store.of(Side.CANDIDATE), running.store.of(Side.CONTROL)
        assert [3, 0] == [running.store.waits[running.store.seen.index(side)] for side in (candidate, control)]
        assert 1 == running.books.control_row("svc").observed
    assert heard[0].replace(b"%d" % control_port, b"") == asked_v2[0].replace(b"%d" % port, b"")
    assert b"\r\nx-request-id: r\r\n" in heard[0]
    assert b"\r\nx-shadowdiff: 1\r\n" in heard[0]
    assert b"x-diff-id" not in heard[0]
    assert ((), "7", "/p?q") == (control.request_headers, control.id, control.path)
