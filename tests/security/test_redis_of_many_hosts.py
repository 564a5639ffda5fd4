"""Run a cluster with the minimal set of commands, and sentinels with their own password, ACL and TLS."""

from __future__ import annotations

import gc
import subprocess
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import pytest
from redis import Redis
from redis.exceptions import RedisError

from shadowdiff.store import open_client
from tests.conftest import free_port_number
from tests.integration.service.conftest import balanced_and_still, serving, settings, target
from tests.integration.service.scripts import always, response, v2
from tests.redis_cluster import RedisCluster, until
from tests.security.conftest import redis_with_tls
from tests.security.test_redis_access import COMMANDS, PASSWORD, PREFIX, ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.security.conftest import Certificates

ANSWER = response(b'{"price": 9}', "200 OK", "content-type: application/json")
SENTINEL_PASSWORD = "the-password-of-the-sentinels"
MASTER = "mymaster"
NAMES_ITS_LIBRARY = {"client", "client|setinfo"}
"""The client works without this command; a Redis before 7.2 does not know it and logs it in full."""


def rules(more: str = "") -> list[str]:
    """Return the user of SECURITY.md as arguments of ACL SETUSER."""
    assert COMMANDS is not None
    return [*COMMANDS[1].split(), *more.split()]


def documented_in_operations(*words: str) -> bool:
    """Return whether docs/operations.md names these rules."""
    return all(f"`{word}`" in (ROOT / "docs/operations.md").read_text().replace("\n", " ") for word in words)


async def test_a_cluster_with_the_minimal_set_of_commands(tmp_path: Path) -> None:
    """A cluster needs the commands in SECURITY.md and two more commands."""
    more = "+cluster|slots +command +asking"
    assert documented_in_operations(more)
    folder = tmp_path / "cluster"
    folder.mkdir()
    cluster = RedisCluster(folder, replicas=0)
    try:
        cluster.start()
        for node in cluster.nodes:
            user = [word.replace("PASSWORD", PASSWORD) for word in rules(more)]
            node.say("ACL", "SETUSER", *user)
        async with v2(always(ANSWER)) as port:
            config = settings(cluster.url, target(port), pairing={"window": "1s", "settle": "100ms"})
            config["store"] |= {"username": "shadowdiff", "password": "REDIS_PASSWORD", "prefix": PREFIX}
            async with serving(tmp_path, config, REDIS_PASSWORD=PASSWORD) as world:
                for number in range(8):
                    await world.both(f"a{number}", b'{"price": 9}', f"/items/{number}")
                await world.service.until(lambda books: books["pairs"]["match"] == 8)
                await world.service.until(balanced_and_still)
        for node in cluster.nodes:
            with node.client() as client:
                log: Any = cast("Any", client).acl_log()
                assert {entry["object"] for entry in log} <= NAMES_ITS_LIBRARY
    finally:
        cluster.stop()


