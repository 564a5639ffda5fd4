"""Check what the records port, the mirror port and the user receive through a real Envoy."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import ClientPayloadError, web
from mesh_world import Plan, World, mesh, until

from shadowdiff.demo.process import HOST

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

MEBIBYTE = 1 << 20
VECTORS = Path(__file__).parents[2] / "fixtures" / "sampling.json"
CASES: dict[str, tuple[int, bytes, dict[str, str]]] = {
    "small": (200, b'{"sku":"A1","price":10}', {"content-type": "application/json"}),
    "gzip": (200, gzip.compress(b'{"long":"' + b"x" * 5000 + b'"}'), {"content-encoding": "gzip"}),
    "no-content": (204, b"", {}),
    "not-found": (404, b"no such thing", {"content-type": "text/plain"}),
    "one-mebibyte": (200, bytes(range(256)) * 4096, {"content-type": "application/octet-stream"}),
    "server-error": (500, b"broken", {"content-type": "text/plain"}),
}


async def _case(request: web.Request) -> web.StreamResponse:
    status, body, headers = CASES[request.path.strip("/")]
    return web.Response(status=status, body=body or None, headers=headers)


@pytest.mark.parametrize("name", CASES)
async def test_the_recorded_body_is_the_one_the_user_got(name: str, tmp_path: Path) -> None:
    """The filter records status, body, size and path exactly, for any content coding."""
    status, body, _ = CASES[name]

    async with mesh(_case, tmp_path) as world:
        async with world.user.get(f"{world.client}/{name}?q=1&q=%20") as answer:
            got = await answer.read()
        record = (await world.stub.recorded(1))[0]

    assert (status, body) == (answer.status, got)
    assert body == record.body
    assert (str(status), str(len(body)), f"/{name}?q=1&q=%20") == tuple(map(record.header, ("status", "size", "path")))


async def test_a_head_request_is_recorded_without_a_body(tmp_path: Path) -> None:
    """The record of a HEAD response has the headers and no body."""
    async with mesh(_case, tmp_path) as world:
        async with world.user.head(f"{world.client}/small"):
            pass
        record = (await world.stub.recorded(1))[0]

    assert ("HEAD", b"", "0") == (record.header("method"), record.body, record.header("size"))
    assert "23" == record.header("h-content-length")


async def test_only_the_trace_header_of_a_request_is_recorded(tmp_path: Path) -> None:
    """The comparison span links to the trace that reached v1."""
    trace = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "x-b3-sampled": "1"}
    async with mesh(_case, tmp_path) as world:
        async with world.user.get(f"{world.client}/small", headers=trace | {"cookie": "a=1"}):
            pass
        record = (await world.stub.recorded(1))[0]

    assert trace == {
        name.removeprefix("x-shadowdiff-q-"): value
        for name, value in record.headers.items()
        if name.startswith("x-shadowdiff-q-")
    }


async def test_a_chunked_response_is_recorded_whole(tmp_path: Path) -> None:
    """The record has all chunks of the response as one body."""

    async def chunked(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        answer.enable_chunked_encoding()
        _ = await answer.prepare(request)
        for part in range(50):
            await answer.write(b"part %d;" % part)
        return answer

    async with mesh(chunked, tmp_path) as world:
        async with world.user.get(world.client) as answer:
            got = await answer.read()
        record = (await world.stub.recorded(1))[0]

    assert got == record.body
    assert got.endswith(b"part 49;")


async def test_a_body_above_the_cap_is_whole_for_the_user_and_truncated_for_the_recorder(tmp_path: Path) -> None:
    """The record has MAX bytes of the body, and the body's full size."""
    body = b"z" * (3 * MEBIBYTE + 17)

    async def large(_: web.Request) -> web.StreamResponse:
        return web.Response(body=body)

    async with mesh(large, tmp_path) as world:
        async with world.user.get(world.client) as answer:
            got = await answer.read()
        record = (await world.stub.recorded(1))[0]

    assert body == got
    assert (MEBIBYTE, str(len(body))) == (len(record.body), record.header("size"))


