"""The WSGI middleware records the response, and passes the application's response to the server unchanged."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, Any
from wsgiref.util import FileWrapper
from wsgiref.validate import validator

import pytest
from shadowdiff_recorder import WsgiMiddleware

from tests.recorder.apps import environ, ignore_head, serve_wsgi

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tests.recorder.stub import Stub


def two_cookies(_environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Respond with a repeated header and two blocks."""
    head = [("Content-Type", "text/plain"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("X-Name", "Zoë")]
    start_response("201 Created", head)
    return [b"one ", b"two"]


def one_block(_environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Respond with one block, for which a server adds Content-Length."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"alone"]


def by_generator(_environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
    """Call start_response only when the server requests the first block."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"first "
    yield b""
    yield b"second"


def by_write(_environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Send a part of the response with the write() callable."""
    write = start_response("200 OK", [("Content-Type", "text/plain")])
    write(b"written ")
    return [b"returned"]


def by_tuple(_environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Return an empty body."""
    start_response("204 No Content", [])
    return ()


def by_file(given: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Respond with the server's file wrapper."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return given.get("wsgi.file_wrapper", FileWrapper)(io.BytesIO(b"from a file" * 1000), 64)


def corrected(_environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Replace the unsent head, which PEP 3333 allows for an error handler."""
    start_response("200 OK", [("Content-Type", "text/html")])
    try:
        int("gone")
    except ValueError:
        start_response("404 Not Found", [("Content-Type", "text/plain")], sys.exc_info())
    return [b"no such thing"]


def too_late(_environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
    """Try to replace a head that was sent. The server raises the application's own error."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"sent"
    try:
        int("gone")
    except ValueError:
        start_response("500 Oops", [("Content-Type", "text/plain")], sys.exc_info())


def raises(_environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Fail before the response."""
    del start_response
    raise RuntimeError("v1 is broken")


def raises_midway(_environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
    """Raise an error after a part of the response."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "10")])
    yield b"half "
    raise RuntimeError("v1 is broken")


def returns_nothing(_environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
    """Return None, like a view function without a return statement."""
    start_response("200 OK", [])


APPS = [
    two_cookies,
    one_block,
    by_generator,
    by_write,
    by_tuple,
    by_file,
    corrected,
    too_late,
    raises,
    raises_midway,
    returns_nothing,
]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize("app", APPS, ids=lambda app: app.__name__)
def test_the_bytes_on_the_wire_are_unchanged(app: Any, method: str, stub: Stub, keep: Any) -> None:
    """For every style of WSGI application, a server sends the same bytes with and without the middleware."""
    wrapped = keep(WsgiMiddleware(app, url=stub.url))
    assert serve_wsgi(app, environ(method)) == serve_wsgi(wrapped, environ(method))


@pytest.mark.parametrize("app", [two_cookies, one_block, by_generator, by_write, corrected], ids=lambda a: a.__name__)
def test_both_sides_of_the_middleware_follow_the_specification(app: Any, stub: Stub, keep: Any) -> None:
    """The standard library's WSGI validator accepts both sides of the middleware."""
    wrapped = validator(keep(WsgiMiddleware(validator(app), url=stub.url)))
    assert b"HTTP/1.1 " == serve_wsgi(wrapped, environ())[:9]


def recorded(app: Any, stub: Stub, keep: Any, request: dict[str, Any], **options: Any) -> list[dict[str, Any]]:
    """Serve one request, and return the record that the stub received."""
    wrapped = keep(WsgiMiddleware(app, url=stub.url, **options))
    serve_wsgi(wrapped, request)
    assert wrapped.recorder.flush(10)
    return stub.records


def test_a_wsgi_record_has_every_field_of_the_records_port(stub: Stub, keep: Any) -> None:
    """A record has the id, request line, host, status, side, size, attempt, duration, headers and body."""
    request = environ("GET", "/caf%C3%A9?q=a%20b&q=", HTTP_X_ENVOY_ATTEMPT_COUNT="2")
    request["RAW_URI"] = "/caf%C3%A9?q=a%20b&q="
    (record,) = recorded(two_cookies, stub, keep, request)
    duration_ms = record.pop("duration_ms")
    assert 0 <= duration_ms < 10_000
    expected = {
        "id": "req-1",
        "id_source": "x-request-id",
        "method": "GET",
        "path": "/caf%C3%A9?q=a%20b&q=",
        "host": "v1.example",
        "status": 201,
        "side": "primary",
        "size": 7,
        "attempt": 2,
        "headers": [["content-type", "text/plain"], ["set-cookie", "a=1"], ["set-cookie", "b=2"], ["x-name", "Zoë"]],
        "body_base64": "b25lIHR3bw==",
        "body": b"one two",
    }
    assert expected == record


@pytest.mark.parametrize(
    ("app", "status", "body"),
    [
        (one_block, 200, b"alone"),
        (by_generator, 200, b"first second"),
        (by_write, 200, b"written returned"),
        (by_tuple, 204, b""),
        (by_file, 200, b"from a file" * 1000),
        (corrected, 404, b"no such thing"),
        (raises, 500, b""),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_the_record_is_the_response(app: Any, status: int, body: bytes, stub: Stub, keep: Any) -> None:
    """For every style of WSGI application, the record has the right status and body.

    If the application raises an exception, a server responds with 500.
    """
    (record,) = recorded(app, stub, keep, environ())
    assert (status, body, len(body)) == (record["status"], record["body"], record["size"])


def test_a_head_request_has_no_body_in_its_record(stub: Stub, keep: Any) -> None:
    """For a HEAD request, a server drops the application's body, so the record has no body."""
    (record,) = recorded(two_cookies, stub, keep, environ("HEAD"))
    assert (201, b"", 0) == (record["status"], record["body"], record["size"])


def test_a_long_body_is_truncated_and_its_full_size_recorded(stub: Stub, keep: Any) -> None:
    """A record has at most max_body_bytes of a response's body."""
    (record,) = recorded(by_file, stub, keep, environ(), max_body_bytes=100)
    assert ((b"from a file" * 10)[:100], 11_000) == (record["body"], record["size"])


@pytest.mark.parametrize("app", [raises_midway, too_late], ids=lambda app: app.__name__)
def test_a_partial_wsgi_response_is_not_recorded(app: Any, stub: Stub, keep: Any) -> None:
    """An incomplete response counts as aborted, and the recorder sends no record."""
    wrapped = keep(WsgiMiddleware(app, url=stub.url))
    serve_wsgi(wrapped, environ())
    assert {"aborted": 1} == wrapped.recorder.stats()["skipped"]
    assert [] == stub.asked


def test_a_generator_is_closed_when_the_client_disconnects(stub: Stub, keep: Any) -> None:
    """A server that stops early calls close() on the application. There is no record."""
    closed: list[bool] = []

    def endless(_environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", [])
        try:
            while True:
                yield b"more"
        finally:
            closed.append(True)

    wrapped = keep(WsgiMiddleware(endless, url=stub.url))
    result = wrapped(environ(), ignore_head)
    assert b"more" == next(iter(result))
    result.close()
    assert [True] == closed
    assert {"aborted": 1} == wrapped.recorder.stats()["skipped"]


def test_an_error_in_close_reaches_the_server(stub: Stub, keep: Any) -> None:
    """If the application's close() raises an error, the server gets the error, and the response is still recorded."""

    class Failing:
        def __iter__(self) -> Iterator[bytes]:
            return iter([b"whole"])

        def close(self) -> None:
            raise RuntimeError("teardown")

    def app(_environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [])
        return Failing()

    wrapped = keep(WsgiMiddleware(app, url=stub.url))
    result = wrapped(environ(), ignore_head)
    assert [b"whole"] == list(result)
    with pytest.raises(RuntimeError, match="teardown"):
        result.close()
    assert wrapped.recorder.flush(10)
    assert [b"whole"] == [record["body"] for record in stub.records]


def test_the_server_gets_a_block_before_the_next_is_made(stub: Stub, keep: Any) -> None:
    """The server gets a stream block by block, because the middleware never reads ahead."""
    made: list[int] = []

    def stream(_environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", [])
        for number in range(3):
            made.append(number)
            yield b"%d" % number

    blocks = iter(keep(WsgiMiddleware(stream, url=stub.url))(environ(), ignore_head))
    seen = [(next(blocks), list(made)) for _ in range(3)]
    assert [(b"0", [0]), (b"1", [0, 1]), (b"2", [0, 1, 2])] == seen


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"HTTP_X_DIFF_ID": "d-1"}, ("d-1", "x-diff-id")),
        ({"HTTP_X_DIFF_ID": ""}, ("req-1", "x-request-id")),
        (
            {"HTTP_X_REQUEST_ID": "", "HTTP_TRACEPARENT": "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01"},
            ("4bf92f3577b34da6a3ce929d0e0e4736", "traceparent"),
        ),
    ],
)
def test_the_id_comes_from_the_first_header_present(
    more: dict[str, str], expected: tuple[str, str], stub: Stub, keep: Any
) -> None:
    """Headers have priority in the order of pairing.id_headers. In a traceparent, only the trace id counts."""
    (record,) = recorded(one_block, stub, keep, environ(**more))
    assert expected == (record["id"], record["id_source"])


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"HTTP_X_SHADOWDIFF": "1"}, "shadow"),
        ({"HTTP_X_SHADOWDIFF": ""}, "shadow"),
        ({"HTTP_X_REQUEST_ID": ""}, "unidentified"),
        ({"HTTP_X_REQUEST_ID": "x" * 257}, "unidentified"),
        ({"HTTP_X_REQUEST_ID": "", "HTTP_TRACEPARENT": "00-" + "0" * 32 + "-00f067aa0ba902b7-01"}, "unidentified"),
        ({"HTTP_USER_AGENT": "kube-probe/1.31"}, "probe"),
        ({"PATH_INFO": "/healthz"}, "probe"),
    ],
)
def test_requests_that_no_user_sent_are_skipped_and_counted(
    more: dict[str, str], reason: str, stub: Stub, keep: Any
) -> None:
    """Shadow traffic, probes, and requests that cannot be paired are skipped and counted."""
    wrapped = keep(WsgiMiddleware(one_block, url=stub.url))
    assert b"alone" == serve_wsgi(wrapped, environ(**more))[-5:]
    assert {reason: 1} == wrapped.recorder.stats()["skipped"]
    assert 0 == wrapped.recorder.stats()["records"]["taken"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"RAW_URI": "/a%2Fb?x=%20"}, "/a%2Fb?x=%20"),
        ({"REQUEST_URI": "/a%2Fb?x=%20"}, "/a%2Fb?x=%20"),
        ({"RAW_URI": "http://v1.example/a?b=http://c"}, "/a?b=http://c"),
        ({"RAW_URI": "/go?to=http://c"}, "/go?to=http://c"),
        (
            {"SCRIPT_NAME": "/app", "PATH_INFO": "/caf\u00c3\u00a9 x", "QUERY_STRING": "q=%41"},
            "/app/caf%C3%A9%20x?q=%41",
        ),
        ({"PATH_INFO": ""}, "/"),
    ],
)
def test_the_path_is_unchanged(given: dict[str, str], expected: str, stub: Stub, keep: Any) -> None:
    """The record has the raw path if the server provides it, and otherwise encodes the decoded path again."""
    (record,) = recorded(one_block, stub, keep, environ(**given))
    assert expected == record["path"]


