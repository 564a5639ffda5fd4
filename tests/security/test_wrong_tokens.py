"""The running service rate limits wrong tokens on the web port, Flagger's hooks and the records port.

One service serves all tests of this file. Each test uses its own loopback addresses.
"""

from __future__ import annotations

import http.client
import itertools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.conftest import free_port_number
from tests.integration.service.conftest import settings, target
from tests.running import WITHIN_S, Service, unharmed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import RedisServer

ATTEMPTS = 5
MORE = 20
WEB, HOOKS, RECORDS = "the-token-of-the-web-port", "the-token-of-the-hooks", "the-token-of-recorders"
WRONG = "a-token-that-is-nobody's"
_addresses = itertools.count(10)


@pytest.fixture(scope="module")
def service(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Run a service that requires tokens on every port and accepts few wrong tokens."""
    config = settings(redis_server.url, target(), store={"prefix": f"wrong{free_port_number()}"})
    config["access"] = {
        "tokens": [{"name": "release", "role": "write", "secret": "WEB_TOKEN"}],
        "hooks": "HOOKS_TOKEN", "records": ["RECORDS_TOKEN"], "attempts": ATTEMPTS,
    }  # fmt: skip
    secrets = {"WEB_TOKEN": WEB, "HOOKS_TOKEN": HOOKS, "RECORDS_TOKEN": RECORDS}
    with unharmed(made := Service(tmp_path_factory.mktemp("wrong"), config, secrets, token=WEB)):
        yield made


def address() -> str:
    """Return a loopback address that no test has used."""
    return f"127.0.0.{next(_addresses)}"


OF_RECORD = {"id": "a", "id_source": "x-diff-id", "method": "GET", "path": "/", "host": "shop"}


@dataclass(frozen=True)
class Endpoint:
    """An endpoint that accepts a token, and its statuses for a right and a wrong one."""

    port: str
    path: str
    right: str
    served: int
    refused: int

    def ask(self, service: Service, source: str, token: str) -> int:
        """Send a token from an address; return the status."""
        body, fields = self._request(token)
        port, method = service.ports[self.port], "POST" if body else "GET"
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WITHIN_S, source_address=(source, 0))
        try:
            connection.request(method, self.path, body, fields)
            answer = connection.getresponse()
            answer.read()
            assert (answer.status == 429) == (answer.getheader("retry-after") == "60")
            return answer.status
        finally:
            connection.close()

    def _request(self, token: str) -> tuple[bytes, dict[str, str]]:
        if "flagger" in self.path:
            payload = {"name": "shop", "namespace": "a", "metadata": {"target": "shop", "token": token}}
            return json.dumps(payload).encode(), {"content-type": "application/json"}
        authorization = {"authorization": f"Bearer {token}"}
        if self.port == "web":
            return b"", authorization
        named = {f"x-shadowdiff-{name.replace('_', '-')}": value for name, value in OF_RECORD.items()}
        return json.dumps(OF_RECORD | {"status": 200}).encode(), authorization | named | {"x-shadowdiff-status": "200"}


DOORS = {
    "web": Endpoint("web", "/api/v1/targets", WEB, 200, 401),
    "hooks": Endpoint("web", "/api/v1/gates/flagger/check", HOOKS, 200, 403),
    "records": Endpoint("records", "/record", RECORDS, 202, 401),
    "batches": Endpoint("records", "/records", RECORDS, 202, 401),
}


@pytest.mark.parametrize("name", DOORS)
def test_an_address_with_many_wrong_tokens_is_limited(service: Service, name: str) -> None:
    """After many wrong tokens, an address is rejected even with the right token. Other addresses are not affected."""
    door, guesser, other = DOORS[name], address(), address()
    statuses = [door.ask(service, guesser, WRONG) for _ in range(ATTEMPTS + MORE)]
    assert [door.refused] * ATTEMPTS + [429] * MORE == statuses
    assert 429 == door.ask(service, guesser, door.right)
    assert door.served == door.ask(service, other, door.right)


@pytest.mark.parametrize("name", ["hooks", "records", "batches"])
def test_an_address_that_sends_valid_tokens_is_not_limited(service: Service, name: str) -> None:
    """Behind a sidecar, all clients can have one address, so one bad client must not block the others."""
    door, shared = DOORS[name], address()
    assert door.served == door.ask(service, shared, door.right)
    statuses = [door.ask(service, shared, WRONG) for _ in range(ATTEMPTS + MORE)]
    assert [door.refused] * (ATTEMPTS + MORE) == statuses
    assert door.served == door.ask(service, shared, door.right)


def test_wrong_tokens_at_one_endpoint_do_not_limit_another(service: Service) -> None:
    """Failed logins do not block rollouts or records."""
    source = address()
    for name in ("web", "hooks"):
        assert 429 in [DOORS[name].ask(service, source, WRONG) for _ in range(ATTEMPTS + 1)]
    assert 202 == DOORS["records"].ask(service, source, RECORDS)


def test_a_missing_token_is_not_a_wrong_token(service: Service) -> None:
    """A recorder without a token gets the error message every time, and each request counts as rejected."""
    before = service.ledger("_unknown")["recorded"]["refused"]
    door, source = DOORS["records"], address()
    assert [401] * (ATTEMPTS + MORE) == [door.ask(service, source, "") for _ in range(ATTEMPTS + MORE)]
    assert 202 == door.ask(service, source, RECORDS)
    assert ATTEMPTS + MORE == service.ledger("_unknown")["recorded"]["refused"] - before
