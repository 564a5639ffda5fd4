"""Run the steps of the Dockerfile and the service's process as in a container, without a container engine.

The module builds the wheel as the Dockerfile does and installs it into a folder. The service runs as UID 1000690000 of
group 0 without HOME, on a read-only root with an empty /tmp. The kernel applies the same settings as for a container: a
mount namespace, no capabilities, no new privileges. Unlike a container, the process uses this machine's root file
system.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import ROOT
from tests.running import Service

if TYPE_CHECKING:
    from collections.abc import Sequence

UID = 1_000_690_000
"""A UID as OpenShift's restricted-v2 assigns it: the first one of a project's range, without an account."""
INSIDE = Path("/mnt")
WITHIN_S = 60


def build(folder: Path) -> Path:
    """Build the wheel from the files that the Dockerfile copies, install it, and return the folder."""
    source = folder / "src"
    source.mkdir()
    for names in copied_to_build():
        for name in names:
            into = source / name
            into.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, into, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / name, into)
    _run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder / "wheel")], source
    )
    (wheel,) = (folder / "wheel").glob("shadowdiff-*.whl")
    site = folder / "site"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps"]
    _run([*pip, "--target", str(site), str(wheel)], folder)
    return site


def copied_to_build() -> list[list[str]]:
    """Return the files in the COPY instructions of the Dockerfile's first stage."""
    first = (ROOT / "Dockerfile").read_text().partition("\nFROM build ")[0]
    return [line.split()[1:-1] for line in first.splitlines() if line.startswith("COPY ")]


def _run(command: Sequence[str], folder: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=WITHIN_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def needs_namespaces() -> None:
    """Skip the test if this machine cannot make a read-only root, or if the new /tmp would hide the working tree."""
    if os.getuid() != 0:
        pytest.skip("only root can run the service as another user")
    if any(Path(place).resolve().is_relative_to("/tmp") for place in (ROOT, sys.prefix, sys.base_prefix)):  # noqa: S108
        pytest.skip("the tree lies under /tmp, which a container has of its own")
    probe = [*unshared("true")]
    done = subprocess.run(probe, capture_output=True, text=True, timeout=WITHIN_S, check=False)
    if done.returncode != 0:
        pytest.skip(f"this kernel gives no mount namespace: {done.stderr.strip()}")


def unshared(script: str) -> list[str]:
    """Return a command that runs a shell line with separate mounts."""
    return ["unshare", "--mount", "--propagation", "private", "sh", "-euc", script]


def contained(folder: Path, command: Sequence[str], env: dict[str, str]) -> list[str]:
    """Return a command that runs as in a container. The process sees `folder` as /mnt, and only /tmp is writable.

    The process has one capability, to read any file, because this machine's Python may be in a folder of root.
    """
    words = ["env", "-i", *(f"{name}={value}" for name, value in env.items()), *command]
    held = ["setpriv", f"--reuid={UID}", "--regid=0", "--clear-groups", "--no-new-privs"]
    held += ["--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search"]
    held += ["--bounding-set=-all,+dac_read_search"]
    steps = [
        f"mount --bind {shlex.quote(str(folder))} {INSIDE}",
        f"mount -o remount,ro,bind {INSIDE}",
        "mount -o remount,ro,bind /",
        "mount -t tmpfs -o mode=1777 tmpfs /tmp",
        "cd /tmp",
        f"exec {shlex.join([*held, *words])}",
    ]
    return unshared(" && ".join(steps))


@dataclass
class Contained(Service):
    """A `shadowdiff serve` process as in the image; `folder` contains `site` and the configuration."""

    env: dict[str, str] = field(default_factory=dict[str, str])

    def start(self) -> None:
        """Start the process and wait until it is ready."""
        config = self.write()
        config.chmod(0o644)
        env = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(INSIDE / "site"),
            "PYTHONDONTWRITEBYTECODE": "1",
        } | self.env
        serve = [sys.executable, str(INSIDE / "site/bin/shadowdiff"), "serve", "--config", str(INSIDE / config.name)]
        with (self.folder / "service.log").open("ab") as log:
            self.process = subprocess.Popen(contained(self.folder, serve, env), stdout=log, stderr=log)
        deadline = time.monotonic() + WITHIN_S
        while not self.answers("metrics", "/readyz"):
            assert self.process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.05)

    def status(self) -> dict[str, str]:
        """Return the process's status fields from the kernel."""
        assert self.process is not None
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