async def test_the_first_event_of_a_stream_is_not_held_back(tmp_path: Path) -> None:
    """The user reads the first event before v1 sends the second one."""
    first_read = asyncio.Event()

    async def events(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"content-type": "text/event-stream"})
        _ = await answer.prepare(request)
        await answer.write(b"data: 1\n\n")
        _ = await asyncio.wait_for(first_read.wait(), 20)
        await answer.write(b"data: 2\n\n")
        return answer

    async with mesh(events, tmp_path) as world:
        async with world.user.get(world.client) as answer:
            first = await asyncio.wait_for(answer.content.readany(), 10)
            assert [] == world.stub.records
            first_read.set()
            rest = await answer.read()
        record = (await world.stub.recorded(1))[0]

    assert (b"data: 1\n\n", b"data: 2\n\n") == (first, rest)
    assert b"data: 1\n\ndata: 2\n\n" == record.body


async def test_repeated_and_empty_response_headers_are_kept(tmp_path: Path) -> None:
    """The record has both Set-Cookie headers, in the original order."""

    async def cookies(_: web.Request) -> web.StreamResponse:
        answer = web.Response(text="x", headers={"x-empty": ""})
        answer.headers.add("set-cookie", "a=1; Path=/")
        answer.headers.add("set-cookie", "b=2, with a comma")
        answer.headers.add("set-cookie", "c=3")
        return answer

    async with mesh(cookies, tmp_path) as world:
        async with world.user.get(world.client):
            pass
        record = (await world.stub.recorded(1))[0]

    assert ["a=1; Path=/", "b=2, with a comma", "c=3"] == record.all("x-shadowdiff-h-set-cookie")
    assert [""] == record.all("x-shadowdiff-h-x-empty")


async def test_every_response_header_arrives(tmp_path: Path) -> None:
    """The filter records every header, whatever its name and however many headers the response has."""
    sent = {f"x-custom-{index}": f"value {index}" for index in range(80)} | {"x.dotted_name": "1", "age": "3"}

    async def many(_: web.Request) -> web.StreamResponse:
        return web.Response(text="x", headers=sent)

    async with mesh(many, tmp_path) as world:
        async with world.user.get(world.client):
            pass
        record = (await world.stub.recorded(1))[0]

    assert {name: [value] for name, value in sent.items()} == {
        name: record.all(f"x-shadowdiff-h-{name}") for name in sent
    }


async def _echo_headers(request: web.Request) -> web.StreamResponse:
    return web.json_response({name.lower(): value for name, value in request.headers.items()})


async def test_copy_and_record_have_one_fresh_id_even_if_the_caller_forges_one(tmp_path: Path) -> None:
    """The copy and the record have the same new x-diff-id and the caller's x-request-id.

    The copy's Host has a suffix.
    """
    headers = {"x-diff-id": "forged", "x-request-id": "caller-7", "host": "recommendation:8080"}

    async with mesh(_echo_headers, tmp_path) as world:
        async with world.user.get(f"{world.client}/a", headers=headers) as answer:
            seen: dict[str, Any] = json.loads(await answer.read())
        copy, record = (await world.stub.copied(1))[0], (await world.stub.recorded(1))[0]

    assert seen["x-diff-id"] == copy.headers["x-diff-id"] == record.header("id") != "forged"
    assert ("x-diff-id", "caller-7", "caller-7") == (
        record.header("id-source"), seen["x-request-id"], copy.headers["x-request-id"]
    )  # fmt: skip
    assert ("recommendation:8080", "recommendation-shadow:8080") == (record.header("host"), copy.headers["host"])
    assert ("primary", "GET", "1") == (record.header("side"), record.header("method"), record.header("attempt"))
    assert 0 <= float(record.header("duration-ms")) < 60_000


