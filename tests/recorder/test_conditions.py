"""The recorder records the requests that the service compares, and sends the headers that the conditions use.

One table has the expected results for the Lua filter, the recorder and the service.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from shadowdiff_recorder import Recorder, WsgiMiddleware

from tests.recorder.apps import environ, serve_wsgi

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.recorder.stub import Stub

VECTORS = cast(
    "list[tuple[list[Any], list[Any], str, str, list[tuple[str, str]], bool]]",
    json.loads((Path(__file__).parents[2] / "fixtures/conditions.json").read_text()),
)
URL = "http://127.0.0.1:1"


def empty_app(_environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Respond with 200 without a body."""
    start_response("200 OK", [])
    return [b""]


def test_the_conditions_match_every_test_vector(keep: Callable[[Any], Any]) -> None:
    """A request is recorded exactly if the service compares it."""
    for include, exclude, method, path, headers, expected in VECTORS:
        conditions = keep(Recorder(URL, include=include, exclude=exclude)).conditions
        received = tuple((name.encode(), value.encode("latin-1")) for name, value in headers)
        found = conditions.includes(method, path.encode("latin-1"), received)
        assert expected == found, (include, exclude, method, path, headers)


def test_excluded_requests_are_counted_and_the_others_state_what_decides(
    stub: Stub, keep: Callable[[Any], Any]
) -> None:
    """A missing header is stated as empty. Of the cookies only the named one is stated."""
    exclude = ["/export", {"header": {"X-Tenant": "beta"}}, {"users": {"cookie": "sid", "share": 0.0}}]
    wrapped = keep(WsgiMiddleware(empty_app, url=stub.url, include=["GET /*"], exclude=exclude))
    for path, more in (
        ("/export", {}), ("/a", {"HTTP_X_TENANT": "beta"}), ("/b", {"HTTP_COOKIE": "a=b; sid=s"}),
        ("/c", {"HTTP_X_TENANT": "x"}),
    ):  # fmt: skip
        serve_wsgi(wrapped, environ("GET", path, HTTP_X_REQUEST_ID="1", **more))
    assert wrapped.recorder.flush(10)
    assert {"excluded": 2} == wrapped.recorder.stats()["skipped"]
    assert [
        ("/b", [["x-tenant", ""], ["cookie", "sid=s"]]),
        ("/c", [["x-tenant", "x"], ["cookie", "sid="]]),
    ] == [(record["path"], record["request_headers"]) for record in stub.records]


def test_a_trace_header_that_decides_is_stated_once(stub: Stub, keep: Callable[[Any], Any]) -> None:
    """The service joins repeated headers, so a second value would make it decide differently."""
    wrapped = keep(WsgiMiddleware(empty_app, url=stub.url, include=[{"header": {"x-b3-sampled": "1"}}]))
    traced = {"HTTP_X_B3_SAMPLED": "1", "HTTP_X_B3_SPANID": "a2"}
    serve_wsgi(wrapped, environ("GET", "/", HTTP_X_REQUEST_ID="1", **traced))
    assert wrapped.recorder.flush(10)
    [record] = stub.records
    assert [["x-b3-sampled", "1"], ["x-b3-spanid", "a2"]] == sorted(record["request_headers"])


@pytest.mark.parametrize(
    "condition",
    ["export", {}, 3, {"rute": "/x"}, {"path": "x"}, {"users": {"share": 0.1}}, {"users": {"cookie": "a", "share": 2}}],
)
def test_a_condition_that_cannot_work_is_rejected(condition: Any) -> None:
    """The error has the value and what to write."""
    with pytest.raises(ValueError, match="write"):
        Recorder(URL, exclude=[condition])
