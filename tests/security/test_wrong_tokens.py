"""Wrong tokens are bounded by rate on the running service: on the web port, at Flagger's hooks, on the records port.

One service serves all of these; each test asks from loopback addresses of its own.
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
    """Run a service that asks for tokens everywhere, and takes few wrong ones."""
    config = settings(redis_server.url, target(), store={"prefix": f"wrong{free_port_number()}"})
    config["access"] = {
        "tokens": [{"name": "release", "role": "write", "secret": "WEB_TOKEN"}],
        "hooks": "HOOKS_TOKEN", "records": ["RECORDS_TOKEN"], "attempts": ATTEMPTS,
    }  # fmt: skip
    secrets = {"WEB_TOKEN": WEB, "HOOKS_TOKEN": HOOKS, "RECORDS_TOKEN": RECORDS}
    with unharmed(made := Service(tmp_path_factory.mktemp("wrong"), config, secrets, token=WEB)):
        yield made


def address() -> str:
    """Return a loopback address that nobody has asked from."""
    return f"127.0.0.{next(_addresses)}"


OF_RECORD = {"id": "a", "id_source": "x-diff-id", "method": "GET", "path": "/", "host": "shop"}


@dataclass(frozen=True)
class Door:
    """Where a token is brought, and what is answered to the right one and to a wrong one."""

    port: str
    path: str
    right: str
    served: int
    refused: int

    def ask(self, service: Service, source: str, token: str) -> int:
        """Bring a token from an address; return the status."""
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
            told = {"name": "shop", "namespace": "a", "metadata": {"target": "shop", "token": token}}
            return json.dumps(told).encode(), {"content-type": "application/json"}
        bears = {"authorization": f"Bearer {token}"}
        if self.port == "web":
            return b"", bears
        named = {f"x-shadowdiff-{name.replace('_', '-')}": value for name, value in OF_RECORD.items()}
        return json.dumps(OF_RECORD | {"status": 200}).encode(), bears | named | {"x-shadowdiff-status": "200"}


DOORS = {
    "web": Door("web", "/api/v1/targets", WEB, 200, 401),
    "hooks": Door("web", "/api/v1/gates/flagger/check", HOOKS, 200, 403),
    "records": Door("records", "/record", RECORDS, 202, 401),
    "batches": Door("records", "/records", RECORDS, 202, 401),
}


@pytest.mark.parametrize("name", DOORS)
def test_an_address_of_many_wrong_tokens_waits(service: Service, name: str) -> None:
    """It is told so, and not even a right one is looked at; any other address is served."""
    door, guesser, other = DOORS[name], address(), address()
    told = [door.ask(service, guesser, WRONG) for _ in range(ATTEMPTS + MORE)]
    assert [door.refused] * ATTEMPTS + [429] * MORE == told
    assert 429 == door.ask(service, guesser, door.right)
    assert door.served == door.ask(service, other, door.right)


@pytest.mark.parametrize("name", ["hooks", "records", "batches"])
def test_an_address_of_right_tokens_is_not_kept_out_by_wrong_ones(service: Service, name: str) -> None:
    """A mesh's sidecar may show one address for all: one recorder or one rollout must not stop the others."""
    door, shared = DOORS[name], address()
    assert door.served == door.ask(service, shared, door.right)
    told = [door.ask(service, shared, WRONG) for _ in range(ATTEMPTS + MORE)]
    assert [door.refused] * (ATTEMPTS + MORE) == told
    assert door.served == door.ask(service, shared, door.right)


def test_wrong_tokens_at_one_door_close_no_other(service: Service) -> None:
    """Who cannot log in keeps neither rollouts nor records waiting."""
    source = address()
    for name in ("web", "hooks"):
        assert 429 in [DOORS[name].ask(service, source, WRONG) for _ in range(ATTEMPTS + 1)]
    assert 202 == DOORS["records"].ask(service, source, RECORDS)


def test_no_token_at_all_is_no_guess(service: Service) -> None:
    """A recorder that was not given one is told what is missing, as often as it asks; each is counted as refused."""
    before = service.ledger("_unknown")["recorded"]["refused"]
    door, source = DOORS["records"], address()
    assert [401] * (ATTEMPTS + MORE) == [door.ask(service, source, "") for _ in range(ATTEMPTS + MORE)]
    assert 202 == door.ask(service, source, RECORDS)
    assert ATTEMPTS + MORE == service.ledger("_unknown")["recorded"]["refused"] - before