async def test_the_gateway_file_sets_one_id_on_copy_and_record(tmp_path: Path) -> None:
    """On a single listener, Envoy sets the id header before the filter reads the header."""
    async with mesh(_echo_headers, tmp_path, Plan(template="gateway.yaml")) as world:
        async with world.user.get(world.client, headers={"x-diff-id": "forged"}) as answer:
            seen: dict[str, Any] = json.loads(await answer.read())
        copy, record = (await world.stub.copied(1))[0], (await world.stub.recorded(1))[0]

    assert seen["x-diff-id"] == copy.headers["x-diff-id"] == record.header("id") != "forged"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"x-request-id": "r-1", "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
         ("x-request-id", "r-1")),
        ({"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
         ("traceparent", "0af7651916cd43dd8448eb211c80319c")),
    ],
)  # fmt: skip
async def test_without_a_diff_id_the_next_header_identifies_the_request(
    headers: dict[str, str], expected: tuple[str, str], tmp_path: Path
) -> None:
    """The filter uses the first id header that the request has.

    In a traceparent header, the pairing id is the trace id only.
    """
    plan = Plan(config={"stat_prefix: inbound": "stat_prefix: inbound\n                generate_request_id: false"})

    async with mesh(_echo_headers, tmp_path, plan) as world:
        async with world.user.get(world.inbound, headers=headers):
            pass
        record = (await world.stub.recorded(1))[0]

    assert expected == (record.header("id-source"), record.header("id"))


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/a", {"x-shadowdiff": "1"}),
        ("/a", {"user-agent": "kube-probe/1.31"}),
        ("/healthz", {}),
        ("/readyz?verbose", {}),
    ],
)
async def test_shadow_traffic_and_probes_are_not_recorded(path: str, headers: dict[str, str], tmp_path: Path) -> None:
    """The filter does not record shadow traffic and probes, but records the next user request."""
    async with mesh(_echo_headers, tmp_path) as world:
        async with world.user.get(world.client + path, headers=headers):
            pass
        async with world.user.get(world.client + "/healthz/of/a/user"):
            pass
        records = await world.stub.recorded(1)
        paths = [record.header("path") for record in records]

    assert ["/healthz/of/a/user"] == paths


async def test_the_response_that_the_user_got_has_the_highest_attempt(tmp_path: Path) -> None:
    """100 requests fail once, and Envoy retries them.

    For each request, the user gets the response of the last recorded attempt.
    """
    seen: dict[str, int] = {}

    async def flaky(request: web.Request) -> web.StreamResponse:
        name = request.headers["x-request-id"]
        seen[name] = seen.get(name, 0) + 1
        if seen[name] == 1 and int(request.path[1:]) % 2:
            request.transport.abort()  # pyright: ignore[reportOptionalMemberAccess]
            raise ConnectionResetError
        return web.Response(status=503 if seen[name] == 1 else 200, text=f"{request.path} attempt {seen[name]}")

    answers: dict[str, bytes] = {}
    async with mesh(flaky, tmp_path) as world:

        async def ask(number: int) -> None:
            async with world.user.get(f"{world.client}/{number}", headers={"x-request-id": str(number)}) as answer:
                answers[f"/{number}"] = await answer.read()

        for start in range(0, 100, 2):  # Envoy retries at most three requests at a time
            _ = await asyncio.gather(ask(start), ask(start + 1))
        records = await world.stub.recorded(200)
        copies = await world.stub.copied(100)

    last = {
        record.header("path"): record.body
        for record in sorted(records, key=lambda record: int(record.header("attempt")))
    }
    assert answers == last
    assert (100, 200) == (len(copies), len(records))
    assert {"1", "2"} == {record.header("attempt") for record in records}


async def test_a_response_of_the_proxy_itself_is_recorded(tmp_path: Path) -> None:
    """If v1 is unavailable, the record has the same 503 response that the user gets."""

    async def resets(request: web.Request) -> web.StreamResponse:
        request.transport.abort()  # pyright: ignore[reportOptionalMemberAccess]
        raise ConnectionResetError

    async with mesh(resets, tmp_path) as world:
        async with world.user.get(world.client) as answer:
            got = await answer.read()
        records = await world.stub.recorded(3)

    assert 503 == answer.status
    assert [("1", "503"), ("2", "503"), ("3", "503")] == [(r.header("attempt"), r.header("status")) for r in records]
    assert got == records[-1].body


async def test_an_aborted_upload_leaves_no_record_and_no_whole_copy(tmp_path: Path) -> None:
    """A partial request body closes the mirror's connection. v1 sends no response, so the filter sends no record."""

    async def swallow(request: web.Request) -> web.StreamResponse:
        _ = await request.read()
        return web.Response(text="got it")

    async with mesh(swallow, tmp_path) as world:
        host, port = world.client.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"POST /up HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n" + b"x" * 30_000)
        await writer.drain()
        await _copy_has_begun(world)
        writer.transport.abort()
        await until(lambda: world.stub.broken == 1, "the copy to break off")
        async with world.user.get(world.client + "/after"):
            pass
        records = await world.stub.recorded(1)
        copies = await world.stub.copied(1)

    assert ["/after"] == [record.header("path") for record in records]
    assert ["/after"] == [copy.path for copy in copies]


