"""Without a proxy, the middleware also mirrors. It sends a copy of each safe request after the response."""

from __future__ import annotations

import io
import threading
from typing import TYPE_CHECKING, Any

import pytest
from shadowdiff_recorder import AsgiMiddleware, WsgiMiddleware

from tests.recorder.apps import environ, ignore_head, serve_asgi, serve_wsgi
from tests.recorder.stub import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.recorder.stub import Stub

HEADERS = [
    (b"host", b"v1.example:8000"),
    (b"accept", b"application/json"),
    (b"cookie", b"a=1"),
    (b"cookie", b"b=2"),
    (b"x-request-id", b"req-1"),
    (b"x-diff-id", b"forged"),
    (b"connection", b"keep-alive, X-Hop"),
    (b"x-hop", b"1"),
    (b"te", b"trailers"),
    (b"expect", b"100-continue"),
]


async def asgi_app(scope: Any, receive: Any, send: Any) -> None:
    """Read the request's body unless the path is /unread, and respond."""
    read = b""
    if scope["path"] != "/unread":
        while True:
            message = await receive()
            read += message["body"]
            if not message["more_body"]:
                break
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"v1:" + read})


def wsgi_app(given: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Read the request's body in the way that the path names, and respond."""
    stream = given["wsgi.input"]
    read = {
        "/read": lambda: stream.read(int(given["CONTENT_LENGTH"])),
        "/chunks": lambda: b"".join(iter(lambda: stream.read(4), b"")),
        "/lines": lambda: b"".join(stream.readlines()),
        "/iterated": lambda: b"".join(stream),
        "/one-line": stream.readline,
    }.get(given["PATH_INFO"], bytes)()
    start_response("200 OK", [])
    return [b"v1:" + read]


def mirrored(wrapped: Any, stub: Stub) -> Any:
    """Return the only request that the mirror port received."""
    assert wrapped.recorder.flush(10)
    (asked,) = stub.asked
    return asked


async def test_the_copy_is_the_request_with_an_id_of_its_own(stub: Stub, mirror_stub: Stub, keep: Any) -> None:
    """The copy has the same method, raw path, Host and headers, but no hop-by-hop headers and no forged id."""
    wrapped = keep(AsgiMiddleware(asgi_app, url=stub.url, mirror_to=mirror_stub.url))
    await serve_asgi(wrapped, HEADERS, raw_path=b"/caf%C3%A9", query=b"q=%20")
    asked = mirrored(wrapped, mirror_stub)
    (record,) = stub.records
    assert ("GET", "/caf%C3%A9?q=%20", b"") == (asked.method, asked.target, asked.body)
    expected = [
        ("host", "v1.example:8000"),
        ("accept", "application/json"),
        ("cookie", "a=1"),
        ("cookie", "b=2"),
        ("x-request-id", "req-1"),
        ("x-diff-id", record["id"]),
    ]
    assert expected == asked.headers
    assert ("x-diff-id", "v1.example:8000") == (record["id_source"], record["host"])
    assert record["id"] not in ("forged", "req-1", "")


def test_wsgi_mirrors_the_same(stub: Stub, mirror_stub: Stub, keep: Any) -> None:
    """The WSGI copy is rebuilt from the environ, without a Proxy header (httpoxy)."""
    wrapped = keep(WsgiMiddleware(wsgi_app, url=stub.url, mirror_to=mirror_stub.url))
    serve_wsgi(wrapped, environ(path="/a?q=1", HTTP_ACCEPT="text/plain", HTTP_PROXY="http://evil"))
    asked = mirrored(wrapped, mirror_stub)
    (record,) = stub.records
    assert ("GET", "/a?q=1") == (asked.method, asked.target)
    expected = {"host": "v1.example", "accept": "text/plain", "x-request-id": "req-1", "x-diff-id": record["id"]}
    assert expected == dict(asked.headers)


def test_each_request_has_another_id(stub: Stub, mirror_stub: Stub, keep: Any) -> None:
    """Requests with the same trace id still form separate pairs."""
    wrapped = keep(WsgiMiddleware(wsgi_app, url=stub.url, mirror_to=mirror_stub.url))
    for _ in range(20):
        serve_wsgi(wrapped, environ())
    assert wrapped.recorder.flush(10)
    mirrored_ids = [asked.header("x-diff-id") for asked in mirror_stub.asked]
    assert [record["id"] for record in stub.records] == mirrored_ids
    assert 20 == len(set(mirrored_ids))
    assert {1} == {asked.connection for asked in mirror_stub.asked}


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "PROPFIND"])
def test_unsafe_methods_are_recorded_and_not_mirrored(method: str, stub: Stub, mirror_stub: Stub, keep: Any) -> None:
    """By default, the middleware mirrors no request that could write twice."""
    wrapped = keep(WsgiMiddleware(wsgi_app, url=stub.url, mirror_to=mirror_stub.url))
    serve_wsgi(wrapped, environ(method))
    assert wrapped.recorder.flush(10)
    assert ([], [method]) == (mirror_stub.asked, [record["method"] for record in stub.records])
    assert {"mirror_method": 1} == wrapped.recorder.stats()["skipped"]