class WatchedServers(NamedTuple):
    """A TLS-only master, and a sentinel with one TLS and one plain-text port."""

    sentinel: Any
    by_tls: str
    plain: str


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[WatchedServers]:
    """Run both servers, each with its own ACL."""
    program, folder = redis_with_tls(), tmp_path_factory.mktemp("sentinel")
    data, by_tls, plain = (free_port_number() for _ in range(3))
    tls = [
        "--tls-cert-file", str(certificates.cert), "--tls-key-file", str(certificates.key),
        "--tls-ca-cert-file", str(certificates.ca), "--tls-auth-clients", "no",
    ]  # fmt: skip
    user = " ".join(rules()).replace("PASSWORD", PASSWORD)
    (folder / "users.acl").write_text(f"user watcher on >{PASSWORD} ~* &* +@all\nuser default off\nuser {user}\n")
    (folder / "sentinel.conf").write_text(
        f"sentinel monitor {MASTER} 127.0.0.1 {data} 1\nsentinel auth-user {MASTER} watcher\n"
        f"sentinel auth-pass {MASTER} {PASSWORD}\nuser default off\n"
        f"user admin on >{PASSWORD} ~* &* +@all\n"
        f"user shadowdiff on >{SENTINEL_PASSWORD} -@all +ping +sentinel|masters +client|setname\n"
    )
    commands = [
        [program, "--port", "0", "--tls-port", str(data), "--aclfile", str(folder / "users.acl"), "--save", "", *tls],
        [program, str(folder / "sentinel.conf"), "--sentinel", "--port", str(plain), "--tls-port", str(by_tls),
         "--tls-replication", "yes", *tls],
    ]  # fmt: skip
    processes = [
        subprocess.Popen([*command, "--bind", "127.0.0.1", "--dir", str(folder), "--logfile", f"{number}.log"])
        for number, command in enumerate(commands)
    ]
    admin: Any = Redis(port=plain, username="admin", password=PASSWORD)
    try:
        until(lambda: bool(admin.sentinel_masters()[MASTER]["is_master"]), "the sentinel knows the master")
        until(lambda: not admin.sentinel_masters()[MASTER]["is_disconnected"], "the sentinel reaches the master")
        yield WatchedServers(
            admin,
            f"rediss+sentinel://nowhere.invalid,127.0.0.1:{free_port_number()},127.0.0.1:{by_tls}/{MASTER}",
            f"rediss+sentinel://127.0.0.1:{plain}/{MASTER}",
        )
    finally:
        admin.close()
        for process in processes:
            process.kill()
            process.wait()


async def test_sentinels_are_called_over_tls_with_their_user(
    watched: WatchedServers, tmp_path: Path, certificates: Certificates
) -> None:
    """The service skips unreachable sentinels. The minimal set of commands is enough on the master and the sentinel."""
    assert documented_in_operations("-@all +ping +sentinel|masters +client|setname")
    async with v2(always(ANSWER)) as port:
        config = settings(watched.by_tls, target(port), pairing={"window": "1s", "settle": "100ms"})
        config["store"] |= {"username": "shadowdiff", "password": "REDIS_PASSWORD", "prefix": PREFIX}
        config["store"] |= {"sentinel_username": "shadowdiff", "sentinel_password": "SENTINEL_PASSWORD"}
        config["store"] |= {"ca": str(certificates.ca)}
        async with serving(tmp_path, config, REDIS_PASSWORD=PASSWORD, SENTINEL_PASSWORD=SENTINEL_PASSWORD) as world:
            for number in range(4):
                await world.both(f"a{number}", b'{"price": 9}', f"/items/{number}")
            await world.service.until(lambda books: books["pairs"]["match"] == 4)
    assert {entry["object"] for entry in watched.sentinel.acl_log()} <= NAMES_ITS_LIBRARY


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # asyncio leaves the socket of a failed TLS handshake
@pytest.mark.parametrize(
    ("password", "tls", "message"),
    [
        (SENTINEL_PASSWORD, False, ""),
        (SENTINEL_PASSWORD, None, "No master found"),
        ("another-password", False, "AuthenticationError"),
        (None, False, "AuthenticationError"),
    ],
)
async def test_a_sentinel_without_tls_is_reported(
    password: str | None, *, tls: bool | None, message: str, watched: WatchedServers, certificates: Certificates
) -> None:
    """The servers' TLS setting does not apply to sentinels. The error names the sentinel and the reason."""
    login = {"username": "shadowdiff", "password": PASSWORD, "ssl_ca_certs": str(certificates.ca)}
    sentinel_login: dict[str, str | bool] = {"username": "shadowdiff", "password": password} if password else {}
    if tls is not None:
        sentinel_login["ssl"] = tls
    client = cast("Any", open_client(watched.plain, login, sentinel_login))
    try:
        if message:
            with pytest.raises(RedisError, match=message):
                await client.execute_command("TIME")
        else:
            assert await client.execute_command("TIME")
    finally:
        await client.aclose()
        del client
        gc.collect()
