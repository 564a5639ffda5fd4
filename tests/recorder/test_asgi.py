"""The ASGI middleware records the response, and passes the application's messages to the server unchanged."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from shadowdiff_recorder import AsgiMiddleware

from tests.recorder.apps import serve_asgi
from tests.recorder.stub import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.recorder.stub import Stub

START: dict[str, Any] = {
    "type": "http.response.start",
    "status": 201,
    "headers": [(b"Content-Type", b"text/plain"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")],
}
LAST: dict[str, Any] = {"type": "http.response.body", "body": b"two"}


def responding(*messages: dict[str, Any]) -> Any:
    """Return an application that sends the given messages."""

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        for message in messages:
            await send(message)

    return app


async def recorded(app: Any, stub: Stub, keep: Any, *args: Any, **request: Any) -> list[dict[str, Any]]:
    """Serve one request, and return the record that the stub received."""
    wrapped = keep(AsgiMiddleware(app, url=stub.url))
    await serve_asgi(wrapped, *args, **request)
    assert wrapped.recorder.flush(10)
    return stub.records


async def test_an_asgi_record_has_every_field_of_the_records_port(stub: Stub, keep: Any) -> None:
    """A record has the id, request line, host, status, side, size, attempt, duration, headers and body."""
    headers = [(b"host", b"v1.example"), (b"x-diff-id", b"D-1"), (b"x-envoy-attempt-count", b"3")]
    app = responding(START, {"type": "http.response.body", "body": b"one ", "more_body": True}, LAST)
    (record,) = await recorded(app, stub, keep, headers, method="PUT", raw_path=b"/caf%C3%A9", query=b"q=a%20b&q=")
    duration_ms = record.pop("duration_ms")
    assert 0 <= duration_ms < 10_000
    expected = {
        "id": "D-1",
        "id_source": "x-diff-id",
        "method": "PUT",
        "path": "/caf%C3%A9?q=a%20b&q=",
        "host": "v1.example",
        "status": 201,
        "side": "primary",
        "size": 7,
        "attempt": 3,
        "headers": [["content-type", "text/plain"], ["set-cookie", "a=1"], ["set-cookie", "b=2"]],
        "body_base64": "b25lIHR3bw==",
        "body": b"one two",
    }
    assert expected == record


async def test_messages_pass_unchanged(stub: Stub, keep: Any) -> None:
    """The server receives each message exactly as the application sent it, including extensions."""
    messages: list[dict[str, Any]] = [START, {"type": "http.response.debug", "info": {}}, LAST]
    wrapped = keep(AsgiMiddleware(responding(*messages), url=stub.url))
    assert messages == await serve_asgi(wrapped)


async def test_headers_that_can_be_read_once_reach_the_server(stub: Stub, keep: Any) -> None:
    """The ASGI specification allows any iterable of headers. Both the server and the record get all headers."""

    def pairs() -> Iterator[tuple[bytes, bytes]]:
        yield b"x-one", b"1"

    wrapped = keep(AsgiMiddleware(responding({**START, "headers": pairs()}, LAST), url=stub.url))
    start, _last = await serve_asgi(wrapped)
    assert [(b"x-one", b"1")] == list(start["headers"])
    assert wrapped.recorder.flush(10)
    assert [[["x-one", "1"]]] == [record["headers"] for record in stub.records]


async def test_the_record_is_made_when_the_body_ends(stub: Stub, keep: Any) -> None:
    """Background work that an application does after the response does not delay the record."""
    goes_on = asyncio.Event()

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send(START)
        await send(LAST)
        await goes_on.wait()

    wrapped = keep(AsgiMiddleware(app, url=stub.url))
    async with asyncio.TaskGroup() as group:
        group.create_task(serve_asgi(wrapped))
        await asyncio.to_thread(until, lambda: stub.records, "the record of an application that goes on")
        goes_on.set()
    assert [b"two"] == [record["body"] for record in stub.records]


@pytest.mark.parametrize(
    ("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)], ids=["head", "no-content", "not-modified"]
)
async def test_a_body_that_servers_never_send_is_not_recorded(method: str, status: int, stub: Stub, keep: Any) -> None:
    """HEAD, 204 and 304 responses have no body on the wire."""
    (record,) = await recorded(responding({**START, "status": status}, LAST), stub, keep, method=method)
    assert (status, b"", 0) == (record["status"], record["body"], record["size"])


async def test_an_application_that_raises_before_its_response_is_recorded_as_500(stub: Stub, keep: Any) -> None:
    """The server gets the application's error, and the user gets status 500."""

    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        raise RuntimeError("v1 is broken")

    wrapped = keep(AsgiMiddleware(app, url=stub.url))
    with pytest.raises(RuntimeError, match="v1 is broken"):
        await serve_asgi(wrapped)
    assert wrapped.recorder.flush(10)
    assert [(500, b"", 0)] == [(record["status"], record["body"], record["size"]) for record in stub.records]


