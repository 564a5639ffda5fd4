"""Test the protection against cross-site writes: the origin, and headers that browsers send automatically."""

from __future__ import annotations

import pytest
from starlette.requests import Request

from shadowdiff.queries.errors import RequestError
from shadowdiff.web.auth_middleware import check_local, check_origin

HOST = "127.0.0.1:8082"


def request(client: str = "127.0.0.1", host: str = HOST, **headers: str) -> Request:
    """Return a request as the port receives it."""
    given = {"host": host} | {name.replace("_", "-"): value for name, value in headers.items()}
    fields = [(name.encode(), value.encode()) for name, value in given.items()]
    return Request({"type": "http", "method": "POST", "path": "/", "headers": fields, "client": (client, 50_000)})


@pytest.mark.parametrize(
    "allowed",
    [
        request(),
        request("::1", "[::1]:8082"),
        request("::ffff:127.0.0.1", "localhost:8082"),
        request(origin=f"http://{HOST}", sec_fetch_site="same-origin"),
        request("10.0.0.9", "shadowdiff.example", origin="https://shadowdiff.example", sec_fetch_site="same-origin"),
    ],
)
def test_this_machine_and_these_pages_may_write(allowed: Request) -> None:
    """A terminal on this machine and a browser that shows these pages can write."""
    meant(allowed)


def meant(asked: Request) -> None:
    """Check a write as the port does without authentication."""
    check_origin(asked)
    check_local(asked)


@pytest.mark.parametrize(
    "refused",
    [
        request("10.0.0.9"),
        request(origin="http://elsewhere.example"),
        request(origin="null"),
        request(sec_fetch_site="cross-site"),
        request(sec_fetch_site="same-site", origin="http://other.example"),
        request(host="shadowdiff.example"),
        request("10.0.0.9", "shadowdiff.example", origin="https://elsewhere.example"),
    ],
)
def test_other_callers_are_rejected(refused: Request) -> None:
    """The port rejects writes from other machines, other sites, and clients behind a sidecar on this machine."""
    with pytest.raises(RequestError) as error:
        meant(refused)
    assert error.value.status == 403
