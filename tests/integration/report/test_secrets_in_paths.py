"""A secret in a path is not stored, logged or shown, for any outcome of the request.

Outcomes: compared, never paired, recorded twice, recorded too late, an unknown host, a method that is not forwarded, no
id, sent by the service itself, and rejected.
"""

from __future__ import annotations

import asyncio
import base64
import json
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from tests.integration.report.test_planted_secrets import KEY, everything_in_redis, fetch
from tests.integration.service.conftest import serving, settings, target
from tests.integration.service.scripts import response, v2
from tests.unit.report.planting import traces

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import RedisServer
    from tests.integration.service.conftest import World
    from tests.integration.service.scripts import Answer
    from tests.running import Service

SECRET: Final = "Kq7Zx2Lm9Wb4Rt"
JWT: Final = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.c2lnbmF0dXJlLW9mLWFubg"
_VARIABLES: Final = json.dumps({"input": {"newPassword1": SECRET}})
PATHS: Final = (
    f"/verify/{JWT}",
    f"/password/reset/{SECRET}",
    f"/cart;jsessionid={SECRET}/items",
    f"/login/password={SECRET}",
    f"/login/{quote(f'token={SECRET}', safe='')}",
    f"/state/{base64.urlsafe_b64encode(_VARIABLES.encode()).decode().rstrip('=')}",
    f"/graphql?query=x&variables={quote(_VARIABLES, safe='')}",
    f"/sso?next={quote(f'https://shop/cb?access_token={SECRET}', safe='')}",
    f"/proxy?to={quote(quote(f'https://jo:p@{SECRET}@h/', safe=''), safe='')}",
    f"/proxy/{quote(f'https://jo:{SECRET}@h', safe='')}",
)
PAGES: Final = (
    "/", "/doctor", "/ledger", "/targets/shop", "/audit", "/api/v1/doctor", "/api/v1/targets/shop", "/api/v1/targets",
    "/api/v1/ledger?target=shop", "/api/v1/samples?target=shop&limit=1000",
    "/api/v1/fingerprints?target=shop&limit=200", "/api/v1/funnel?target=shop", "/api/v1/verdict?target=shop",
)  # fmt: skip


def _answers() -> Answer:
    async def answer(_head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(response(b'{"a": 2}', "201 Created", "content-type: application/json"))

    return answer


async def _send(world: World, path: str, number: int) -> None:
    """Send requests for one path with every outcome."""
    mesh = world.mesh
    await world.both(f"pair-{number}", b'{"a": 1}', path)
    await mesh.record(f"alone-{number}", b"x", path)
    await mesh.record(f"twice-{number}", b"x", path)
    await mesh.record(f"twice-{number}", b"y", path)
    await mesh.mirror(f"copy-{number}", path)
    await mesh.mirror(f"host-{number}", path, headers={"host": f"nobody-{number}"})
    await mesh.record(f"host-{number}", b"x", path, host=f"nobody-{number}")
    await mesh.mirror(f"method-{number}", path, "DELETE")
    await mesh.mirror("", path, headers={"x-diff-id": "", "x-request-id": ""})
    await mesh.mirror(f"loop-{number}", path, headers={"x-shadowdiff": "1"})
    await mesh.record(f"bad-{number}", b"x", path.removeprefix("/"))


def _shown(service: Service) -> list[tuple[str, bytes]]:
    places = [(page, fetch(service.url("web", page))) for page in PAGES]
    return [*places, ("/metrics", fetch(service.url("metrics", "/metrics")))]


async def test_no_secret_of_a_path_is_stored_logged_or_shown(redis_server: RedisServer, tmp_path: Path) -> None:
    """The test searches Redis, the log, the pages, the API and the metrics, and finds the paths without the secret."""
    async with v2(_answers()) as port:
        config = settings(
            redis_server.url,
            target(port),
            store={"prefix": "paths", "key": "STORE_KEY"},
            pairing={"window": "2s"},
            log={"format": "json", "level": "debug"},
        )
        async with serving(tmp_path, config, STORE_KEY=base64.b64encode(KEY).decode()) as world:
            for number, path in enumerate(PATHS):
                await _send(world, path, number)
            await world.until(pairs__ready=len(PATHS))
            for number, path in enumerate(PATHS):
                assert 202 == await world.mesh.record(f"pair-{number}", b"again", path)
            await world.until(recorded__accepted=5 * len(PATHS))
            places = await asyncio.to_thread(_shown, world.service)
            places += await everything_in_redis(redis_server.url, "paths")
        places.append(("log", world.service.log.encode()))
    texts = [(where, value.decode("utf-8", "replace")) for where, value in places]
    assert [] == [(where, found) for where, text in texts for found in traces(SECRET, text)]
    assert [] == [where for where, text in texts if JWT[:16] in text or JWT[-16:] in text]
    for where, known in (
        ("log", "does not fit a pair"), ("/doctor", "redacted"), ("/api/v1/doctor", "redacted"),
        ("doctor:orphans:shop", "/password/reset/"), ("doctor:processes", "nobody-1"),
        ("/api/v1/targets/shop", "GET /verify/{token}"), ("/api/v1/samples?target=shop&limit=1000", "/graphql?query=x"),
    ):  # fmt: skip
        assert any(where in name and known in text for name, text in texts), (where, known)