@pytest.mark.parametrize(
    "messages", [[], [START], [START, {**LAST, "more_body": True}]], ids=["nothing", "head", "half"]
)
async def test_a_partial_response_is_not_recorded(messages: list[dict[str, Any]], stub: Stub, keep: Any) -> None:
    """If an application ends or fails during its response, the request counts as aborted."""
    wrapped = keep(AsgiMiddleware(responding(*messages), url=stub.url))
    await serve_asgi(wrapped)
    assert {"aborted": 1} == wrapped.recorder.stats()["skipped"]
    assert 0 == wrapped.recorder.stats()["records"]["taken"]


async def test_an_error_within_the_response_reaches_the_server(stub: Stub, keep: Any) -> None:
    """The server closes the connection, so there is no complete response to record."""

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send(START)
        raise RuntimeError("v1 is broken")

    wrapped = keep(AsgiMiddleware(app, url=stub.url))
    with pytest.raises(RuntimeError, match="v1 is broken"):
        await serve_asgi(wrapped)
    assert {"aborted": 1} == wrapped.recorder.stats()["skipped"]


async def test_a_disconnecting_client_cancels_the_application_and_leaves_no_record(stub: Stub, keep: Any) -> None:
    """CancelledError propagates, and the request counts as aborted."""
    started = asyncio.Event()

    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        started.set()
        await asyncio.Event().wait()

    wrapped = keep(AsgiMiddleware(app, url=stub.url))
    async with asyncio.TaskGroup() as group:
        task = group.create_task(serve_asgi(wrapped))
        await started.wait()
        task.cancel()
    assert task.cancelled()
    assert {"aborted": 1} == wrapped.recorder.stats()["skipped"]


async def test_an_error_of_send_reaches_the_application(stub: Stub, keep: Any) -> None:
    """A server may raise OSError if the client has disconnected."""
    wrapped = keep(AsgiMiddleware(responding(START, LAST), url=stub.url))

    async def send(_message: Any) -> None:
        raise OSError("client has gone")

    scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"x-request-id", b"1")]}
    with pytest.raises(OSError, match="client has gone"):
        await wrapped(scope, None, send)


async def test_a_file_that_the_server_reads_itself_is_skipped(stub: Stub, keep: Any) -> None:
    """With ASGI's pathsend extension, the body's bytes never pass through the middleware."""
    sent = {"type": "http.response.pathsend", "path": "/srv/file"}
    wrapped = keep(AsgiMiddleware(responding(START, sent), url=stub.url))
    assert [START, sent] == await serve_asgi(wrapped)
    assert {"unseen": 1} == wrapped.recorder.stats()["skipped"]