def test_a_fault_of_the_recorder_never_reaches_the_application(stub: Stub, keep: Any) -> None:
    """If the environ is invalid, the request gets the usual response and counts as broken."""
    wrapped = keep(WsgiMiddleware(one_block, url=stub.url))
    request = environ()
    request["HTTP_X_REQUEST_ID"] = "\u20ac"  # not latin-1, so the environ violates the WSGI specification
    assert b"alone" == serve_wsgi(wrapped, request)[-5:]
    assert {"broken": 1} == wrapped.recorder.stats()["skipped"]


def test_without_a_url_the_middleware_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a URL, the middleware makes no recorder and passes requests directly to the application."""
    monkeypatch.delenv("SHADOWDIFF_RECORDS_URL", raising=False)
    wrapped = WsgiMiddleware(one_block)
    assert wrapped.recorder is None
    assert serve_wsgi(one_block, environ()) == serve_wsgi(wrapped, environ())


def test_the_address_may_come_from_the_environment(stub: Stub, keep: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """If `url` is empty, the recorder uses SHADOWDIFF_RECORDS_URL."""
    monkeypatch.setenv("SHADOWDIFF_RECORDS_URL", stub.url)
    wrapped = keep(WsgiMiddleware(one_block))
    serve_wsgi(wrapped, environ())
    assert wrapped.recorder.flush(10)
    assert [b"alone"] == [record["body"] for record in stub.records]


@pytest.mark.parametrize(
    ("url", "options", "named"),
    [
        ("shadowdiff:8081", {}, "url is 'shadowdiff:8081'"),
        ("http://shadowdiff:8081/records", {}, "url is"),
        ("http://shadowdiff:8081", {"sample": 10}, "sample is 10"),
        ("http://shadowdiff:8081", {"side": "v1"}, "side is 'v1'"),
        ("http://shadowdiff:8081", {"mirror_to": "8080"}, "mirror_to is '8080'"),
        ("http://shadowdiff:8081", {"mirror_to": "http://s:8080", "side": "candidate"}, "only v1 mirrors"),
        ("http://shadowdiff:8081", {"max_records": 0}, "max_records"),
    ],
)
def test_an_invalid_setting_is_an_error_at_start(url: str, options: dict[str, Any], named: str) -> None:
    """The error message contains the argument's name and value."""
    with pytest.raises(ValueError, match=named):
        WsgiMiddleware(one_block, url=url, **options)
