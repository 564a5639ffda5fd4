"""Real servers under load: a Starlette application under uvicorn, a Flask one under werkzeug and wsgiref.

The same application is served bare and with the middleware. With shadowdiff well, dead, hung or slow, every
response is byte for byte the bare one's; and all of them come while shadowdiff still holds its answer back,
so that nothing waited for it.
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
    """Return one request as a client sends it."""
    body = b"what was asked" if method == "POST" else b""
    head = f"{method} {path} HTTP/1.1\r\nhost: v1.example\r\nconnection: close\r\nx-request-id: r-{number}\r\n"
    length = f"content-length: {len(body)}\r\n" if body else ""
    return f"{head}{length}\r\n".encode() + body


def response_bytes(port: int, method: str, path: str, number: int = 0) -> bytes:
    """Ask once, and return all that comes."""
    with socket.create_connection(("127.0.0.1", port), DEADLINE_S) as connection:
        connection.sendall(request_bytes(method, path, number))
        return b"".join(iter(lambda: connection.recv(65536), b""))


def ask_all(port: int, count: int) -> list[tuple[str, str, bytes]]:
    """Ask `count` times, from eight clients at once, and return what each got."""
    asked = list(itertools.islice(itertools.cycle(ASKED), count))
    with ThreadPoolExecutor(8) as clients:
        futures = [clients.submit(response_bytes, port, *one, number) for number, one in enumerate(asked)]
        return [(*one, future.result()) for one, future in zip(asked, futures, strict=True)]


def bare_answers(stack: str) -> dict[tuple[str, str], bytes]:
    """Return the application's own bytes for each request."""
    build, _, serve = STACKS[stack]
    with serve(build(Gates())) as port:
        return {one: response_bytes(port, *one) for one in ASKED}


def assert_unchanged(stack: str, answers: list[tuple[str, str, bytes]]) -> None:
    """Each answer is the bare application's, byte for byte."""
    bare = bare_answers(stack)
    assert len(set(bare.values())) >= 9, "the requests are of different kinds"
    for method, path, answer in answers:
        assert bare[method, path] == answer, (method, path)


@stacks
def test_a_healthy_shadowdiff_gets_every_answer_as_it_was(stack: str, stub: Stub, keep: Any) -> None:
    """Nothing is lost under load, and each recorded body is the one in the response."""
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
def test_a_hung_shadowdiff_changes_no_answer_and_holds_none_up(stack: str, stub: Stub, keep: Any) -> None:
    """All answers come, unchanged, while it has not answered the first post; then the books balance."""
    stub.hold()
    build, wrap, serve = STACKS[stack]
    app = keep(wrap(build(Gates()), url=stub.url, max_records=100, timeout_s=DEADLINE_S))
    with serve(app) as port:
        response_bytes(port, "GET", "/json", 1000)
        until(lambda: stub.asked, "the first post, which is never answered")
        answers = ask_all(port, 360)
        assert (1, 0) == (len(stub.asked), stub.answered)
        assert {"taken": 361, "sent": 0, "dropped": {"full": 261}, "queued": 100} == app.recorder.stats()["records"]
        stub.let_go()
    assert_unchanged(stack, answers)
    assert app.recorder.flush(20)
    assert {"taken": 361, "sent": 100, "dropped": {"full": 261}, "queued": 0} == app.recorder.stats()["records"]
    assert 100 == len(stub.records)


@stacks
def test_a_slow_shadowdiff_changes_no_answer_and_holds_none_up(stack: str, stub: Stub, keep: Any) -> None:
    """All answers come while it has answered one post of many."""
    stub.hold(let_through=1)
    build, wrap, serve = STACKS[stack]
    app = keep(wrap(build(Gates()), url=stub.url, timeout_s=DEADLINE_S))
    with serve(app) as port:
        response_bytes(port, "GET", "/json", 1000)
        until(lambda: stub.answered == 1, "the one answer")
        answers = ask_all(port, 240)
        assert 1 == stub.answered
        stub.let_go()
    assert_unchanged(stack, answers)
    assert app.recorder.flush(20)
    assert {"taken": 241, "sent": 241, "dropped": {}, "queued": 0} == app.recorder.stats()["records"]


@stacks
def test_a_dead_shadowdiff_changes_no_answer(stack: str, keep: Any) -> None:
    """Where nobody listens, all answers come unchanged and every record is accounted for."""
    build, wrap, serve = STACKS[stack]
    with socket.socket() as nobody:  # holds the port, on which it never listens, so that no other test gets it
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
    """The first part is at the client before the application makes the second."""
    gates = Gates()
    build, wrap, serve = STACKS[stack]
    app = keep(wrap(build(gates), url=stub.url))
    with serve(app) as port, socket.create_connection(("127.0.0.1", port), DEADLINE_S) as connection:
        connection.sendall(request_bytes("GET", "/held"))
        seen = b""
        while b"first" not in seen:
            part = connection.recv(65536)
            assert part, "the connection ended early"
            seen += part
        assert b"second" not in seen
        assert not gates.goes_on.is_set()
        gates.goes_on.set()
        seen += b"".join(iter(lambda: connection.recv(65536), b""))
    assert b"second" in seen
    assert app.recorder.flush(10)
    assert [b"firstsecond"] == [record["body"] for record in stub.records]


def test_the_product_is_what_both_frameworks_answer() -> None:
    """The JSON that the applications answer is real JSON of 1 to 2 KB."""
    assert 1000 < len(json.dumps(PRODUCT)) < 2000
