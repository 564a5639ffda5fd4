"""The installed packages are the locked packages. Each has a hash, is in the bill of materials, and is audited."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[2]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
INSTALLS = re.compile(r"pip[^\n|&;]* install [^\n|&;]*")


class Pin(NamedTuple):
    """One locked package."""

    name: str
    version: str
    hashes: frozenset[str]


def pins(lock: Path) -> list[Pin]:
    """Return the pins of a lock file. A statement continues if its line ends in a backslash."""
    statements = lock.read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    return [_pin(statement) for statement in statements if statement.strip() and not statement.startswith("#")]


def _pin(statement: str) -> Pin:
    wanted, *hashes = re.split(r"\s+--hash=", statement.strip())
    name, _, version = wanted.partition(";")[0].strip().partition("==")
    assert name, statement
    assert version, statement
    assert hashes, statement
    assert [] == [each for each in hashes if not re.fullmatch(r"sha256:[0-9a-f]{64}", each.strip())], statement
    return Pin(name.partition("[")[0], version, frozenset(each.strip().removeprefix("sha256:") for each in hashes))


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_pin_has_a_version_and_hashes(lock: Path) -> None:
    """A lock contains only pins, without URLs, options or ranges."""
    assert len(pins(lock)) > 10


def test_the_locks_agree() -> None:
    """A package has the same version and hashes in every lock."""
    known: dict[str, Pin] = {}
    unlike = [(pin, known[pin.name]) for lock in LOCKS for pin in pins(lock) if known.setdefault(pin.name, pin) != pin]
    assert [] == unlike


def test_a_lock_is_installed_by_its_hashes() -> None:
    """Scripts and the image install everything by hash, except this package and the tools that make the locks."""
    files = [ROOT / "Dockerfile", ROOT / ".ci" / "run", *sorted((ROOT / "scripts").iterdir())]
    installs = [
        f"{file.name}: {line.strip()}"
        for file in files
        if file.is_file()
        for line in INSTALLS.findall(file.read_text(encoding="utf-8"))
    ]
    assert len(installs) > 3
    without = [line for line in installs if "--require-hashes" not in line and "--no-deps" not in line]
    assert ["lock: pip install -q uv"] == without


def test_the_bill_of_materials_matches_the_lock() -> None:
    """Each package has its version, hashes and license, and the root depends on all of them."""
    ran = subprocess.run(
        [sys.executable, ROOT / "scripts" / "write_sbom.py"], capture_output=True, text=True, timeout=60, check=True
    )
    bill = json.loads(ran.stdout)
    listed = [
        Pin(one["name"], one["version"], frozenset(each["content"] for each in one["hashes"]))
        for one in bill["components"]
    ]
    assert sorted(pins(ROOT / "requirements" / "run.txt")) == sorted(listed)
    assert {f"pkg:pypi/{one.name}@{one.version}" for one in listed} == {one["purl"] for one in bill["components"]}
    assert [] == [one["name"] for one in bill["components"] if not one.get("licenses")]
    root = bill["metadata"]["component"]
    depends = next(one["dependsOn"] for one in bill["dependencies"] if one["ref"] == root["bom-ref"])
    assert ("shadowdiff", len(listed)) == (root["name"], len(depends))


def report(*packages: dict[str, Any]) -> str:
    """Return the output of pip-audit."""
    return json.dumps({"dependencies": list(packages), "fixes": []})


SOUND: dict[str, Any] = {"name": "attrs", "version": "26.1.0", "vulns": []}
UNASKED = {"name": "arrow", "skip_reason": "Dependency not found on PyPI and could not be audited: arrow (1.4.0)"}
VULNERABLE: dict[str, Any] = {
    "name": "jinja2",
    "version": "2.0",
    "vulns": [{"id": "PYSEC-2099-1", "fix_versions": ["3.1"], "aliases": ["CVE-2099-1"], "description": "bad"}],
}
NO_INDEX = "requests.exceptions.ProxyError: HTTPSConnectionPool(host='pypi.org', port=443): Max retries exceeded"


class Audit(NamedTuple):
    """The behavior of a fake pip-audit, and the expected result."""

    status: int
    out: str
    err: str
    expected: tuple[int, str]


@pytest.mark.parametrize(
    "audit",
    {
        "none": Audit(0, report(SOUND, SOUND), "No known vulnerabilities found", (0, "no known vulnerability in 2")),
        "some skipped": Audit(0, report(SOUND, UNASKED), "", (0, "in 1 packages; 1 packages were not checked")),
        "all skipped": Audit(0, report(UNASKED, UNASKED), "", (0, "this index has no vulnerability data")),
        "found": Audit(1, report(SOUND, VULNERABLE), "Found 1 known vulnerability", (1, "jinja2 2.0: PYSEC-2099-1")),
        "found, exit status 0": Audit(0, report(VULNERABLE), "", (1, "jinja2 2.0: PYSEC-2099-1")),
        "found, others skipped": Audit(1, report(UNASKED, VULNERABLE), "", (1, "fixed in 3.1")),
        "found, then failed": Audit(
            1, report(VULNERABLE)[:-20], "Traceback: BrokenPipeError", (1, "failed after it found")
        ),
        "found, without report": Audit(
            1, "", f"Found 3 known vulnerabilities in 2 packages\n{NO_INDEX}", (1, "failed after it found")
        ),
        "no index": Audit(1, "", f"Traceback (most recent call last):\n{NO_INDEX}", (0, "no index")),
        "failed": Audit(1, "", "Traceback (most recent call last):\nKeyError: 'x'", (1, "wrote no readable report")),
        "failed without output": Audit(137, "", "", (1, "wrote no readable report")),
        "failed after its report": Audit(2, report(SOUND), "Traceback: OSError", (1, "failed (2)")),
        "no package": Audit(0, report(), "", (1, "found no package")),
        "unknown format": Audit(0, "[]", "", (1, "wrote no readable report")),
    }.items(),
    ids=lambda audit: audit[0],
)
def test_a_failed_audit_is_not_a_success(audit: tuple[str, Audit], tmp_path: Path) -> None:
    """A finding or a broken pip-audit fails the check. The check reports an index without data."""
    _, does = audit
    status, output, asked = audited(tmp_path, does, LOCKS)
    assert does.expected[0] == status, output
    assert does.expected[1] in output
    assert [str(lock) for lock in LOCKS] == [word for word in asked if word.endswith(".txt")]


def audited(folder: Path, does: Audit, locks: Sequence[Path]) -> tuple[int, str, list[str]]:
    """Run the audit with this pip-audit; return the status, the output, and pip-audit's arguments."""
    for name, text in (("out", does.out), ("err", does.err)):
        (folder / name).write_text(text)
    program = folder / "pip-audit"
    program.write_text(f'#!/bin/sh\ncd {folder}\necho "$@" >asked\ncat out\ncat err >&2\nexit {does.status}\n')
    program.chmod(0o755)
    environment = os.environ | {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    command = [sys.executable, ROOT / "scripts" / "audit_locks.py", *locks]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    return ran.returncode, ran.stderr, (folder / "asked").read_text().split()


def test_the_check_audits_every_lock() -> None:
    """The check fails if a new lock is not audited."""
    assert "audit_locks.py requirements/*.txt\n" in (ROOT / "scripts" / "check").read_text(encoding="utf-8")
