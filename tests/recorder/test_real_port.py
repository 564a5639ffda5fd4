"""Test the recorder against the service's own records port. The service receives exactly v1's responses."""

from __future__ import annotations

import random
import socket
import threading
from typing import TYPE_CHECKING, Any, Self

import pytest
import uvicorn
from shadowdiff_recorder import WsgiMiddleware

from shadowdiff.intake.counters import Disposition, IntakeCounters
from shadowdiff.intake.records_port import RecordsApp
from shadowdiff.model import Candidate, Observation, Side, Target
from shadowdiff.pairing.request_id import is_sampled
from tests.recorder.apps import environ, serve_wsgi
from tests.recorder.stub import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

BODY = bytes(range(256)) * 64


class RealPort:
    """The records application on uvicorn, with a list instead of the store."""

    def __init__(self, sample: float = 1.0) -> None:
        self.observed: list[Observation] = []
        self.books = IntakeCounters()
        self.has_room = True
        target = Target(name="v1", hosts=("v1.example",), candidate=Candidate(url="http://127.0.0.1:1"), sample=sample)
        app = RecordsApp(sink=self._take, counters=self.books, in_sample=is_sampled, targets=[target], now_ms=lambda: 0)
        config = uvicorn.Config(app, log_level="critical")
        self._server = uvicorn.Server(config)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],))

    def _take(self, observation: Observation, settled: Callable[[bool], None], _delay_s: float) -> bool:
        if self.has_room:
            self.observed.append(observation)
            settled(True)
        return self.has_room

    def __enter__(self) -> Self:
        self._thread.start()
        until(lambda: self._server.started, "the records port")
        return self

    def __exit__(self, *error: object) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()


@pytest.fixture
def port() -> Iterator[RealPort]:
    """Serve the records port."""
    with RealPort() as served:
        yield served


def app(given: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Return every byte value, with repeated headers."""
    start_response("404 Not Found", [("Content-Type", "a/b"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")])
    return [BODY] if given["REQUEST_METHOD"] != "HEAD" else []


def test_the_observation_is_v1s_response(port: RealPort, keep: Any) -> None:
    """Each field of the observation equals that of the response, and the bodies are equal byte for byte."""
    wrapped = keep(WsgiMiddleware(app, url=port.url))
    serve_wsgi(wrapped, environ(path="/a?q=1", HTTP_X_ENVOY_ATTEMPT_COUNT="2"))
    assert wrapped.recorder.flush(10)
    (seen,) = port.observed
    assert (Side.PRIMARY, "v1", "req-1", "x-request-id") == (seen.side, seen.target, seen.id, seen.id_source)
    assert ("GET", "/a?q=1", "v1.example", 404, 2) == (seen.method, seen.path, seen.host, seen.status, seen.attempt)
    assert ((b"content-type", b"a/b"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")) == seen.headers
    assert (BODY, len(BODY), False) == (seen.body, seen.body_bytes, seen.truncated)
    assert seen.duration_ms >= 0


def test_only_the_trace_headers_of_the_request_are_sent(port: RealPort, keep: Any) -> None:
    """The recorded trace headers identify v1's span. The recorder never sends a request's cookie."""
    wrapped = keep(WsgiMiddleware(app, url=port.url))
    b3 = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1"
    serve_wsgi(wrapped, environ(HTTP_B3=b3, HTTP_COOKIE="session=1", HTTP_AUTHORIZATION="Bearer x"))
    assert wrapped.recorder.flush(10)
    (seen,) = port.observed
    assert ((b"b3", b3.encode()),) == seen.request_headers


def test_a_cut_body_is_marked_as_truncated(port: RealPort, keep: Any) -> None:
    """The service gets the full size of a truncated body, and never compares the truncated body."""
    wrapped = keep(WsgiMiddleware(app, url=port.url, max_body_bytes=100))
    serve_wsgi(wrapped, environ())
    assert wrapped.recorder.flush(10)
    (seen,) = port.observed
    assert (BODY[:100], len(BODY), True) == (seen.body, seen.body_bytes, seen.truncated)


def test_both_sides_count_the_same(port: RealPort, keep: Any) -> None:
    """The recorder and the port count the same number of records, and the port rejects none."""
    wrapped = keep(WsgiMiddleware(app, url=port.url))
    for number in range(300):
        serve_wsgi(wrapped, environ(HTTP_X_REQUEST_ID=f"r-{number}"))
    assert wrapped.recorder.flush(20)
    assert {"taken": 300, "sent": 300, "dropped": {}, "queued": 0} == wrapped.recorder.stats()["records"]
    assert [f"r-{number}" for number in range(300)] == [seen.id for seen in port.observed]
    assert (300, 0) == (
        port.books.recorded["v1", Side.PRIMARY].received,
        port.books.recorded["v1", Side.PRIMARY][Disposition.REFUSED],
    )


def test_a_full_port_is_counted_as_overloaded(port: RealPort, keep: Any) -> None:
    """If the port responds with 503, the recorder drops the batch, and v1 continues."""
    port.has_room = False
    wrapped = keep(WsgiMiddleware(app, url=port.url))
    serve_wsgi(wrapped, environ())
    assert wrapped.recorder.flush(10)
    assert {"taken": 1, "sent": 0, "dropped": {"overloaded": 1}, "queued": 0} == wrapped.recorder.stats()["records"]


def test_the_recorder_keeps_the_sample_that_the_port_keeps(keep: Any) -> None:
    """If recorder and service have the same sample rate, the port drops no record that the recorder sends."""
    choose = random.Random(7)
    ids = [f"{choose.getrandbits(128):032X}" for _ in range(400)]
    with RealPort(sample=0.3) as port:
        wrapped = keep(WsgiMiddleware(app, url=port.url, sample=0.3))
        for one in ids:
            serve_wsgi(wrapped, environ(HTTP_X_REQUEST_ID=one))
        assert wrapped.recorder.flush(10)
    sent = wrapped.recorder.stats()["records"]["sent"]
    assert 80 < sent < 160
    assert (sent, 0) == (len(port.observed), port.books.recorded["v1", Side.PRIMARY][Disposition.SAMPLED_OUT])
