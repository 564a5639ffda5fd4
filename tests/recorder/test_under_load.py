"""Test the recorder under load on real servers: uvicorn (with Starlette), and werkzeug and wsgiref (with Flask).

Each server runs the same application with and without the middleware. Whether shadowdiff works, is unavailable, hangs
or is slow, every response is equal byte for byte. All responses arrive while shadowdiff delays its reply, so no
response waits for shadowdiff.
"""

from __future__ import annotations

import itertools
import json
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.recorder.frameworks import PRODUCT, STACKS, Gates
from tests.recorder.stub import DEADLINE_S, until

if TYPE_CHECKING:
    from tests.recorder.stub import Stub

PATHS = ["/json?a=%20b", "/cookies", "/nothing", "/zipped", "/large", "/stream", "/fails", "/none", "/caf%C3%A9"]
ASKED = [("GET", path) for path in PATHS] + [("HEAD", "/json"), ("POST", "/echo"), ("OPTIONS", "/json")]
stacks = pytest.mark.parametrize("stack", STACKS)


def request_bytes(method: str, path: str, number: int = 0) -> bytes:
    """Return the bytes of one request."""
    body = b"what was asked" if method == "POST" else b""
    head = f"{method} {path} HTTP/1.1\r\nhost: v1.example\r\nconnection: close\r\nx-request-id: r-{number}\r\n"
    length = f"content-length: {len(body)}\r\n" if body else ""
    return f"{head}{length}\r\n".encode() + body


def response_bytes(port: int, method: str, path: str, number: int = 0) -> bytes:
    """Send one request, and return the whole response."""
    with socket.create_connection(("127.0.0.1", port), DEADLINE_S) as connection:
        connection.sendall(request_bytes(method, path, number))
        return b"".join(iter(lambda: connection.recv(65536), b""))


def ask_all(port: int, count: int) -> list[tuple[str, str, bytes]]:
    """Send `count` requests from eight clients at once, and return each response."""
    asked = list(itertools.islice(itertools.cycle(ASKED), count))
    with ThreadPoolExecutor(8) as clients:
        futures = [clients.submit(response_bytes, port, *one, number) for number, one in enumerate(asked)]
        return [(*one, future.result()) for one, future in zip(asked, futures, strict=True)]


def bare_responses(stack: str) -> dict[tuple[str, str], bytes]:
    """Return the response to each request without the middleware."""
    build, _, serve = STACKS[stack]
    with serve(build(Gates())) as port:
        return {one: response_bytes(port, *one) for one in ASKED}


def assert_unchanged(stack: str, answers: list[tuple[str, str, bytes]]) -> None:
    """Check that each response equals the response without the middleware, byte for byte."""
    bare = bare_responses(stack)
    assert len(set(bare.values())) >= 9, "the requests are of different kinds"
    for method, path, answer in answers:
        assert bare[method, path] == answer, (method, path)


@stacks
def test_a_healthy_shadowdiff_gets_every_response_unchanged(stack: str, stub: Stub, keep: Any) -> None:
    """No record is lost under load, and each recorded body equals the response's body."""
    build, wrap, serve = STACKS[stack]
    app = keep(wrap(build(Gates()), url=stub.url))
    with serve(app) as port:
        answers = ask_all(port, 360)
    assert app.recorder.flush(20)
    assert_unchanged(stack, answers)
    assert {"taken": 360, "sent": 360, "dropped": {}, "queued": 0} == app.recorder.stats()["records"]
    by_id = {record["id"]: record for record in stub.records}
    assert len(by_id) == 360
    for number, (method, path, answer) in enumerate(answers):
        record = by_id[f"r-{number}"]
        assert record["host"] == "v1.example"
        assert (method, path) == (record["method"], record["path"])
        assert record["status"] == int(answer.split(b" ", 2)[1])
        assert record["size"] == len(record["body"])
        head, _, body = answer.partition(b"\r\n\r\n")
        if b"chunked" not in head.lower() and path != "/fails":
            assert body == record["body"], path
        if path == "/stream":
            assert b"".join(b"%d," % part for part in range(50)) == record["body"]