@pytest.mark.parametrize(
    ("raw_path", "path", "expected"),
    [
        (b"/a%2Fb", "/a/b", "/a%2Fb?q=1"),
        (b"/a?q=0", "/a", "/a?q=1"),
        (None, "/café x", "/caf%C3%A9%20x?q=1"),
    ],
    ids=["raw", "with-query", "decoded"],
)
async def test_the_path_is_unchanged(raw_path: bytes | None, path: str, expected: str, stub: Stub, keep: Any) -> None:
    """If the server provides the raw path, the record has this path and one query, even if the raw path has a query.

    Otherwise, the middleware encodes the decoded path again.
    """
    (record,) = await recorded(responding(START, LAST), stub, keep, raw_path=raw_path, query=b"q=1", path=path)
    assert expected == record["path"]


@pytest.mark.parametrize("kind", ["websocket", "lifespan"])
async def test_other_scopes_pass_through(kind: str, stub: Stub, keep: Any) -> None:
    """The middleware records only HTTP responses."""
    seen: list[str] = []

    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        seen.append(scope["type"])

    wrapped = keep(AsgiMiddleware(app, url=stub.url))
    await wrapped({"type": kind}, None, None)
    assert [kind] == seen
    assert {} == wrapped.recorder.stats()["skipped"]


async def test_lifespan_shutdown_flushes_the_queue(stub: Stub, keep: Any) -> None:
    """A server that a signal ends runs no exit handlers, so the lifespan shutdown flushes the queue."""
    wrapped = keep(AsgiMiddleware(responding(START, LAST), url=stub.url))
    await serve_asgi(wrapped)
    wrapped.app = responding({"type": "lifespan.shutdown.complete"})
    passed: list[str] = []

    async def send(message: Any) -> None:
        passed.append(f"{message['type']} after {len(stub.records)} record")

    await wrapped({"type": "lifespan"}, None, send)
    assert ["lifespan.shutdown.complete after 1 record"] == passed


async def test_responses_in_progress_are_bounded_together(stub: Stub, keep: Any) -> None:
    """The byte limit applies to the sum of all open streams.

    A response above the limit is dropped, and is counted when the response ends.
    """
    goes_on = asyncio.Event()

    async def stream(_scope: Any, _receive: Any, send: Any) -> None:
        await send(START)
        await send({"type": "http.response.body", "body": b"x" * 4_000, "more_body": True})
        await goes_on.wait()
        await send({"type": "http.response.body", "body": b"y"})

    wrapped = keep(AsgiMiddleware(stream, url=stub.url, max_bytes=10_000))
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(serve_asgi(wrapped)) for _ in range(5)]
        await asyncio.sleep(0)
        goes_on.set()
    assert {4_001} == {sum(len(part.get("body", b"")) for part in task.result()) for task in tasks}
    assert wrapped.recorder.flush(10)
    counts = wrapped.recorder.stats()["records"]
    assert {"taken": 5, "sent": 2, "dropped": {"full": 3}, "queued": 0} == counts
    assert wrapped.recorder.reserve(10_000), "all bytes were released"


async def test_a_stream_longer_than_the_pairing_window_is_dropped(stub: Stub, keep: Any) -> None:
    """An endless stream stops using memory when the other half of the pair has expired."""
    wrapped = keep(AsgiMiddleware(responding(START, {**LAST, "more_body": True}, LAST), url=stub.url, max_age_s=1e-9))
    await serve_asgi(wrapped)
    assert {"slow": 1} == wrapped.recorder.stats()["skipped"]
    assert wrapped.recorder.reserve(16 << 20), "all bytes were released"


async def test_a_request_without_host_gets_the_servers_own(stub: Stub, keep: Any) -> None:
    """An HTTP/1.0 request needs no Host header, but the records port requires a host."""
    wrapped = keep(AsgiMiddleware(responding(START, LAST), url=stub.url))
    scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"x-request-id", b"1")]}

    async def send(_message: Any) -> None:
        return None

    await wrapped({**scope, "server": ("10.0.0.1", 8000)}, None, send)
    assert wrapped.recorder.flush(10)
    assert ["10.0.0.1:8000"] == [record["host"] for record in stub.records]
