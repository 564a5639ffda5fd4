"""What is installed is what was locked: by its hash, in the bill of materials, and asked after for vulnerabilities."""

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
    """Return what a lock pins, each statement of it one pin. A statement goes on where its line ends in a backslash."""
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
    """And nothing stands in a lock beside pins: no address, no option, no range."""
    assert len(pins(lock)) > 10


def test_the_locks_agree() -> None:
    """One package has one version, and the same hashes, wherever it is locked."""
    known: dict[str, Pin] = {}
    unlike = [(pin, known[pin.name]) for lock in LOCKS for pin in pins(lock) if known.setdefault(pin.name, pin) != pin]
    assert [] == unlike


def test_a_lock_is_installed_by_its_hashes() -> None:
    """By the scripts and in the image; what is installed without is this package itself, and what makes the locks."""
    files = [ROOT / "Dockerfile", ROOT / ".ci" / "run", *sorted((ROOT / "scripts").iterdir())]
    told = [
        f"{file.name}: {line.strip()}"
        for file in files
        if file.is_file()
        for line in INSTALLS.findall(file.read_text(encoding="utf-8"))
    ]
    assert len(told) > 3
    without = [line for line in told if "--require-hashes" not in line and "--no-deps" not in line]
    assert ["lock: pip install -q uv"] == without


def test_the_bill_of_materials_is_what_the_lock_installs() -> None:
    """Package for package, with its version, its hashes, a licence, and the root that depends on all of them."""
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
    """Return what pip-audit prints."""
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
    """What a pip-audit does, and what is made of it."""

    status: int
    out: str
    err: str
    expected: tuple[int, str]


@pytest.mark.parametrize(
    "audit",
    {
        "none": Audit(0, report(SOUND, SOUND), "No known vulnerabilities found", (0, "no known vulnerability in 2")),
        "some unasked": Audit(0, report(SOUND, UNASKED), "", (0, "in 1 packages, 1 were not looked up")),
        "all unasked": Audit(0, report(UNASKED, UNASKED), "", (0, "this index tells nothing")),
        "found": Audit(1, report(SOUND, VULNERABLE), "Found 1 known vulnerability", (1, "jinja2 2.0: PYSEC-2099-1")),
        "found, and ended well": Audit(0, report(VULNERABLE), "", (1, "jinja2 2.0: PYSEC-2099-1")),
        "found, most unasked": Audit(1, report(UNASKED, VULNERABLE), "", (1, "mended in 3.1")),
        "found, and broke": Audit(1, report(VULNERABLE)[:-20], "Traceback: BrokenPipeError", (1, "broke off")),
        "found, in words": Audit(1, "", f"Found 3 known vulnerabilities in 2 packages\n{NO_INDEX}", (1, "broke off")),
        "no index": Audit(1, "", f"Traceback (most recent call last):\n{NO_INDEX}", (0, "no index")),
        "broke": Audit(
            1, "", "Traceback (most recent call last):\nKeyError: 'x'", (1, "said nothing that can be read")
        ),
        "broke without a word": Audit(137, "", "", (1, "said nothing that can be read")),
        "broke behind a report": Audit(2, report(SOUND), "Traceback: OSError", (1, "failed (2)")),
        "no package": Audit(0, report(), "", (1, "read no package")),
        "another form": Audit(0, "[]", "", (1, "said nothing that can be read")),
    }.items(),
    ids=lambda audit: audit[0],
)
def test_silence_is_not_taken_for_safety(audit: tuple[str, Audit], tmp_path: Path) -> None:
    """What is found fails the check, and so does a pip-audit that broke; an index that tells nothing is said."""
    _, does = audit
    status, told, asked = audited(tmp_path, does, LOCKS)
    assert does.expected[0] == status, told
    assert does.expected[1] in told
    assert [str(lock) for lock in LOCKS] == [word for word in asked if word.endswith(".txt")]


def audited(folder: Path, does: Audit, locks: Sequence[Path]) -> tuple[int, str, list[str]]:
    """Run the audit with a pip-audit that does this; return its status, what it said, and what pip-audit was asked."""
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
    """Each that there is, so that a new one is not forgotten."""
    assert "audit_locks.py requirements/*.txt\n" in (ROOT / "scripts" / "check").read_text(encoding="utf-8")
