"""Test the bytes that v2 receives, and the observation of every kind of response."""

from __future__ import annotations

import asyncio
import gzip
import socket
import struct
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec
import pytest

from shadowdiff.compare import Limits, compare
from shadowdiff.intake.counters import Disposition
from shadowdiff.model import Candidate, Control, Failure, HostPolicy, Observation, Pair, Result, Side, Target
from shadowdiff.model.secret import Secret
from shadowdiff.model.sent import Edits
from shadowdiff.rules import compile_rules, parse_rules
from tests.integration.intake.scripted import Intake, get, intake, target, until, v2

if TYPE_CHECKING:
    from shadowdiff.model import Headers

Respond = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def answering(response: bytes, heard: list[bytes] | None = None, *, close: bool = True) -> Respond:
    """Return a v2 that sends the same bytes for every request, and records the requests."""

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
    """Return the only observation of a scripted v2."""
    async with v2(script) as port, intake(target(port, **settings)) as running:  # pyright: ignore[reportArgumentType]
        await running.mirrored(request or get())
        assert 1 == running.counters.mirrored["svc"][Disposition.FORWARDED]
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
    """The service neither decodes, encodes nor normalizes the path."""
    heard: list[bytes] = []
    observation = await observed(answering(OK, heard), get(path))
    sent = path.removesuffix("?")  # the server does not report an empty query
    assert sent.encode() == heard[0].split(b" ")[1]
    assert sent == observation.path


async def test_an_absolute_form_is_sent_as_a_path() -> None:
    """Only the configuration names the candidate, not the request line."""
    heard: list[bytes] = []
    await observed(answering(OK, heard), get("http://elsewhere.example:1/p?q=1"))
    assert heard[0].startswith(b"GET /p?q=1 HTTP/1.1\r\n")
    assert b"elsewhere" not in heard[0]


async def test_headers_arrive_as_sent_with_only_the_marks_added() -> None:
    """No User-Agent, Accept or Accept-Encoding of the client library is added.

    Header order and duplicates are unchanged.
    """
    heard: list[bytes] = []
    request = get("/p", "cookie: a=1", "X-Two: 2", "cookie: b=2", "baggage: k=v", "x-envoy-attempt-count: 1")
    async with v2(answering(OK, heard)) as port, intake(target(port)) as running:
        await running.mirrored(request)
    lines = heard[0].decode().split("\r\n")
    assert [
        "GET /p HTTP/1.1", "cookie: a=1", "x-two: 2", "cookie: b=2", "x-shadowdiff: 1",
        "baggage: k=v,shadowdiff=1", f"host: 127.0.0.1:{port}", "x-forwarded-host: svc:80", "", "",
    ] == lines  # fmt: skip


async def test_a_preserved_host_loses_its_suffix() -> None:
    """v2 gets the Host that the user sent. The path prefix of the URL comes before the path."""
    heard: list[bytes] = []
    async with (
        v2(answering(OK, heard)) as port,
        intake(target(port, host=HostPolicy.PRESERVE, prefix="/v2/")) as running,
    ):
        await running.mirrored(get("/p?q"))
    assert heard[0].startswith(b"GET /v2/p?q HTTP/1.1\r\n")
    assert b"\r\nhost: svc:80\r\n" in heard[0]
    assert b"x-forwarded-host" not in heard[0]


async def test_the_configured_changes_are_sent_and_never_observed() -> None:
    """v2 and the control each get their own changes. The observation has the user's path and headers."""
    secret = Secret(b"hunter2-hunter2", "${KEY}")
    heard: list[bytes] = []
    async with v2(answering(OK, heard)) as port:
        candidate = Candidate(
            url=f"http://127.0.0.1:{port}/api",
            path_prefix={"/v1": "/v2"},
            headers=Edits(set={"authorization": secret}, remove=("cookie",)),
            query=Edits(set={"key": secret}, remove=("debug",)),
        )
        control = Control(url=f"http://127.0.0.1:{port}", sample=1.0, headers=Edits(set={"x-side": Secret(b"control")}))
        shop = Target(name="svc", hosts=("svc",), candidate=candidate, control=control)
        async with intake(shop) as running:
            seen = await running.mirrored(get("/v1/p?debug=1&q=2", "cookie: a=1", "authorization: Basic dTpw"))
    sent = {head.partition(b" HTTP/1.1")[0]: head for head in heard}
    assert {b"GET /api/v2/p?q=2&key=hunter2-hunter2", b"GET /v1/p?debug=1&q=2"} == sent.keys()
    changed, other = sent[b"GET /api/v2/p?q=2&key=hunter2-hunter2"], sent[b"GET /v1/p?debug=1&q=2"]
    assert b"cookie" not in changed
    assert 1 == changed.count(b"authorization: hunter2-hunter2\r\n") == changed.count(b"authorization")
    assert b"x-side: control\r\n" in other
    assert b"authorization: Basic dTpw\r\n" in other
    assert {"/v1/p?debug=1&q=2"} == {one.path for one in seen}
    assert "hunter2" not in repr(seen)
    assert {Side.CANDIDATE: (("/v1", "/api/v2"), ("", "/api")), Side.CONTROL: ()} == {o.side: o.prefixes for o in seen}


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_is_sent_whole_with_its_own_length(*, chunked: bool) -> None:
    """v2 gets a Content-Length after chunks or `Expect: 100-continue`, and no added content type."""
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
    """Names are in lower case, values are unchanged, and the duration is measured."""
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
async def test_every_complete_response_is_kept_unchanged(
    response: bytes, method: str, status: int, body: bytes
) -> None:
    """No redirect is followed, no body is decoded, and no response counts as truncated or failed."""
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
async def test_every_broken_response_is_a_failure_with_its_cause(
    script: Respond, failure: Failure, status: int | None
) -> None:
    """The service stores the received part of the response, which never counts as complete."""
    seen = await observed(script)
    assert failure == seen.failure
    if status is not None:
        assert status == seen.status
    assert seen.truncated or not seen.status


