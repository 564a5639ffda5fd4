"""Redis by TLS, as a user with the least set of commands, and values from it that are never code."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from redis import Redis
from redis.exceptions import RedisError

from tests.conftest import free_port_number
from tests.integration.service.conftest import balanced_and_still, serving, settings, target
from tests.integration.service.scripts import response, says, v2
from tests.security.conftest import redis_with_tls

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.security.conftest import Certificates

ROOT = Path(__file__).parents[2]
COMMANDS = re.search(r"```acl\n(.*?)```", (ROOT / "SECURITY.md").read_text(), re.DOTALL)
PASSWORD = "the-password-of-redis"
PREFIX = "sd"


@pytest.fixture
def tls_redis(tmp_path: Path, certificates: Certificates) -> Iterator[Any]:
    """Run a Redis that speaks TLS alone, asks for a certificate, and has one user: that of SECURITY.md."""
    assert COMMANDS is not None
    rules = " ".join(COMMANDS[1].split()).replace("PASSWORD", PASSWORD)
    folder, port = tmp_path / "tls-redis", free_port_number()
    folder.mkdir()
    (folder / "users.acl").write_text(f"user admin on nopass ~* &* +@all\nuser default off\nuser {rules}\n")
    command = [
        redis_with_tls(), "--port", "0", "--tls-port", str(port), "--bind", "127.0.0.1", "--save", "",
        "--tls-cert-file", str(certificates.cert), "--tls-key-file", str(certificates.key),
        "--tls-ca-cert-file", str(certificates.ca), "--aclfile", str(folder / "users.acl"),
        "--dir", str(folder), "--logfile", str(folder / "redis.log"),
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        admin = Redis(
                host="127.0.0.1", port=port, username="admin", ssl=True, ssl_ca_certs=str(certificates.ca),
            ssl_certfile=str(certificates.cert), ssl_keyfile=str(certificates.key),
        )  # fmt: skip
        try:
            _until_it_answers(admin, folder / "redis.log")
            yield admin, f"rediss://127.0.0.1:{port}/0"
        finally:
            admin.close()
            process.send_signal(signal.SIGKILL)


def _until_it_answers(admin: Any, log: Path) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            admin.ping()
        except (RedisError, OSError):
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        else:
            return


async def test_the_least_set_of_commands_is_enough(tls_redis: Any, tmp_path: Path, certificates: Certificates) -> None:
    """Every script and every read, by TLS with a certificate of its own: Redis refuses nothing."""
    admin, url = tls_redis
    port = free_port_number()
    config = settings(url, target(port), pairing={"window": "1s", "settle": "100ms"})
    config["store"] |= {"username": "shadowdiff", "password": "REDIS_PASSWORD", "prefix": PREFIX}
    config["store"] |= {"ca": str(certificates.ca), "cert": str(certificates.cert), "cert_key": str(certificates.key)}
    answer = says(response(b'{"price": 9}', "200 OK", "content-type: application/json"))
    async with v2(answer, port), serving(tmp_path, config, REDIS_PASSWORD=PASSWORD) as world:
        for number in range(8):
            await world.both(f"a{number}", b'{"price": %d}' % number, f"/items/{number}")
        await world.mesh.record("alone", b"{}")
        await world.mesh.record("alone", b"{}")
        await world.service.until(balanced_and_still)
        made = {"target": "shop", "rule": {"ignore": "$.x"}, "author": "ada", "reason": "why"}
        for path, body in (("rules", made), ("epochs?target=shop", {"author": "ada"})):
            async with world.mesh.session.post(world.service.url("web", f"/api/v1/{path}"), json=body) as told:
                assert told.status == 200, await told.text()
        listed = await asyncio.to_thread(world.service.get, "rules")
        gone = f"/api/v1/rules/{listed['rules'][0]['id']}?author=ada"
        async with world.mesh.session.delete(
            world.service.url("web", gone), headers={"content-type": "application/json"}
        ) as told:
            assert told.status == 200, await told.text()
        for path in ("targets", "targets/shop", "ledger?target=shop", "verdict?target=shop", "samples?target=shop",
                     "doctor", "audit", "history?target=shop", "latency?target=shop", "funnel?target=shop",
                     "verdict?target=shop&revision=v9", "epochs?target=shop", "fingerprints?target=shop"):  # fmt: skip
            async with world.mesh.session.get(world.service.url("web", f"/api/v1/{path}")) as told:
                assert told.status == 200, (path, admin.acl_log())
        (found, *_) = (await asyncio.to_thread(world.service.get, "fingerprints?target=shop"))["fingerprints"]
        for part, body in (("state", {"state": "fixed"}), ("note", {"text": "seen"})):
            where = world.service.url("web", f"/api/v1/fingerprints/{found['id']}/{part}")
            async with world.mesh.session.post(where, json=body | {"author": "ada"}) as told:
                assert told.status == 200, await told.text()
        (one, *_) = await world.samples()
        await asyncio.to_thread(world.service.get, f"samples/{one['id']}")
    refused = [(entry["reason"], entry["object"]) for entry in admin.acl_log()]
    assert refused == []
    assert {key.split(b":")[0] for key in admin.scan_iter()} == {PREFIX.encode()}


async def test_the_user_can_do_nothing_else(tls_redis: Any) -> None:
    """No administration, no other keys, no channels."""
    admin, _ = tls_redis
    for line in ("FLUSHALL", "CONFIG GET *", "KEYS *", "MONITOR", "SCRIPT FLUSH", "ACL LIST", "DEBUG SLEEP 0",
                 "GET elsewhere", "SET elsewhere 1", "PUBLISH a b", "FUNCTION LIST", "MODULE LIST"):  # fmt: skip
        told = admin.execute_command("ACL", "DRYRUN", "shadowdiff", *line.split(" "))
        assert b"permission" in (told if isinstance(told, bytes) else str(told).encode()), line


def test_values_from_redis_are_never_code() -> None:
    """Nothing in the package can make code or objects of bytes."""
    found = re.compile(
        r"^\s*(?:import|from)\s+(?:pickle|cPickle|marshal|shelve|dill|cloudpickle|joblib|jsonpickle)\b"
        r"|(?<![.\w])(?:eval|exec|compile|__import__)\(|yaml\.(?:load|unsafe_load|full_load)\(|pickle",
        re.MULTILINE,
    )
    told = {
        str(path.relative_to(ROOT)): found.findall(text)
        for path in sorted((ROOT / "shadowdiff").rglob("*.py"))
        if found.search(text := path.read_text())
    }
    assert told == {}