async def _copy_has_begun(world: World) -> None:
    """Wait until Envoy has sent the start of the copy to the mirror port."""
    deadline = time.monotonic() + 20
    while await world.statistic("cluster.shadowdiff_mirror.upstream_rq_total") < 1:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_a_truncated_response_of_v1_is_not_recorded(tmp_path: Path) -> None:
    """If v1 sends fewer bytes than its Content-Length, the user's response breaks and the filter records nothing."""

    async def broken(request: web.Request) -> web.StreamResponse:
        if request.path == "/fine":
            return web.Response(text="fine")
        answer = web.StreamResponse(headers={"content-length": "1000"})
        _ = await answer.prepare(request)
        await answer.write(b"only this")
        request.transport.abort()  # pyright: ignore[reportOptionalMemberAccess]
        raise ConnectionResetError

    async with mesh(broken, tmp_path) as world:
        async with world.user.get(world.client) as answer:
            with pytest.raises(ClientPayloadError):
                _ = await answer.read()
        async with world.user.get(world.client + "/fine"):
            pass
        records = await world.stub.recorded(1)

    assert ["/fine"] == [record.header("path") for record in records]


async def test_sampling_keeps_the_ids_of_the_shared_vectors(tmp_path: Path) -> None:
    """With SAMPLE at 0.1 and 0.5, the filter records exactly the ids that fixtures/sampling.json marks."""
    vectors: list[tuple[str, int, bool, bool]] = json.loads(VECTORS.read_bytes())
    sendable = [row for row in vectors if row[0].strip() == row[0] and row[0]]
    assert len(sendable) >= 30

    for share, column in (("0.1", 2), ("0.5", 3)):
        place = tmp_path / share
        place.mkdir()
        async with mesh(_echo_headers, place, Plan(lua={"local SAMPLE = 1.0": f"local SAMPLE = {share}"})) as world:
            for row in sendable:
                await _raw_get(world.inbound, row[0].encode())
            expected = {row[0].encode() for row in sendable if row[column]}
            records = await world.stub.recorded(len(expected))
            async with world.user.get(world.inbound, headers={"x-diff-id": "a"}):
                pass

        assert expected == {_raw_bytes(record.header("id")) for record in records}


async def _raw_get(url: str, name: bytes) -> None:
    """Send an id header of arbitrary bytes, which client libraries reject."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx-diff-id: " + name + b"\r\n\r\n")
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 200")


def _raw_bytes(value: str) -> bytes:
    return value.encode("utf-8", "surrogateescape")


async def test_an_unknown_cluster_loses_the_record_and_not_the_response(tmp_path: Path) -> None:
    """If a setting of the filter is wrong, Envoy logs the setting, and the user gets v1's response."""
    plan = Plan(lua={'local CLUSTER = "shadowdiff"': 'local CLUSTER = "mistyped"'})

    async with mesh(_case, tmp_path, plan) as world:
        async with world.user.get(f"{world.client}/small") as answer:
            got = await answer.read()
        await until(lambda: "not recorded" in world.envoy.log.read_text(), "a line in the log")

    assert CASES["small"][1] == got


async def test_trailers_are_recorded_apart_from_headers(tmp_path: Path) -> None:
    """In the record, trailers such as gRPC's status have separate names from headers."""
    options = """
      typed_extension_protocol_options:
        envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
          "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
          explicit_http_config: { http_protocol_options: { enable_trailers: true } }
"""
    head = "    - name: v1\n      connect_timeout: 1s\n"

    async with trailing() as port:
        plan = Plan(config={head: head.rstrip("\n") + options}, v1=port)
        async with mesh(_case, tmp_path, plan) as world:
            async with world.user.get(world.client) as answer:
                got = await answer.read()
            record = (await world.stub.recorded(1))[0]

    assert b"hello" == got == record.body
    assert ("0", "fine", "chunked") == (
        record.header("trailer-grpc-status"),
        record.header("trailer-grpc-message"),
        record.header("h-transfer-encoding"),
    )


@asynccontextmanager
async def trailing() -> AsyncGenerator[int]:
    """Respond to every request with a chunked body and trailers."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _ = await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n")
        writer.write(b"5\r\nhello\r\n0\r\ngrpc-status: 0\r\ngrpc-message: fine\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, HOST, 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