@stacks
def test_a_hung_shadowdiff_changes_and_delays_no_response(stack: str, stub: Stub, keep: Any) -> None:
    """All responses arrive unchanged before shadowdiff's first reply, and the counts finally balance."""
    stub.hold()
    build, wrap, serve = STACKS[stack]
    app = keep(wrap(build(Gates()), url=stub.url, max_records=100, timeout_s=DEADLINE_S))
    with serve(app) as port:
        response_bytes(port, "GET", "/json", 1000)
        until(lambda: stub.asked, "the first post, which is never answered")
        answers = ask_all(port, 360)
        assert (1, 0) == (len(stub.asked), stub.answered)
        assert {"taken": 361, "sent": 0, "dropped": {"full": 261}, "queued": 100} == app.recorder.stats()["records"]
        stub.release()
    assert_unchanged(stack, answers)
    assert app.recorder.flush(20)
    assert {"taken": 361, "sent": 100, "dropped": {"full": 261}, "queued": 0} == app.recorder.stats()["records"]
    assert 100 == len(stub.records)


@stacks
def test_a_slow_shadowdiff_changes_and_delays_no_response(stack: str, stub: Stub, keep: Any) -> None:
    """All responses arrive, although shadowdiff has replied to only one of many requests."""
    stub.hold(let_through=1)
    build, wrap, serve = STACKS[stack]
    app = keep(wrap(build(Gates()), url=stub.url, timeout_s=DEADLINE_S))
    with serve(app) as port:
        response_bytes(port, "GET", "/json", 1000)
        until(lambda: stub.answered == 1, "the one answer")
        answers = ask_all(port, 240)
        assert 1 == stub.answered
        stub.release()
    assert_unchanged(stack, answers)
    assert app.recorder.flush(20)
    assert {"taken": 241, "sent": 241, "dropped": {}, "queued": 0} == app.recorder.stats()["records"]


@stacks
def test_a_dead_shadowdiff_changes_no_response(stack: str, keep: Any) -> None:
    """If no process listens on the records port, all responses arrive unchanged, and every record is counted."""
    build, wrap, serve = STACKS[stack]
    with socket.socket() as nobody:  # reserves the port without listening, so that no other test uses the port
        nobody.bind(("127.0.0.1", 0))
        app = keep(wrap(build(Gates()), url=f"http://127.0.0.1:{nobody.getsockname()[1]}", max_records=100))
        with serve(app) as port:
            answers = ask_all(port, 240)
        assert_unchanged(stack, answers)
        app.recorder.close(0.0)
    found = app.recorder.stats()["records"]
    assert (240, 0, 240, 0) == (found["taken"], found["sent"], sum(found["dropped"].values()), found["queued"])
    assert found["dropped"].keys() <= {"full", "stopped"}


@stacks
def test_a_stream_reaches_the_user_part_by_part(stack: str, stub: Stub, keep: Any) -> None:
    """The client receives the first part before the application makes the second part."""
    gates = Gates()
    build, wrap, serve = STACKS[stack]
    app = keep(wrap(build(gates), url=stub.url))
    with serve(app) as port, socket.create_connection(("127.0.0.1", port), DEADLINE_S) as connection:
        connection.sendall(request_bytes("GET", "/held"))
        seen = b""
        while b"first" not in seen:
            part = connection.recv(65536)
            assert part, "the connection closed early"
            seen += part
        assert b"second" not in seen
        assert not gates.goes_on.is_set()
        gates.goes_on.set()
        seen += b"".join(iter(lambda: connection.recv(65536), b""))
    assert b"second" in seen
    assert app.recorder.flush(10)
    assert [b"firstsecond"] == [record["body"] for record in stub.records]


def test_both_frameworks_return_the_product() -> None:
    """Both applications respond with typical JSON of 1 to 2 KB."""
    assert 1000 < len(json.dumps(PRODUCT)) < 2000
