"""What becomes of records on their way: batches, bounds, a shadowdiff that is away, and counts that add up."""

from __future__ import annotations

import logging
import os
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest
from shadowdiff_recorder import Recorder, WsgiMiddleware

from tests.recorder.apps import environ, ignore_head
from tests.recorder.stub import Stub, StubServer, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def app(given: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer the number of bytes that the query asks for."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"x" * int(given["QUERY_STRING"] or 1)]


def ask(wrapped: WsgiMiddleware, count: int, size: int = 1) -> None:
    """Let the application answer `count` requests, in order."""
    for number in range(count):
        wrapped(environ(path=f"/?{size}", HTTP_X_REQUEST_ID=f"r-{number}"), ignore_head)


def counts(wrapped: WsgiMiddleware) -> dict[str, Any]:
    """Return the counts of records, which add up at every moment."""
    assert wrapped.recorder is not None
    found = wrapped.recorder.stats()["records"]
    assert found["taken"] == found["sent"] + sum(found["dropped"].values()) + found["queued"]
    return found


def free_port() -> int:
    """Return a port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def test_records_go_in_batches_over_one_connection(stub: Stub, keep: Any) -> None:
    """Far fewer posts than records, all on the same connection, in the order of the answers."""
    wrapped = keep(WsgiMiddleware(app, url=stub.url))
    ask(wrapped, 500)
    assert wrapped.recorder.flush(10)
    assert [f"r-{number}" for number in range(500)] == [record["id"] for record in stub.records]
    assert {1} == {asked.connection for asked in stub.asked}
    assert len(stub.asked) < 50
    assert {("POST", "/records", "application/x-ndjson")} == {
        (asked.method, asked.target, asked.header("content-type")) for asked in stub.asked
    }
    assert {"taken": 500, "sent": 500, "dropped": {}, "queued": 0} == counts(wrapped)


def test_a_batch_is_bounded_in_bytes_too(stub: Stub, keep: Any) -> None:
    """Large bodies share no post: the records port bounds what it reads."""
    wrapped = keep(WsgiMiddleware(app, url=stub.url))
    ask(wrapped, 8, size=1 << 20)
    assert wrapped.recorder.flush(20)
    assert [1] * 8 == [len(asked.records) for asked in stub.asked]


def test_a_hung_shadowdiff_costs_what_does_not_fit_and_no_more(stub: Stub, keep: Any) -> None:
    """While it holds its first answer back, the queue fills to its bound; the rest is dropped and counted."""
    stub.hold()
    wrapped = keep(WsgiMiddleware(app, url=stub.url, max_records=50, timeout_s=30))
    ask(wrapped, 1)
    until(lambda: stub.asked, "the first post")
    ask(wrapped, 200)
    assert 0 == stub.answered
    assert {"taken": 201, "sent": 0, "dropped": {"full": 151}, "queued": 50} == counts(wrapped)
    stub.let_go()
    assert wrapped.recorder.flush(10)
    assert {"taken": 201, "sent": 50, "dropped": {"full": 151}, "queued": 0} == counts(wrapped)


def test_what_is_queued_is_bounded_in_bytes(stub: Stub, keep: Any) -> None:
    """Bodies count against max_bytes, and give it back when they are sent."""
    stub.hold()
    wrapped = keep(WsgiMiddleware(app, url=stub.url, max_bytes=100_000, timeout_s=30))
    ask(wrapped, 100, size=10_000)
    found = counts(wrapped)
    assert 9 == found["queued"]
    assert {"full": 91} == found["dropped"]
    stub.let_go()
    assert wrapped.recorder.flush(10)
    assert wrapped.recorder.reserve(100_000), "all bytes were given back"


def test_an_answer_that_never_comes_is_a_timeout(stub: Stub, keep: Any) -> None:
    """What was posted and not answered in time is dropped: it may have arrived."""
    stub.hold()
    wrapped = keep(WsgiMiddleware(app, url=stub.url, timeout_s=0.05))
    ask(wrapped, 3)
    until(lambda: counts(wrapped)["dropped"] == {"timeout": 3}, "the timeout")
    assert 0 == counts(wrapped)["queued"]


@pytest.mark.parametrize("status", [503, 429])
def test_an_overloaded_shadowdiff_is_left_alone(status: int, stub: Stub, keep: Any) -> None:
    """Its 503 or 429 drops the batch as overloaded."""
    stub.status = status
    wrapped = keep(WsgiMiddleware(app, url=stub.url))
    ask(wrapped, 3)
    assert wrapped.recorder.flush(10)
    assert {"taken": 3, "sent": 0, "dropped": {"overloaded": 3}, "queued": 0} == counts(wrapped)


def test_refused_lines_are_counted_and_the_reason_is_logged(
    stub: Stub, keep: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Of a batch taken in part, the rest counts as refused, and the log says what the answer said."""
    stub.answer = b'{"accepted": 2, "refused": [{"line": 3, "error": "status is 99"}]}'
    wrapped = keep(WsgiMiddleware(app, url=stub.url))
    with caplog.at_level(logging.WARNING, "shadowdiff.recorder"):
        ask(wrapped, 3)
        assert wrapped.recorder.flush(10)
    assert {"taken": 3, "sent": 2, "dropped": {"refused": 1}, "queued": 0} == counts(wrapped)
    assert "refused 1 of 3 records, with 202" in caplog.text
    assert "status is 99" in caplog.text


def test_the_log_does_not_fill(stub: Stub, keep: Any, caplog: pytest.LogCaptureFixture) -> None:
    """However often a batch is refused, one line a minute says so."""
    stub.status = 400
    wrapped = keep(WsgiMiddleware(app, url=stub.url))
    with caplog.at_level(logging.WARNING, "shadowdiff.recorder"):
        for _ in range(5):
            ask(wrapped, 1)
            assert wrapped.recorder.flush(10)
    assert {"refused": 5} == counts(wrapped)["dropped"]
    assert 1 == len(caplog.records)


def test_a_logger_that_raises_is_nothing_to_the_application(
    stub: Stub, keep: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the answer nor the thread is lost to it."""
    stub.status = 400

    def fail(*_args: object) -> None:
        raise RuntimeError("the log is broken")

    monkeypatch.setattr(logging.getLogger("shadowdiff.recorder"), "warning", fail)
    wrapped = keep(WsgiMiddleware(app, url=stub.url))
    for _ in range(2):
        ask(wrapped, 1)
        assert wrapped.recorder.flush(10)
    assert {"refused": 2} == counts(wrapped)["dropped"]


def test_a_connection_closed_meanwhile_is_opened_anew_and_nothing_is_lost(keep: Any) -> None:
    """A shadowdiff that restarts on the same port loses nothing: what comes after goes to the new one."""
    with StubServer(Stub()) as before:
        wrapped = keep(WsgiMiddleware(app, url=before.url))
        ask(wrapped, 3)
        assert wrapped.recorder.flush(10)
        port = int(before.url.rpartition(":")[2])
    with StubServer(Stub(), port) as after:
        ask(wrapped, 4)
        assert wrapped.recorder.flush(10)
        assert (3, 4) == (len(before.records), len(after.records))
        wrapped.recorder.close()
    assert {"taken": 7, "sent": 7, "dropped": {}, "queued": 0} == counts(wrapped)


def test_what_never_left_waits_for_shadowdiff_to_come(keep: Any) -> None:
    """Records made while nobody listens are sent once somebody does, as long as they are young enough."""
    port = free_port()
    wrapped = keep(WsgiMiddleware(app, url=f"http://127.0.0.1:{port}"))
    ask(wrapped, 3)
    assert not wrapped.recorder.flush(0.2)
    assert {"taken": 3, "sent": 0, "dropped": {}, "queued": 3} == counts(wrapped)
    with StubServer(Stub(), port) as come:
        assert wrapped.recorder.flush(10)
        wrapped.recorder.close()
        assert ["r-0", "r-1", "r-2"] == [record["id"] for record in come.records]


def test_what_nobody_took_in_time_is_dropped_as_unreachable(keep: Any) -> None:
    """Past max_age_s a record is of no use: its other half has left."""
    wrapped = keep(WsgiMiddleware(app, url=f"http://127.0.0.1:{free_port()}", max_age_s=0.05))
    ask(wrapped, 3)
    until(lambda: counts(wrapped)["queued"] == 0, "the records to age")
    dropped = counts(wrapped)["dropped"]
    assert dropped.keys() <= {"unreachable", "stale"}
    assert 3 == sum(dropped.values())


def test_a_server_that_hangs_up_costs_the_batch_once(stub: Stub, keep: Any) -> None:
    """On a fresh connection nothing is tried twice: the batch may have arrived."""
    stub.hang_up = True
    wrapped = keep(WsgiMiddleware(app, url=stub.url))
    ask(wrapped, 3)
    assert wrapped.recorder.flush(10)
    assert {"taken": 3, "sent": 0, "dropped": {"reset": 3}, "queued": 0} == counts(wrapped)
    assert 1 == len(stub.asked)


def test_closing_is_bounded_and_counts_what_it_leaves(stub: Stub, keep: Any) -> None:
    """Where shadowdiff hangs, the end of the process drops what is queued; what comes after is dropped as well."""
    stub.hold()
    wrapped = keep(WsgiMiddleware(app, url=stub.url, timeout_s=30))
    ask(wrapped, 5)
    wrapped.recorder.close(0.05)
    assert 0 == stub.answered
    ask(wrapped, 2)
    assert {"taken": 7, "sent": 0, "dropped": {"stopped": 7}, "queued": 0} == counts(wrapped)


def test_a_late_answer_after_closing_is_not_counted_twice(stub: Stub, keep: Any) -> None:
    """The batch that closing gave up stays given up, though its answer comes."""
    stub.hold()
    wrapped = keep(WsgiMiddleware(app, url=stub.url, timeout_s=30))
    ask(wrapped, 5)
    until(lambda: stub.asked, "the post")
    wrapped.recorder.close(0.0)
    stub.let_go()
    until(lambda: not any(t.name == "shadowdiff-_Records" for t in threading.enumerate()), "the thread's end")
    assert {"taken": 5, "sent": 0, "dropped": {"stopped": 5}, "queued": 0} == counts(wrapped)


def test_where_no_thread_can_start_records_are_dropped(stub: Stub, keep: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the interpreter's end, or on a full machine, the answer is given all the same."""

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    wrapped = keep(WsgiMiddleware(app, url=stub.url))
    ask(wrapped, 2)
    assert {"taken": 2, "sent": 0, "dropped": {"stopped": 2}, "queued": 0} == counts(wrapped)


def test_many_threads_lose_no_count(stub: Stub, keep: Any) -> None:
    """Eight threads record at once while shadowdiff takes some and refuses room for some: the books balance."""
    wrapped = keep(WsgiMiddleware(app, url=stub.url, max_records=100))
    threads = [threading.Thread(target=ask, args=(wrapped, 500)) for _ in range(8)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        counts(wrapped)
    for thread in threads:
        thread.join()
    assert wrapped.recorder.flush(20)
    found = counts(wrapped)
    assert (4000, 0, found["sent"]) == (found["taken"], found["queued"], len(stub.records))
    assert found["dropped"].keys() <= {"full"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
def test_a_forked_worker_has_its_own_thread_and_counts(stub: Stub, keep: Any) -> None:
    """A server that forks its workers after a first request: the child records, and counts from 0."""
    wrapped = keep(WsgiMiddleware(app, url=stub.url))
    ask(wrapped, 2)
    assert wrapped.recorder.flush(10)
    stub.hold()
    ask(wrapped, 1)
    until(lambda: len(stub.asked) == 2, "a post that is on its way while the worker forks")
    child = os.fork()
    if child == 0:
        ask(wrapped, 4)
        as_expected = {"taken": 4, "sent": 0, "dropped": {}, "queued": 4} == wrapped.recorder.stats()["records"]
        os._exit(0 if as_expected and wrapped.recorder.flush(10) else 1)
    until(lambda: len(stub.asked) == 3, "the child's post")
    stub.let_go()
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert wrapped.recorder.flush(10)
    assert {"taken": 3, "sent": 3, "dropped": {}, "queued": 0} == counts(wrapped)
    assert 7 == len(stub.records)


def test_a_recorder_shows_its_counts() -> None:
    """`repr` states the state."""
    shown = '<Recorder {"records": {"taken": 0, "sent": 0, "dropped": {}, "queued": 0}, "skipped": {}}>'
    assert shown == repr(Recorder("http://127.0.0.1:1"))
