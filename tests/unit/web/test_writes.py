"""Whether a write was meant: from where it comes, and what a browser may have sent by itself."""

from __future__ import annotations

import pytest
from starlette.requests import Request

from shadowdiff.web.operation import ApiError
from shadowdiff.web.writes import check_origin, check_place

HOST = "127.0.0.1:8082"


def request(client: str = "127.0.0.1", host: str = HOST, **headers: str) -> Request:
    """Return a request as the port sees it."""
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
    """A terminal here, and a browser that shows these very pages."""
    meant(allowed)


def meant(asked: Request) -> None:
    """Check a write as the port does where nobody is asked who they are."""
    check_origin(asked)
    check_place(asked)


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
def test_nobody_else_may(refused: Request) -> None:
    """Not another machine, nor one that a sidecar makes look like this one, and not another site."""
    with pytest.raises(ApiError) as told:
        meant(refused)
    assert told.value.status == 403