async def hanging(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


async def test_a_v2_that_accepts_and_never_answers_times_out() -> None:
    """An example is a stopped process, for which the kernel accepts connections."""
    seen = await observed(hanging, timeout_s=0.1)
    assert (Failure.TIMEOUT, 0) == (seen.failure, seen.status)
    assert seen.duration_ms >= 90


async def test_a_v2_that_never_ends_its_body_times_out() -> None:
    """The service stores the received part of the response.

    The deadline applies to the whole exchange, not to each read.
    """
    seen = await observed(answering(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", close=False), timeout_s=0.1)
    assert (Failure.TIMEOUT, 200, b"half", 9) == (seen.failure, seen.status, seen.body, seen.body_bytes)


async def test_an_endless_body_is_cut_at_the_bound_and_the_connection_closed() -> None:
    """Memory and traffic are bounded, and the observation is truncated."""
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
        async with asyncio.timeout(60):
            await dropped.wait()


async def test_a_truncated_body_has_its_declared_size() -> None:
    """The comparison gets the size that v2 declared."""
    response = b"HTTP/1.1 200 OK\r\ncontent-length: 500000\r\n\r\n" + b"z" * 500_000
    async with v2(answering(response)) as port, intake(target(port), max_body_bytes=1000) as running:
        (seen,) = await running.mirrored(get())
    assert (1000, 500_000) == (len(seen.body), seen.body_bytes)


async def test_a_dead_v2_opens_the_breaker() -> None:
    """The breaker opens after five refusals. Every request still counts against v2."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    async with intake(target(port)) as running:
        for _ in range(8):  # one after another, because more than five at once may be refused
            await running.mirrored(get())
        assert [Failure.REFUSED] * 5 + [Failure.BREAKER_OPEN] * 3 == [o.failure for o in running.store.seen]
        assert 8 == running.counters.mirrored["svc"][Disposition.FORWARDED]


async def test_a_name_that_does_not_resolve_has_its_own_failure() -> None:
    """A typo in the candidate's URL is not a dead service."""
    wrong = Target(name="svc", hosts=("svc",), candidate=Candidate(url="http://no-such-host.invalid:1"))
    async with intake(wrong) as running:
        (seen,) = await running.mirrored(get())
    assert Failure.UNRESOLVED == seen.failure


async def test_a_closed_idle_connection_is_not_a_failure() -> None:
    """A GET on a connection that v2 has just closed is sent again on a new one."""
    heard: list[bytes] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(OK)
        heard.append(await reader.readuntil(b"\r\n\r\n"))  # closes without a response

    async with v2(script) as port, intake(target(port)) as running:
        await running.mirrored(get())
        await running.mirrored(get())
        await until(lambda: 2 == len(running.store.seen), "both observed")
    assert [None, None] == [seen.failure for seen in running.store.seen]
    assert 3 == len(heard)


async def test_a_request_on_a_new_connection_is_never_sent_again() -> None:
    """v2 may have processed the request before it closed the connection, so it is a failure."""
    heard: list[bytes] = []
    seen = await observed(answering(b"", heard))
    assert (Failure.RESET, 1) == (seen.failure, len(heard))


async def test_connections_are_reused_after_a_response_with_a_clear_end() -> None:
    """The connection is also reused after HEAD, chunks, and interim responses."""
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
async def test_bytes_after_a_response_never_become_part_of_the_next(surplus: bytes) -> None:
    """The connection is closed, and the next request uses a new one."""
    async with v2(answering(OK + surplus, close=False)) as port, intake(target(port)) as running:
        await running.mirrored(get())
        await running.mirrored(get())
        seen = running.store.seen
    assert [200, 200] == [observation.status for observation in seen]
    assert b"ok" == seen[1].body
    assert [None] == [seen[1].failure]


async def test_a_response_before_the_request_was_read_is_accepted() -> None:
    """v2 may reject a large body after its head. The connection is not reused."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()
        await reader.read(1)

    request = get("/", method="POST", body=b"x" * (4 << 20))
    async with v2(script) as port, intake(target(port, methods=("POST",)), max_request_bytes=8 << 20) as running:
        (observation,) = await _posted(running, request)
    assert (413, None) == (observation.status, observation.failure)


async def test_the_control_gets_the_same_request_and_the_pair_waits_for_it() -> None:
    """The control gets the marks and no pairing id. Only the candidate's observation has the request."""
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
        assert 1 == running.counters.controls["svc"][Disposition.OBSERVED]
    assert heard[0].replace(b"%d" % control_port, b"") == asked_v2[0].replace(b"%d" % port, b"")
    assert b"\r\nx-request-id: r\r\n" in heard[0]
    assert b"\r\nx-shadowdiff: 1\r\n" in heard[0]
    assert b"x-diff-id" not in heard[0]
    assert ((), "7", "/p?q") == (control.request_headers, control.id, control.path)


@pytest.mark.parametrize("policy", list(HostPolicy))
async def test_the_host_that_v2_was_sent_is_recorded(policy: HostPolicy) -> None:
    """v2 may use this host in links. The pair still has the user's host."""
    heard: list[bytes] = []
    async with v2(answering(OK, heard)) as port, intake(target(port, host=policy)) as running:
        (seen,) = await running.mirrored(get())
    sent = next(line for line in heard[0].split(b"\r\n") if line.startswith(b"host: ")).removeprefix(b"host: ")
    assert sent.decode() == seen.authority
    assert "svc:80" == seen.host


@pytest.mark.parametrize("policy", list(HostPolicy))
async def test_a_redirect_to_its_own_name_is_ignored(policy: HostPolicy) -> None:
    """An application builds the redirect from the Host that it gets."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
        host = next(line for line in lines if line.startswith(b"host: ")).removeprefix(b"host: ")
        writer.write(b"HTTP/1.1 302 Found\r\nlocation: http://%b/login\r\ncontent-length: 0\r\n\r\n" % host)
        await writer.drain()

    async with v2(script) as port, intake(target(port, host=policy)) as running:
        (seen,) = await running.mirrored(get())
    v1 = msgspec.structs.replace(
        seen,
        side=Side.PRIMARY,
        authority="",
        headers=((b"location", b"http://svc/login"), (b"content-length", b"0")),
    )
    pair = Pair(key=b"", target="svc", route="GET /", primary=v1, candidate=seen)
    assert Result.IGNORED is compare(pair, compile_rules(parse_rules([]), datetime.now(UTC)), Limits()).result


@pytest.mark.parametrize("media", ["application/grpc-web", "application/grpc-web+proto", "application/grpc-web-text"])
async def test_grpc_web_uses_http1(media: str) -> None:
    """The client uses HTTP/1.1, as a browser does."""
    heard: list[bytes] = []
    request = get("/t.Test/Get", f"content-type: {media}", method="POST", body=b"\0\0\0\0\0")
    async with v2(answering(OK, heard)) as port, intake(target(port, methods=("POST",))) as running:
        (seen,) = await running.mirrored(request)
    assert (200, None, b"ok") == (seen.status, seen.failure, seen.body)
    assert heard[0].startswith(b"POST /t.Test/Get HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("head", "fields"),
    [
        (b"HTTP/1.1 200 OK\r\nx-a: b\r\n c\r\n", ((b"x-a", b"b c"),)),
        (b"HTTP/1.1 200 OK\r\nx-a: b \r\n\t c\r\n  d\r\n", ((b"x-a", b"b \t c  d"),)),
        (b"HTTP/1.1 200 OK\nx-a: b\n", ((b"x-a", b"b"),)),
        (b"HTTP/1.1 200 OK\nx-a:\n b\n", ((b"x-a", b"b"),)),
    ],
)
async def test_unusual_heads_are_read_as_envoy_reads_them(head: bytes, fields: Headers) -> None:
    """Folded fields lose their line ends, and a line may end in LF alone."""
    end = b"\r\n" if head.endswith(b"\r\n") else b"\n"
    seen = await observed(answering(head + b"content-length: 2" + end + end + b"ok"))
    assert (200, None, b"ok", (*fields, (b"content-length", b"2"))) == (
        seen.status, seen.failure, seen.body, seen.headers,
    )  # fmt: skip


@pytest.mark.parametrize("field", [b"x: a\0b", b"x: a\x01b", b"x: a\x7fb", b" x: folded first", b"x: \r"])
async def test_a_head_that_envoy_refuses_is_malformed(field: bytes) -> None:
    """Control characters and a fold without a field are malformed. A doubled CR is never the end of the head."""
    seen = await observed(answering(b"HTTP/1.1 200 OK\r\n" + field + b"\r\ncontent-length: 2\r\n\r\nok"))
    assert Failure.MALFORMED is seen.failure


async def test_a_body_may_contain_bytes_that_a_head_may_not() -> None:
    """The service checks only the head for invalid bytes."""
    body = b"\r\r\n x\0\x01"
    seen = await observed(answering(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body))
    assert (200, None, body) == (seen.status, seen.failure, seen.body)