def test_a_method_of_one_route_is_mirrored_there_only(stub: Stub, mirror_stub: Stub, keep: Any) -> None:
    """Other routes with this method are recorded, and not mirrored."""
    methods = ["GET", "POST /search/{kind}"]
    wrapped = keep(WsgiMiddleware(wsgi_app, url=stub.url, mirror_to=mirror_stub.url, mirror_methods=methods))
    for path in ("/search/all", "/orders", "/search"):
        serve_wsgi(wrapped, environ("POST", path))
    assert wrapped.recorder.flush(10)
    assert (["/search/all"], 3) == ([asked.target for asked in mirror_stub.asked], len(stub.records))


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS"])
def test_other_safe_methods_are_mirrored(method: str, stub: Stub, mirror_stub: Stub, keep: Any) -> None:
    """HEAD and OPTIONS requests change no data in v2. A reply without a body ends the exchange with the mirror port."""
    wrapped = keep(WsgiMiddleware(wsgi_app, url=stub.url, mirror_to=mirror_stub.url))
    for _ in range(2):
        serve_wsgi(wrapped, environ(method))
    assert wrapped.recorder.flush(10)
    assert [(method, 1)] * 2 == [(asked.method, asked.connection) for asked in mirror_stub.asked]


@pytest.mark.parametrize("path", ["/read", "/chunks", "/lines", "/iterated"])
def test_a_body_is_mirrored_whole_however_the_application_reads_it(
    path: str, stub: Stub, mirror_stub: Stub, keep: Any
) -> None:
    """The application reads the request unchanged, and the copy has the bytes that the application read."""
    wrapped = keep(WsgiMiddleware(wsgi_app, url=stub.url, mirror_to=mirror_stub.url, mirror_methods=["POST"]))
    body = b"one\ntwo\nthree"
    answer = serve_wsgi(wrapped, environ("POST", path, CONTENT_LENGTH=str(len(body)), CONTENT_TYPE="text/x"), body)
    assert answer.endswith(b"v1:" + body)
    asked = mirrored(wrapped, mirror_stub)
    assert (body, "13", "text/x") == (asked.body, asked.header("content-length"), asked.header("content-type"))


async def test_asgi_mirrors_a_body_of_many_parts(stub: Stub, mirror_stub: Stub, keep: Any) -> None:
    """The middleware joins the parts of the body, so the copy always has a Content-Length."""
    wrapped = keep(AsgiMiddleware(asgi_app, url=stub.url, mirror_to=mirror_stub.url, mirror_methods=["PUT"]))
    headers = [(b"host", b"v1"), (b"transfer-encoding", b"chunked")]
    sent = await serve_asgi(wrapped, headers, method="PUT", body=[b"one ", b"", b"two"])
    assert b"v1:one two" == sent[-1]["body"]
    assert b"one two" == mirrored(wrapped, mirror_stub).body


