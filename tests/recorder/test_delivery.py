"""Test the delivery of records: batches, limits, an unavailable shadowdiff, and counts that balance."""

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
    """Return a body whose size is in the query."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"x" * int(given["QUERY_STRING"] or 1)]


def ask(wrapped: WsgiMiddleware, count: int, size: int = 1) -> None:
    """Send `count` requests to the application, one after the other."""
    for number in range(count):
        wrapped(environ(path=f"/?{size}", HTTP_X_REQUEST_ID=f"r-{number}"), ignore_head)


def counts(wrapped: WsgiMiddleware) -> dict[str, Any]:
    """Return the counts of records, and check that they balance."""
    assert wrapped.recorder is not None
    found = wrapped.recorder.stats()["records"]
    assert found["taken"] == found["sent"] + sum(found["dropped"].values()) + found["queued"]
    return found


def free_port() -> int:
    """Return a port without a listener."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def test_records_go_in_batches_over_one_connection(stub: Stub, keep: Any) -> None:
    """The recorder sends records in response order, in far fewer POST requests, all on one connection."""
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
    """Large bodies go in separate POST requests, because the records port limits the request size."""
    wrapped = keep(WsgiMiddleware(app, url=stub.url))
    ask(wrapped, 8, size=1 << 20)
    assert wrapped.recorder.flush(20)
    assert [1] * 8 == [len(asked.records) for asked in stub.asked]


def test_a_hung_shadowdiff_drops_only_records_above_the_limit(stub: Stub, keep: Any) -> None:
    """While shadowdiff delays its reply, the queue fills. Records above the queue's limit are dropped and counted."""
    stub.hold()
    wrapped = keep(WsgiMiddleware(app, url=stub.url, max_records=50, timeout_s=30))
    ask(wrapped, 1)
    until(lambda: stub.asked, "the first post")
    ask(wrapped, 200)
    assert 0 == stub.answered
    assert {"taken": 201, "sent": 0, "dropped": {"full": 151}, "queued": 50} == counts(wrapped)
    stub.release()
    assert wrapped.recorder.flush(10)
    assert {"taken": 201, "sent": 50, "dropped": {"full": 151}, "queued": 0} == counts(wrapped)


def test_the_queue_is_bounded_in_bytes(stub: Stub, keep: Any) -> None:
    """Bodies count toward max_bytes until they are sent."""
    stub.hold()
    wrapped = keep(WsgiMiddleware(app, url=stub.url, max_bytes=100_000, timeout_s=30))
    ask(wrapped, 100, size=10_000)
    found = counts(wrapped)
    assert 9 == found["queued"]
    assert {"full": 91} == found["dropped"]
    stub.release()
    assert wrapped.recorder.flush(10)
    assert wrapped.recorder.reserve(100_000), "all bytes were released"


def test_a_missing_reply_is_a_timeout(stub: Stub, keep: Any) -> None:
    """If no reply arrives in time, the batch is dropped, because shadowdiff may have received it."""
    stub.hold()
    wrapped = keep(WsgiMiddleware(app, url=stub.url, timeout_s=0.05))
    ask(wrapped, 3)
    until(lambda: counts(wrapped)["dropped"] == {"timeout": 3}, "the timeout")
    assert 0 == counts(wrapped)["queued"]


@pytest.mark.parametrize("status", [503, 429])
def test_an_overloaded_shadowdiff_gets_no_retry(status: int, stub: Stub, keep: Any) -> None:
    """A 503 or 429 from shadowdiff drops the batch as overloaded."""
    stub.status = status
    wrapped = keep(WsgiMiddleware(app, url=stub.url))
    ask(wrapped, 3)
    assert wrapped.recorder.flush(10)
    assert {"taken": 3, "sent": 0, "dropped": {"overloaded": 3}, "queued": 0} == counts(wrapped)


