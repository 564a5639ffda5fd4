"""Run a real Redis Cluster, and a real master with sentinels. Each node is a process on loopback."""

from __future__ import annotations

import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from redis import Redis
from redis.exceptions import RedisError

from tests.conftest import free_port_number, needs_tool

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WITHIN_S = 60.0
SLOTS = 16384
BUS = 10_000
NODE_TIMEOUT_MS = 2000
"""After this time, a silent node counts as failed. Redis' own default is 15 s."""


def _port_with_a_bus() -> int:
    """Return a free port whose cluster bus port (10,000 higher) is also free."""
    while True:
        port = free_port_number()
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port + BUS))
            return port


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait until `condition` is true. While the server does not respond, the condition is false."""
    deadline = time.monotonic() + WITHIN_S
    while time.monotonic() < deadline:
        with suppress(RedisError, OSError):
            if condition():
                return
        time.sleep(0.05)
    raise AssertionError(f"never: {what}")


class Tls(NamedTuple):
    """The TLS files of servers and clients, and a redis-server that supports TLS."""

    program: str
    ca: Path
    cert: Path
    key: Path

    def of_servers(self) -> list[str]:
        """Return the options of a server that requires certificates from its peers and clients."""
        return [
            "--tls-cert-file", str(self.cert), "--tls-key-file", str(self.key), "--tls-ca-cert-file", str(self.ca),
            "--tls-replication", "yes",
        ]  # fmt: skip

    def of_clients(self) -> dict[str, Any]:
        """Return the options of a redis-py client."""
        files = {"ssl_ca_certs": self.ca, "ssl_certfile": self.cert, "ssl_keyfile": self.key}
        return {"ssl": True} | {name: str(path) for name, path in files.items()}


@dataclass
class Node:
    """A Redis server without persistence."""

    folder: Path
    options: list[str]
    tls: Tls | None = None
    password: str | None = None
    port: int = field(default_factory=_port_with_a_bus)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server."""
        self.folder.mkdir(exist_ok=True)
        program = self.tls.program if self.tls else needs_tool("redis-server")
        port = ["--port", "0", "--tls-port", str(self.port)] if self.tls else ["--port", str(self.port)]
        command = [program, *self.options, "--bind", "127.0.0.1", *port, *(self.tls.of_servers() if self.tls else ())]
        command += ["--dir", str(self.folder), "--logfile", str(self.folder / "redis.log")]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def client(self) -> Redis:
        """Return a client of this server."""
        options: dict[str, Any] = self.tls.of_clients() if self.tls else {}
        return Redis(host="127.0.0.1", port=self.port, socket_timeout=5.0, password=self.password, **options)

    def say(self, *words: str | bytes | int) -> Any:
        """Send a command to the server, and return the reply."""
        with self.client() as client:
            return cast("Any", client).execute_command(*words)

    def kill(self) -> None:
        """Kill the server immediately, to simulate a crash."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(timeout=WITHIN_S)
            self.process = None


class RedisCluster:
    """Three masters, each with `replicas` replicas. With `tls`, nodes and clients use only TLS."""

    def __init__(self, folder: Path, replicas: int = 1, masters: int = 3, tls: Tls | None = None) -> None:
        options = ["--save", "", "--appendonly", "no", "--cluster-enabled", "yes", "--repl-diskless-sync-delay", "0"]
        options += ["--cluster-node-timeout", str(NODE_TIMEOUT_MS), "--cluster-require-full-coverage", "no"]
        options += ["--cluster-replica-validity-factor", "0", "--repl-ping-replica-period", "1"]
        options += ["--tls-cluster", "yes"] if tls else []
        self._scheme = "rediss+cluster" if tls else "redis+cluster"
        self.nodes = [Node(folder / str(number), list(options), tls) for number in range(masters * (1 + replicas))]
        self.masters = self.nodes[:masters]
        self.replicas = self.nodes[masters:]

    @property
    def url(self) -> str:
        """Return a URL that names two of the nodes."""
        return f"{self._scheme}://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes[:2])

    def start(self) -> None:
        """Start the nodes, connect them, and wait until every node reports a healthy cluster."""
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            until(lambda node=node: bool(node.say("PING")), f"{node.port} answers")
        each = SLOTS // len(self.masters)
        for number, node in enumerate(self.masters):
            last = SLOTS - 1 if node is self.masters[-1] else (number + 1) * each - 1
            node.say("CLUSTER", "ADDSLOTS", *range(number * each, last + 1))
            node.say("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for node in self.nodes[1:]:
            self.nodes[0].say("CLUSTER", "MEET", "127.0.0.1", node.port)
        until(lambda: all(len(_known(node)) == len(self.nodes) for node in self.nodes), "all nodes have met")
        for number, node in enumerate(self.replicas):
            master = str(self.masters[number % len(self.masters)].say("CLUSTER", "MYID"), "ascii")
            node.say("CLUSTER", "REPLICATE", master)
        until(lambda: all(_is_whole(node) for node in self.nodes), "the cluster is whole")

    def flush(self) -> None:
        """Empty every master."""
        for node in self.masters:
            node.say("FLUSHALL")

    def stop(self) -> None:
        """Stop every node."""
        for node in self.nodes:
            node.kill()


def _known(node: Node) -> list[str]:
    return [line for line in _lines(node) if "handshake" not in line]


def _lines(node: Node) -> list[str]:
    reply = node.say("CLUSTER", "NODES")
    return list(cast("dict[str, Any]", reply)) if isinstance(reply, dict) else str(reply, "ascii").splitlines()


def _is_whole(node: Node) -> bool:
    reply = node.say("CLUSTER", "INFO")
    is_ok = cast("Any", reply)["cluster_state"] == "ok" if isinstance(reply, dict) else b"cluster_state:ok" in reply
    role = node.say("ROLE")
    return bool(is_ok and (role[0] == b"master" or role[3] == b"connected"))


class Sentinels:
    """A master, a replica, and three sentinels that watch them.

    With `tls`, all servers and clients use only TLS. If `password` is set, clients and sentinels must send it to each
    sentinel.
    """

    NAME = "mymaster"

    def __init__(self, folder: Path, tls: Tls | None = None, password: str | None = None) -> None:
        plain = [
            "--save",
            "",
            "--appendonly",
            "no",
            "--repl-diskless-sync-delay",
            "0",
            "--repl-ping-replica-period",
            "1",
        ]
        self.master = Node(folder / "master", plain, tls)
        followed = ["--replicaof", "127.0.0.1", str(self.master.port)]
        self.replica = Node(folder / "replica", [*plain, *followed], tls)
        self.sentinels: list[Node] = []
        self._scheme = "rediss+sentinel" if tls else "redis+sentinel"
        for number in range(3):
            home = folder / f"sentinel{number}"
            home.mkdir()
            file = home / "sentinel.conf"
            file.write_text(
                f"sentinel monitor {self.NAME} 127.0.0.1 {self.master.port} 2\n"
                f"sentinel down-after-milliseconds {self.NAME} {NODE_TIMEOUT_MS}\n"
                f"sentinel failover-timeout {self.NAME} 5000\n"
                + (f"requirepass {password}\nsentinel sentinel-pass {password}\n" if password else "")
            )
            self.sentinels.append(Node(home, [str(file), "--sentinel"], tls, password))

    @property
    def url(self) -> str:
        """Return the URL of the sentinels."""
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in self.sentinels)
        return f"{self._scheme}://{hosts}/{self.NAME}/0"

    def start(self) -> None:
        """Start all processes, and wait until the sentinels have discovered the replica and each other."""
        for node in (self.master, self.replica):
            node.start()
        until(lambda: self.replica.say("ROLE")[3] == b"connected", "the replica follows")
        for node in self.sentinels:
            node.start()
        until(lambda: all(self._knows(node) for node in self.sentinels), "the sentinels know each other")

    def _knows(self, sentinel: Node) -> bool:
        reply = sentinel.say("SENTINEL", "MASTER", self.NAME)
        if not isinstance(reply, dict):
            reply = dict(zip(reply[::2], reply[1::2], strict=True))
        state = cast("dict[Any, Any]", reply)
        counts = [state.get(name) or state.get(name.encode()) for name in ("num-slaves", "num-other-sentinels")]
        return [int(count) for count in counts if count is not None] == [1, 2]

    def stop(self) -> None:
        """Stop all processes."""
        for node in (*self.sentinels, self.replica, self.master):
            node.kill()
