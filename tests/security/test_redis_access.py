"""Use Redis over TLS as a user with a minimal set of commands. The service needs all these commands, and no others.

`test_hostile_store.py` covers corrupt data in Redis.
"""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from redis import Redis
from redis.exceptions import RedisError

from tests.conftest import free_port_number
from tests.integration.service.conftest import balanced_and_still, metrics_of, serving
from tests.integration.service.scripts import always, response, v2
from tests.redis_cluster import RedisCluster, until
from tests.security.conftest import redis_with_tls
from tests.security.everything import ask_for_everything, everything

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.redis_cluster import Node
    from tests.security.conftest import Certificates

ROOT = Path(__file__).parents[2]
COMMANDS = re.search(r"```acl\n(.*?)```", (ROOT / "SECURITY.md").read_text(), re.DOTALL)
LISTED = {word[1:] for word in COMMANDS[1].split() if word.startswith("+")} if COMMANDS else set[str]()
ALWAYS = {"hello"}
"""Commands that no ACL can forbid."""
OF_THE_TEST = {"acl|dryrun", "acl|log", "acl|setuser", "config|resetstat", "ping", "scan"}
DATABASE = 1
IN_A_CLUSTER = re.search(r"In a cluster add `([^`]*)`", (ROOT / "SECURITY.md").read_text())
PASSWORD = "the-password-of-redis"
PREFIX = "sd"
USER = {"username": "shadowdiff", "password": "REDIS_PASSWORD", "prefix": PREFIX}


@pytest.fixture
def tls_redis(tmp_path: Path, certificates: Certificates) -> Iterator[Any]:
    """Run a TLS-only Redis that requires a client certificate and has only the user that SECURITY.md defines."""
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
                host="127.0.0.1", port=port, db=DATABASE, username="admin", ssl=True, ssl_ca_certs=str(certificates.ca),
            ssl_certfile=str(certificates.cert), ssl_keyfile=str(certificates.key),
        )  # fmt: skip
        try:
            _until_it_answers(admin, folder / "redis.log")
            yield admin, f"rediss://127.0.0.1:{port}/{DATABASE}"
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


def _called(admin: Any) -> Counter[str]:
    """Return how often a server received each command, including those of scripts."""
    stats = admin.info("commandstats").items()
    return Counter({name.removeprefix("cmdstat_"): count["calls"] for name, count in stats})


def _uncalled(words: set[str], called: Counter[str]) -> set[str]:
    """Return the commands that were never called; servers before Redis 7 do not report subcommands."""
    tells_apart = any("|" in name for name in called)
    return {word for word in words if not called[word if tells_apart else word.partition("|")[0]]}


def _refused(admin: Any) -> list[tuple[str, str]]:
    """Return the commands that Redis rejected, except the client setting its library name (see SECURITY.md)."""
    refused = [(entry["reason"], entry["object"]) for entry in admin.acl_log()]
    return [one for one in refused if one not in {("command", "client|setinfo"), ("command", "client")}]  # by version


async def test_the_set_of_commands_is_sufficient_and_minimal(
    tls_redis: Any, tmp_path: Path, certificates: Certificates
) -> None:
    """Redis rejects no script and no read over TLS with a client certificate."""
    admin, url = tls_redis
    port = free_port_number()
    config = everything(
        url, port, **USER, ca=str(certificates.ca), cert=str(certificates.cert), cert_key=str(certificates.key)
    )
    answer = always(response(b'{"price": 9}', "200 OK", "content-type: application/json"))
    admin.config_resetstat()
    async with v2(answer, port), serving(tmp_path, config, REDIS_PASSWORD=PASSWORD) as world:
        await ask_for_everything(world)
    assert [] == _refused(admin)
    assert {PREFIX.encode()} == {key.split(b":")[0] for key in admin.scan_iter()}
    called = _called(admin)
    called["info"] -= 1  # the test itself called this command
    assert set() == _uncalled(LISTED, called)
    known = LISTED | ALWAYS | OF_THE_TEST
    assert set() == called.keys() - known - {word.partition("|")[0] for word in known if "|" in word}


async def test_without_info_only_the_version_is_missing(
    tls_redis: Any, tmp_path: Path, certificates: Certificates
) -> None:
    """Redis logs the rejected command as SECURITY.md describes, and the service logs no error."""
    admin, url = tls_redis
    admin.execute_command("ACL", "SETUSER", "shadowdiff", "-info")
    port = free_port_number()
    config = everything(
        url, port, **USER, ca=str(certificates.ca), cert=str(certificates.cert), cert_key=str(certificates.key)
    )
    answer = always(response(b'{"price": 9}', "200 OK", "content-type: application/json"))
    async with v2(answer, port), serving(tmp_path, config, REDIS_PASSWORD=PASSWORD) as world:
        await ask_for_everything(world)
        infos = [dict(labels) for name, labels in await metrics_of(world.service) if name == "shadowdiff_store_info"]
        assert [{"backend": "redis", "version": "", "durable": "true"}] == infos
        assert [] == [line for line in world.service.log.splitlines() if '"level": "ERROR"' in line]
    assert {("command", "info")} == set(_refused(admin))


