"""A cluster by the least set of commands, and sentinels that have a password, an access list and TLS of their own."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import pytest
from redis import Redis
from redis.exceptions import RedisError

from shadowdiff.store import Credentials, open_client
from tests.conftest import free_port_number
from tests.integration.service.conftest import balanced_and_still, serving, settings, target
from tests.integration.service.scripts import response, says, v2
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
"""What the client does without where it may not; a Redis before 7.2 knows no such command, and names the whole."""


def rules(more: str = "") -> list[str]:
    """Return the user of SECURITY.md as ACL SETUSER takes it."""
    assert COMMANDS is not None
    return [*COMMANDS[1].split(), *more.split()]


def said_in_operations(*words: str) -> bool:
    """Whether docs/operations.md names these rules."""
    return all(f"`{word}`" in (ROOT / "docs/operations.md").read_text().replace("\n", " ") for word in words)


async def test_a_cluster_by_the_least_set_of_commands(tmp_path: Path) -> None:
    """The commands of SECURITY.md and two more: no node refuses anything."""
    more = "+cluster|slots +command +asking"
    assert said_in_operations(more)
    folder = tmp_path / "cluster"
    folder.mkdir()
    cluster = RedisCluster(folder, replicas=0)
    try:
        cluster.start()
        for node in cluster.nodes:
            user = [word.replace("PASSWORD", PASSWORD) for word in rules(more)]
            node.say("ACL", "SETUSER", *user)
        async with v2(says(ANSWER)) as port:
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


class Watched(NamedTuple):
    """A master that speaks TLS alone, and a sentinel that speaks TLS on one port and plain words on another."""

    sentinel: Any
    by_tls: str
    plain: str


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[Watched]:
    """Run both, each with an access list of its own."""
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
        yield Watched(
            admin,
            f"rediss+sentinel://nowhere.invalid,127.0.0.1:{free_port_number()},127.0.0.1:{by_tls}/{MASTER}",
            f"rediss+sentinel://127.0.0.1:{plain}/{MASTER}",
        )
    finally:
        admin.close()
        for process in processes:
            process.kill()
            process.wait()


async def test_sentinels_are_asked_by_tls_as_who_they_know(
    watched: Watched, tmp_path: Path, certificates: Certificates
) -> None:
    """Sentinels that are not there are passed over; the least set of commands is enough on both."""
    assert said_in_operations("-@all +ping +sentinel|masters +client|setname")
    async with v2(says(ANSWER)) as port:
        config = settings(watched.by_tls, target(port), pairing={"window": "1s", "settle": "100ms"})
        config["store"] |= {"username": "shadowdiff", "password": "REDIS_PASSWORD", "prefix": PREFIX}
        config["store"] |= {"sentinel_username": "shadowdiff", "sentinel_password": "SENTINEL_PASSWORD"}
        config["store"] |= {"ca": str(certificates.ca)}
        async with serving(tmp_path, config, REDIS_PASSWORD=PASSWORD, SENTINEL_PASSWORD=SENTINEL_PASSWORD) as world:
            for number in range(4):
                await world.both(f"a{number}", b'{"price": 9}', f"/items/{number}")
            await world.service.until(lambda books: books["pairs"]["match"] == 4)
    assert {entry["object"] for entry in watched.sentinel.acl_log()} <= NAMES_ITS_LIBRARY


@pytest.mark.parametrize(
    ("password", "tls", "told"),
    [
        (SENTINEL_PASSWORD, False, ""),
        (SENTINEL_PASSWORD, None, "No master found"),
        ("another-password", False, "AuthenticationError"),
        (None, False, "AuthenticationError"),
    ],
)
async def test_a_sentinel_without_tls_is_said_to_be_one(
    password: str | None, *, tls: bool | None, told: str, watched: Watched, certificates: Certificates
) -> None:
    """The servers' TLS says nothing of the sentinels' where it is said; what fails names the sentinel and why."""
    credentials = Credentials(
        username="shadowdiff", password=PASSWORD, ca=str(certificates.ca),
        sentinel_username="shadowdiff" if password else None, sentinel_password=password, sentinel_tls=tls,
    )  # fmt: skip
    client = open_client(watched.plain, credentials)
    try:
        if told:
            with pytest.raises(RedisError, match=told):
                await client.execute_command("TIME")
        else:
            assert await client.execute_command("TIME")
    finally:
        await client.aclose()