def test_rejected_lines_are_counted_and_the_reason_is_logged(
    stub: Stub, keep: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """If shadowdiff accepts part of a batch, the other records count as refused, and the log has the reply's text."""
    stub.answer = b'{"accepted": 2, "refused": [{"line": 3, "error": "status is 99"}]}'
    wrapped = keep(WsgiMiddleware(app, url=stub.url))
    with caplog.at_level(logging.WARNING, "shadowdiff.recorder"):
        ask(wrapped, 3)
        assert wrapped.recorder.flush(10)
    assert {"taken": 3, "sent": 2, "dropped": {"refused": 1}, "queued": 0} == counts(wrapped)
    assert "refused 1 of 3 records, with 202" in caplog.text
    assert "status is 99" in caplog.text


def test_rejected_batches_are_logged_once_a_minute(stub: Stub, keep: Any, caplog: pytest.LogCaptureFixture) -> None:
    """The recorder logs one line a minute, even if shadowdiff rejects many batches."""
    stub.status = 400
    wrapped = keep(WsgiMiddleware(app, url=stub.url))
    with caplog.at_level(logging.WARNING, "shadowdiff.recorder"):
        for _ in range(5):
            ask(wrapped, 1)
            assert wrapped.recorder.flush(10)
    assert {"refused": 5} == counts(wrapped)["dropped"]
    assert 1 == len(caplog.records)


def test_a_logger_that_raises_does_not_affect_the_application(
    stub: Stub, keep: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the logger raises an error, the response is sent and the recorder's thread continues."""
    stub.status = 400

    def fail(*_args: object) -> None:
        raise RuntimeError("the log is broken")

    monkeypatch.setattr(logging.getLogger("shadowdiff.recorder"), "warning", fail)
    wrapped = keep(WsgiMiddleware(app, url=stub.url))
    for _ in range(2):
        ask(wrapped, 1)
        assert wrapped.recorder.flush(10)
    assert {"refused": 2} == counts(wrapped)["dropped"]


def test_a_closed_connection_is_reopened_and_nothing_is_lost(keep: Any) -> None:
    """If shadowdiff restarts on the same port, the new process gets the next records."""
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


def test_unsent_records_wait_for_shadowdiff(keep: Any) -> None:
    """Records from before shadowdiff listens are sent later if they are recent enough."""
    port = free_port()
    wrapped = keep(WsgiMiddleware(app, url=f"http://127.0.0.1:{port}"))
    ask(wrapped, 3)
    assert not wrapped.recorder.flush(0.2)
    assert {"taken": 3, "sent": 0, "dropped": {}, "queued": 3} == counts(wrapped)
    with StubServer(Stub(), port) as come:
        assert wrapped.recorder.flush(10)
        wrapped.recorder.close()
        assert ["r-0", "r-1", "r-2"] == [record["id"] for record in come.records]


def test_records_not_sent_in_time_are_dropped_as_unreachable(keep: Any) -> None:
    """A record older than max_age_s is useless, because its other half has expired."""
    wrapped = keep(WsgiMiddleware(app, url=f"http://127.0.0.1:{free_port()}", max_age_s=0.05))
    ask(wrapped, 3)
    until(lambda: counts(wrapped)["queued"] == 0, "the records to age")
    dropped = counts(wrapped)["dropped"]
    assert dropped.keys() <= {"unreachable", "stale"}
    assert 3 == sum(dropped.values())


def test_a_server_that_closes_the_connection_drops_one_batch(stub: Stub, keep: Any) -> None:
    """If a new connection closes before the reply, the recorder does not retry the batch."""
    stub.hang_up = True
    wrapped = keep(WsgiMiddleware(app, url=stub.url))
    ask(wrapped, 3)
    assert wrapped.recorder.flush(10)
    assert {"taken": 3, "sent": 0, "dropped": {"reset": 3}, "queued": 0} == counts(wrapped)
    assert 1 == len(stub.asked)


def test_closing_is_bounded_and_counts_dropped_records(stub: Stub, keep: Any) -> None:
    """If shadowdiff hangs, closing drops the queue and every later record."""
    stub.hold()
    wrapped = keep(WsgiMiddleware(app, url=stub.url, timeout_s=30))
    ask(wrapped, 5)
    wrapped.recorder.close(0.05)
    assert 0 == stub.answered
    ask(wrapped, 2)
    assert {"taken": 7, "sent": 0, "dropped": {"stopped": 7}, "queued": 0} == counts(wrapped)


def test_a_late_reply_after_closing_is_not_counted_twice(stub: Stub, keep: Any) -> None:
    """A batch that was dropped on close stays dropped, even if the reply arrives later."""
    stub.hold()
    wrapped = keep(WsgiMiddleware(app, url=stub.url, timeout_s=30))
    ask(wrapped, 5)
    until(lambda: stub.asked, "the post")
    wrapped.recorder.close(0.0)
    stub.release()
    until(lambda: not any(t.name == "shadowdiff-_Records" for t in threading.enumerate()), "the thread's end")
    assert {"taken": 5, "sent": 0, "dropped": {"stopped": 5}, "queued": 0} == counts(wrapped)


def test_records_are_dropped_if_no_thread_can_start(stub: Stub, keep: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """If no thread can start (at interpreter exit or on an overloaded machine), the response is still sent."""

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    wrapped = keep(WsgiMiddleware(app, url=stub.url))
    ask(wrapped, 2)
    assert {"taken": 2, "sent": 0, "dropped": {"stopped": 2}, "queued": 0} == counts(wrapped)


def test_many_threads_lose_no_count(stub: Stub, keep: Any) -> None:
    """The counts balance while eight threads record at once and shadowdiff rejects some records. The counts balance."""
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
    """If a server forks a worker after the first request, the worker records, and its counts start at 0."""
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
    stub.release()
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert wrapped.recorder.flush(10)
    assert {"taken": 3, "sent": 3, "dropped": {}, "queued": 0} == counts(wrapped)
    assert 7 == len(stub.records)


def test_a_recorder_shows_its_counts() -> None:
    """`repr` contains the counts."""
    shown = '<Recorder {"records": {"taken": 0, "sent": 0, "dropped": {}, "queued": 0}, "skipped": {}}>'
    assert shown == repr(Recorder("http://127.0.0.1:1"))
