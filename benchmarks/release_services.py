"""Install two releases of a service, and run instances of them on loopback.

Every release has its own virtual environment or npm folder in the cache, with pinned versions. An installation that
failed leaves no folder behind. Instances end with this process.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from release_pairs import Request

from shadowdiff.demo.process import HOST, Child, free_ports, start, stop, wait_ready

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

    from release_pairs import Pair

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "shadowdiff-releases"
INSTALL_WITHIN_S = 240.0
PREPARE_WITHIN_S = 60.0
READY_WITHIN_S = 60.0
RESPONSE_WITHIN_S = 20.0
MODIFIED_AT_S = 1_700_000_000
"""The time of every served file, so that all instances serve the same times."""


class SetupError(Exception):
    """A release cannot be installed or started. The message says what to do."""


def install(pair: Pair, version: str, cache: Path = CACHE) -> Path:
    """Install one release if the cache does not have it; return the folder of its programs. Raises: SetupError."""
    folder = cache / f"{pair.name}-{version}-{sys.version_info.major}.{sys.version_info.minor}"
    programs = folder / ("node_modules/.bin" if pair.installer == "npm" else "bin")
    if (folder / "complete").exists():
        return programs
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    pinned = pair.folder / version
    try:
        if pair.installer == "npm":
            for name in ("package.json", "package-lock.json"):
                shutil.copy(pinned / name, folder)
            _run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], folder, INSTALL_WITHIN_S)
        else:
            _run([sys.executable, "-m", "venv", str(folder)], folder, INSTALL_WITHIN_S)
            pip = [str(programs / "pip"), "install", "--quiet", "--disable-pip-version-check"]
            _run([*pip, "--no-deps", "--requirement", str(pinned / "requirements.txt")], folder, INSTALL_WITHIN_S)
    except SetupError as problem:
        shutil.rmtree(folder, ignore_errors=True)
        raise SetupError(f"{pair.name} {version} cannot be installed: {problem}") from problem
    (folder / "complete").touch()
    return programs


def _run(command: list[str], folder: Path, within_s: float, environment: Mapping[str, str] | None = None) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            capture_output=True,
            timeout=within_s,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except FileNotFoundError as problem:
        raise SetupError(f"{command[0]} is missing; install it") from problem
    except subprocess.TimeoutExpired as problem:
        raise SetupError(f"{' '.join(command)} took more than {within_s:g} s") from problem
    if done.returncode:
        text = (done.stderr + done.stdout).decode(errors="replace")[-2000:]
        raise SetupError(f"{' '.join(command)} failed with code {done.returncode}:\n{text}")


@dataclass(frozen=True, slots=True)
class Response:
    """A response as the server sent it."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class Instance:
    """A running release."""

    child: Child
    port: int

    def send(self, request: Request, host: str) -> Response:
        """Send a request directly to the instance."""
        return send(self.port, request, host)


def send(port: int, request: Request, host: str) -> Response:
    """Send one request on a new connection, without following redirects."""
    connection = http.client.HTTPConnection(HOST, port, timeout=RESPONSE_WITHIN_S)
    with contextlib.closing(connection):
        connection.putrequest(request.method, request.path, skip_host=True, skip_accept_encoding=True)
        lengths = (
            [("content-length", str(len(request.body)))] if request.body or request.method in ("POST", "PUT") else []
        )
        for name, value in [("host", host), *request.headers, *lengths]:
            connection.putheader(name, value)
        connection.endheaders(request.body or None)
        response = connection.getresponse()
        return Response(response.status, tuple(response.getheaders()), response.read())


@contextlib.asynccontextmanager
async def instance(pair: Pair, version: str, side: str, folder: Path, cache: Path = CACHE) -> AsyncGenerator[Instance]:
    """Run an instance with its own copy of the files, and send it the setup requests. Raises: SetupError, DemoError."""
    programs = await asyncio.to_thread(install, pair, version, cache)
    place = folder / f"{pair.name}-{side}"
    place.mkdir()
    copy_files(pair.folder / "files", place / "files")
    (port,) = free_ports([0])
    values = {
        "bin": str(programs),
        "data": str(pair.folder),
        "folder": str(place),
        "host": pair.host,
        "port": str(port),
    }
    environment = {**os.environ, "PYTHONPATH": ""}

    def filled(command: tuple[str, ...]) -> list[str]:
        return [part.format_map(values) for part in command]

    for command in pair.prepare:
        _ = await asyncio.to_thread(_run, filled(command), place, PREPARE_WITHIN_S, environment)
    child = start(f"{pair.name}-{side}", ["/usr/bin/env", "-C", str(place), "PYTHONPATH=", *filled(pair.start)], folder)
    try:
        await wait_ready(child, answers(port, pair.ready, pair.host), READY_WITHIN_S)
        running = Instance(child, port)
        for request in pair.setup:
            response = await asyncio.to_thread(running.send, request, pair.host)
            if response.status >= 400:
                raise child.error(f"responded {response.status} to its setup request {request.method} {request.path}")
        yield running
    finally:
        _ = await stop(child)


def copy_files(source: Path, copy: Path) -> None:
    """Copy the files of a pair, all with the same time."""
    if not source.is_dir():
        return
    shutil.copytree(source, copy)
    for path in [copy, *copy.rglob("*")]:
        os.utime(path, (MODIFIED_AT_S, MODIFIED_AT_S))


def answers(port: int, path: str, host: str) -> Callable[[], Awaitable[bool]]:
    """Return a check that a GET of a path has any response."""

    async def check() -> bool:
        try:
            return (await asyncio.to_thread(send, port, Request("GET", path), host)).status > 0
        except (OSError, http.client.HTTPException):
            return False

    return check
