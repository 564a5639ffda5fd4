"""A web port on loopback only accepts the host names of loopback."""

from __future__ import annotations

import urllib.request
from typing import TYPE_CHECKING
from urllib.error import HTTPError

from tests.running import Service

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import RedisServer


def test_a_loopback_port_rejects_other_host_names(tmp_path: Path, redis_server: RedisServer) -> None:
    """DNS rebinding fails, because only localhost and 127.0.0.1 are accepted."""
    target = {"name": "shop", "hosts": ["shop"], "candidate": {"url": "http://127.0.0.1:1"}}
    service = Service(tmp_path, {"store": {"url": redis_server.unix_url, "prefix": "names"}, "targets": [target]})
    service.start()
    try:
        statuses: dict[str, int] = {}
        for host in ("127.0.0.1", "localhost", "rebound.example"):
            request = urllib.request.Request(service.url("web", "/api/v1/targets"), headers={"Host": host})
            try:
                with urllib.request.urlopen(request, timeout=10) as answer:
                    statuses[host] = answer.status
            except HTTPError as error:
                statuses[host] = error.code
        assert {"127.0.0.1": 200, "localhost": 200, "rebound.example": 400} == statuses
    finally:
        assert 0 == service.stop()
