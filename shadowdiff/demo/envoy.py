"""Run a real Envoy with the unchanged files under recorder/envoy that users deploy."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

import aiohttp

from shadowdiff.demo.process import Child, start, wait_ready

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

READY_WITHIN_S = 20.0
VERSION_WITHIN_S = 20.0


def files() -> Path:
    """Return the folder of the Envoy files: next to this module in a wheel, at the top level in a clone."""
    shipped = Path(__file__).with_name("envoy_files")
    return shipped if shipped.is_dir() else Path(__file__).parents[2] / "recorder" / "envoy"


def find_envoy() -> Path | None:
    """Return an Envoy that can run here, from the wheel, next to this Python, or on PATH; None if there is no Envoy."""
    wheel, on_path = find_spec("envoy"), shutil.which("envoy")
    programs = [
        # do not use the wheel's script, because the script runs Envoy as a child process
        *([Path(wheel.origin).parent / "_bin" / "envoy"] if wheel and wheel.origin else []),
        Path(sys.executable).with_name("envoy"),
        *([Path(on_path)] if on_path else []),
    ]
    return next(filter(_runs, programs), None)


def _runs(program: Path) -> bool:
    if not program.is_file():
        return False
    try:
        done = subprocess.run([program, "--version"], capture_output=True, timeout=VERSION_WITHIN_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and b"version" in done.stdout


def render(template: Path, values: Mapping[str, str | int]) -> str:
    """Fill a template's placeholders. Raises: KeyError that names a placeholder without a value."""
    return Template(template.read_text()).substitute(values)


async def run_envoy(program: Path, configuration: str, admin: str, folder: Path, *, name: str = "envoy") -> Child:
    """Start Envoy with its admin page at `admin` (`host:port`), and wait until it is ready. Raises: DemoError."""
    file = folder / f"{name}.yaml"
    _ = file.write_text(configuration)
    options = ["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning"]
    child = start(name, [str(program), "-c", str(file), *options], folder)
    async with aiohttp.ClientSession() as session:
        await wait_ready(child, responds(session, f"http://{admin}/ready"), READY_WITHIN_S)
    return child


def responds(session: aiohttp.ClientSession, url: str) -> Callable[[], Awaitable[bool]]:
    """Return a check that a URL responds with 200."""

    async def check() -> bool:
        try:
            async with session.get(url, timeout=aiohttp.ClientTimeout(total=1)) as response:
                return response.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    return check