@pytest.mark.parametrize(
    ("path", "max_body_bytes"), [("/one-line", 1 << 20), ("/none", 1 << 20), ("/read", 5)], ids=["part", "none", "long"]
)
def test_a_partly_read_body_is_not_mirrored(
    path: str, max_body_bytes: int, stub: Stub, mirror_stub: Stub, keep: Any
) -> None:
    """A request with an incomplete body is not mirrored, but the response is still recorded."""
    options: dict[str, Any] = {"mirror_methods": ["POST"], "max_body_bytes": max_body_bytes}
    wrapped = keep(WsgiMiddleware(wsgi_app, url=stub.url, mirror_to=mirror_stub.url, **options))
    body = b"one\ntwo\n"
    serve_wsgi(wrapped, environ("POST", path, CONTENT_LENGTH=str(len(body))), body)
    assert wrapped.recorder.flush(10)
    assert ([], 1) == (mirror_stub.asked, len(stub.records))
    assert {"mirror_body": 1} == wrapped.recorder.stats()["skipped"]
    assert wrapped.recorder.reserve(16 << 20), "all bytes were released"


async def test_asgi_does_not_mirror_an_unread_body(stub: Stub, mirror_stub: Stub, keep: Any) -> None:
    """The middleware does not read what the application leaves unread."""
    wrapped = keep(AsgiMiddleware(asgi_app, url=stub.url, mirror_to=mirror_stub.url))
    headers = [(b"host", b"v1"), (b"content-length", b"3")]
    await serve_asgi(wrapped, headers, raw_path=b"/unread", body=[b"abc"])
    assert wrapped.recorder.flush(10)
    assert ([], 1) == (mirror_stub.asked, len(stub.records))


async def test_receive_is_not_wrapped_without_a_body(stub: Stub, mirror_stub: Stub, keep: Any) -> None:
    """For a GET request, the application gets the server's own `receive`."""
    seen: list[Any] = []

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        seen.append(receive)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    async def receive() -> Any:
        raise AssertionError("nobody asks")

    async def send(_message: Any) -> None:
        return None

    wrapped = keep(AsgiMiddleware(app, url=stub.url, mirror_to=mirror_stub.url))
    await wrapped({"type": "http", "method": "GET", "path": "/", "headers": [(b"host", b"v1")]}, receive, send)
    assert [receive] == seen


def test_the_copy_is_sent_after_the_response(stub: Stub, mirror_stub: Stub, keep: Any) -> None:
    """The middleware sends the copy only after v1's response is complete. Without a response there is no copy."""

    def stream(_environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [])
        yield b"part"
        assert 0 == wrapped.recorder.stats()["mirror"]["taken"]
        yield b"part"

    wrapped = keep(WsgiMiddleware(stream, url=stub.url, mirror_to=mirror_stub.url))
    result = wrapped(environ(), ignore_head)
    assert [b"part", b"part"] == list(result)
    assert 0 == wrapped.recorder.stats()["mirror"]["taken"]
    result.close()
    assert 1 == wrapped.recorder.stats()["mirror"]["taken"]


def test_shadow_traffic_is_not_mirrored_again(stub: Stub, mirror_stub: Stub, keep: Any) -> None:
    """A request with an x-shadowdiff header is a copy, so mirroring the request would cause a loop."""
    wrapped = keep(WsgiMiddleware(wsgi_app, url=stub.url, mirror_to=mirror_stub.url))
    serve_wsgi(wrapped, environ(HTTP_X_SHADOWDIFF="1"))
    assert {"taken": 0, "sent": 0, "dropped": {}, "queued": 0} == wrapped.recorder.stats()["mirror"]
    assert {"shadow": 1} == wrapped.recorder.stats()["skipped"]