async def test_a_cluster_needs_few_more_commands(tmp_path: Path) -> None:
    """With the additional commands for a cluster, no node rejects a command of the same user."""
    assert COMMANDS is not None
    assert IN_A_CLUSTER is not None
    folder = tmp_path / "cluster"
    folder.mkdir()
    cluster, port = RedisCluster(folder, replicas=0), free_port_number()
    rules = [*COMMANDS[1].replace("PASSWORD", PASSWORD).split()[1:], *IN_A_CLUSTER[1].split()]
    answer = always(response(b'{"price": 9}', "200 OK", "content-type: application/json"))
    try:
        await asyncio.to_thread(cluster.start)
        for node in cluster.nodes:
            node.say("ACL", "SETUSER", "shadowdiff", *rules)
            node.say("CONFIG", "RESETSTAT")
        config = everything(cluster.url, port, **USER)
        async with v2(answer, port), serving(tmp_path, config, REDIS_PASSWORD=PASSWORD) as world:
            await ask_for_everything(world)
            called = _called_of_all(cluster)
            await asyncio.to_thread(_moves_a_slot, cluster)
            await world.both("moved", b'{"price": 9}')
            await world.service.until(balanced_and_still)
        called["asking"] = _called_of_all(cluster)["asking"]
        for node in cluster.nodes:
            with node.client() as admin:
                assert [] == _refused(admin)
        assert set() == _uncalled({word[1:] for word in IN_A_CLUSTER[1].split()}, called)
    finally:
        cluster.stop()


def _called_of_all(cluster: RedisCluster) -> Counter[str]:
    called = Counter[str]()
    for node in cluster.nodes:
        with node.client() as admin:
            called += _called(admin)
    return called


def _moves_a_slot(cluster: RedisCluster) -> None:
    """Move a slot of the service to another master, as resharding does, after the service has used that master."""
    source, other, *_ = cluster.masters
    key = next(key for key in source.say("KEYS", f"{PREFIX}:*:ledger:*"))
    slot = source.say("CLUSTER", "KEYSLOT", key)
    ids = [str(node.say("CLUSTER", "MYID"), "ascii") for node in (source, other)]
    other.say("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[0])
    source.say("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[1])
    asked = _asked_elsewhere(other)
    while keys := source.say("CLUSTER", "GETKEYSINSLOT", slot, 1000):
        source.say("MIGRATE", "127.0.0.1", other.port, "", 0, 5000, "REPLACE", "KEYS", *keys)
    until(lambda: _asked_elsewhere(other) > asked, "the service asks the master that a slot moves to")
    for node in (other, source):
        node.say("CLUSTER", "SETSLOT", slot, "NODE", ids[1])


def _asked_elsewhere(node: Node) -> int:
    with node.client() as admin:
        return _called(admin)["asking"]


async def test_the_user_has_no_other_permissions(tls_redis: Any) -> None:
    """The user has no administration commands, no other keys and no channels."""
    admin, _ = tls_redis
    for line in ("FLUSHALL", "CONFIG GET *", "KEYS *", "MONITOR", "SCRIPT FLUSH", "ACL LIST", "DEBUG SLEEP 0",
                 "GET elsewhere", "SET elsewhere 1", "PUBLISH a b", "FUNCTION LIST", "MODULE LIST"):  # fmt: skip
        reply = admin.execute_command("ACL", "DRYRUN", "shadowdiff", *line.split(" "))
        assert b"permission" in (reply if isinstance(reply, bytes) else str(reply).encode()), line


def test_values_from_redis_are_never_code() -> None:
    """The package contains no code that turns bytes into code or objects."""
    found = re.compile(
        r"^\s*(?:import|from)\s+(?:pickle|cPickle|marshal|shelve|dill|cloudpickle|joblib|jsonpickle)\b"
        r"|(?<![.\w])(?:eval|exec|compile|__import__)\(|yaml\.(?:load|unsafe_load|full_load)\(|pickle",
        re.MULTILINE,
    )
    matches = {
        str(path.relative_to(ROOT)): found.findall(text)
        for path in sorted((ROOT / "shadowdiff").rglob("*.py"))
        if found.search(text := path.read_text())
    }
    assert matches == {}
