"""Test the whole API with schemathesis: requests generated from its own document, with and without credentials.

One service serves all tests of this file. The service has pairs, so responses have content.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import free_port_number
from tests.integration.service.conftest import World, settings, target
from tests.running import Service, mesh_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import RedisServer

TOKEN, HOOKS = "a-token-of-the-release", "a-token-of-the-hooks"
CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
    "response_schema_conformance", "unsupported_method", "missing_required_header", "ignored_auth",
)  # fmt: skip
"""ignored_auth: every request that succeeds with credentials is rejected without them and with wrong ones.

Two checks are left out: that allowed input is accepted, and that other input is rejected. The document allows target
names that do not exist, and an empty argument counts as missing.
"""
EXAMPLES = {"quick": "3", "deep": "100"}
WITHIN_S = {"quick": 110, "deep": 1500}


@pytest.fixture(scope="module")
def service(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Run a service with tokens and some compared pairs; check that it stops cleanly and that its log has no fault."""
    config = settings(redis_server.url, target(), store={"prefix": f"api{free_port_number()}"})
    tokens = [{"name": "release", "role": "all", "secret": "TOKEN"}]
    config["access"] = {"tokens": tokens, "hooks": "HOOKS", "attempts": 1_000_000}
    environment = {"TOKEN": TOKEN, "HOOKS": HOOKS}
    running = Service(tmp_path_factory.mktemp("api"), config, environment, token=TOKEN)
    running.start()
    asyncio.run(_some_pairs(running))
    yield running
    assert 0 == running.stop()
    assert [] == [line for line in running.log.splitlines() if "Traceback" in line or '"level": "ERROR"' in line]


async def _some_pairs(service: Service) -> None:
    async with mesh_of(service) as mesh:
        world = World(service, mesh)
        for number in range(6):
            await world.both(f"a{number}", b'{"price": %d}' % number, f"/items/{number}")
        await world.until(pairs__mismatch=6)


@pytest.mark.parametrize("form", ["quick", pytest.param("deep", marks=[pytest.mark.deep, pytest.mark.timeout(1800)])])
def test_the_api_matches_its_document_and_requires_credentials(service: Service, form: str) -> None:
    """The API returns no 5xx and no undocumented response. The API rejects every request without the token."""
    command = [
        Path(sys.executable).with_name("schemathesis"), "--config-file", os.devnull, "run",
        service.url("web", "/api/v1/openapi.json"), "--header", f"Authorization: Bearer {TOKEN}",
        "--checks", ",".join(CHECKS), "--max-examples", EXAMPLES[form], "--seed", "1", "--no-color",
        "--warnings", "off", "--workers", "2",
    ]  # fmt: skip
    ran = subprocess.run(
        command, cwd=service.folder, capture_output=True, text=True, timeout=WITHIN_S[form], check=False
    )
    sys.stdout.write(ran.stdout[-1000:])
    assert 0 == ran.returncode, ran.stdout[-20_000:] + ran.stderr[-2000:]
    selected, tested = re.findall(r"(?:Selected: \d+/(\d+)|Tested: (\d+))", ran.stdout)
    assert selected[0] == tested[1]
    assert int(tested[1]) >= 30