def test_a_sample_is_the_same_on_both_sides(stub: Stub, mirror_stub: Stub, keep: Any) -> None:
    """A request that is not recorded is not mirrored either."""
    wrapped = keep(WsgiMiddleware(wsgi_app, url=stub.url, mirror_to=mirror_stub.url, sample=0.5))
    for _ in range(100):
        serve_wsgi(wrapped, environ())
    assert wrapped.recorder.flush(10)
    recorded_ids = [record["id"] for record in stub.records]
    assert [asked.header("x-diff-id") for asked in mirror_stub.asked] == recorded_ids
    assert 100 - len(recorded_ids) == wrapped.recorder.stats()["skipped"]["sampled_out"]
    assert 0 < len(recorded_ids) < 100


def test_a_hung_mirror_delays_no_records(stub: Stub, mirror_stub: Stub, keep: Any) -> None:
    """Each port has its own thread and queue, and the counts of each queue balance."""
    mirror_stub.hold()
    options: dict[str, Any] = {"max_records": 10, "timeout_s": 30}
    wrapped = keep(WsgiMiddleware(wsgi_app, url=stub.url, mirror_to=mirror_stub.url, **options))
    serve_wsgi(wrapped, environ())
    until(lambda: mirror_stub.asked, "the first copy, which is never answered")
    for sent in range(2, 21):
        serve_wsgi(wrapped, environ())
        until(lambda: len(stub.records) == sent, "its record")  # noqa: B023  used within the turn
    found = wrapped.recorder.stats()
    assert 0 == mirror_stub.answered
    assert {"taken": 20, "sent": 0, "dropped": {"full": 10}, "queued": 10} == found["mirror"]
    assert 20 == found["records"]["taken"]
    mirror_stub.release()
    assert wrapped.recorder.flush(10)
    assert {"taken": 20, "sent": 10, "dropped": {"full": 10}, "queued": 0} == wrapped.recorder.stats()["mirror"]


def test_nothing_is_smuggled_into_a_copy(stub: Stub, mirror_stub: Stub, keep: Any) -> None:
    """If a server accepts a line break in a header or path, the copy is still a single request."""
    wrapped = keep(WsgiMiddleware(wsgi_app, url=stub.url, mirror_to=mirror_stub.url))
    serve_wsgi(wrapped, environ(HTTP_X_ODD="a\r\nx-diff-id: forged"))
    serve_wsgi(wrapped, environ(RAW_URI="/a HTTP/1.1\r\nhost: evil\r\n\r\nGET /b"))
    assert wrapped.recorder.flush(10)
    (asked,) = mirror_stub.asked
    assert "" == asked.header("x-odd")
    assert {"mirror_path": 1} == wrapped.recorder.stats()["skipped"]


def test_wsgi_input_passes_unknown_methods(stub: Stub, mirror_stub: Stub, keep: Any) -> None:
    """The application can still call the server's own methods of wsgi.input."""

    class Stream(io.BytesIO):
        def get_socket(self) -> str:
            return "the socket"

    seen: list[str] = []

    def app(given: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        seen.append(given["wsgi.input"].get_socket())
        start_response("200 OK", [])
        return [b""]

    wrapped = keep(WsgiMiddleware(app, url=stub.url, mirror_to=mirror_stub.url, mirror_methods=["POST"]))
    request = environ("POST", CONTENT_LENGTH="3")
    request["wsgi.input"] = Stream(b"abc")
    wrapped(request, ignore_head)
    assert ["the socket"] == seen


def test_the_threads_are_daemons(stub: Stub, mirror_stub: Stub, keep: Any) -> None:
    """The recorder's threads never keep a process running."""
    wrapped = keep(WsgiMiddleware(wsgi_app, url=stub.url, mirror_to=mirror_stub.url))
    serve_wsgi(wrapped, environ())
    ours = [thread for thread in threading.enumerate() if thread.name.startswith("shadowdiff-")]
    assert [True, True] == [thread.daemon for thread in ours]
