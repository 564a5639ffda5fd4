"""The demo runs with a real Envoy and store, finds every planted difference by id, and stops all its processes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from shadowdiff.demo.envoy import find_envoy

if TYPE_CHECKING:
    from collections.abc import Iterator

DEMO = [sys.executable, "-m", "shadowdiff", "demo", "--any-port"]
WITHIN_S = 110


def _once(*options: str) -> tuple[int, dict[str, Any], str]:
    """Run the demo once, and return its exit code, its result object and its output."""
    done = subprocess.run([*DEMO, "--once", "--json", *options], capture_output=True, timeout=WITHIN_S, check=False)
    said = done.stderr.decode()
    assert done.stdout, said
    return done.returncode, json.loads(done.stdout), said


def _check(code: int, outcome: dict[str, Any], said: str, requests: int) -> None:
    assert (0, requests, 0, 0) == (
        code,
        outcome["requests"],
        outcome["primary_errors"],
        outcome["false_mismatches"],
    ), said
    assert outcome["ledger"]["balanced"]
    assert outcome["ledger"]["coverage"]["ratio"] >= 0.99
    assert ["wrong price", "missing field", "integer as string", "server error"] == [
        one["fault"] for one in outcome["found"]
    ]
    assert all(one["planted"] == one["seen"] + one["unpaired"] for one in outcome["found"])
    assert sum(one["seen"] for one in outcome["found"]) > requests // 40


@pytest.mark.skipif(find_envoy() is None, reason="no Envoy runs on this machine")
def test_every_planted_fault_is_found_through_a_real_envoy() -> None:
    """The demo's ledger balances, coverage is 100 %, no mismatch is a false positive, and users get no errors."""
    code, outcome, said = _once("--requests", "1500")

    _check(code, outcome, said, 1500)
    assert "through Envoy" in said
    assert {"requests", "primary_errors", "ledger", "found", "false_mismatches"} == set(outcome)


def test_every_planted_fault_is_found_through_the_stand_in() -> None:
    """The demo also works with the tee, and reports that a Python proxy replaces Envoy."""
    code, outcome, said = _once("--requests", "600", "--without-envoy", "--seed", "5")

    _check(code, outcome, said, 600)
    assert "a small Python proxy mirrors and records" in said


@pytest.mark.skipif(find_envoy() is None, reason="no Envoy runs on this machine")
def test_a_control_separates_noise_from_planted_faults_without_rules() -> None:
    """Timestamps, ids and shuffled lists differ in every response, but the verdict attributes none of them to v2."""
    code, outcome, said = _once("--control", "--requests", "700", "--rate", "120", "--seed", "3")

    assert (0, 0) == (code, outcome["false_mismatches"]), said
    assert all(one["planted"] == one["seen"] + one["unpaired"] for one in outcome["found"])
    assert sum(one["seen"] for one in outcome["found"]) > 700 // 40
    places = {tuple(place) for place in outcome["noise"]["places"]}
    assert {
        ("GET /", "text[recommendation v{number} from '{id}': {number}]", "text"),
        ("GET /products/{id}", "$['meta']['answerId']", "value"),
        ("GET /products/{id}", "$['meta']['generatedAt']", "value"),
        ("GET /products/{id}", "$['tags']", "order"),
    } == places
    assert outcome["noise"]["excluded"] > 0


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 0), (signal.SIGKILL, -9)])
def test_a_demo_that_ends_leaves_nothing_running(number: signal.Signals, code: int, tmp_path: Path) -> None:
    """When the demo exits, all its processes exit. An interrupted demo still prints its results."""
    with subprocess.Popen([*DEMO, "--folder", str(tmp_path)], stderr=subprocess.PIPE) as demo:
        assert demo.stderr is not None
        line = b""
        while b"files" not in line:
            line = demo.stderr.readline()
            assert line
        started = set(_process_tree(demo.pid))
        assert len(started) >= 5
        while number == signal.SIGINT and not re.search(rb"[1-9][0-9,]* pairs, [1-9]", line):
            line = demo.stderr.readline()
            assert line
        os.kill(demo.pid, number)
        deadline = time.monotonic() + 40
        while alive := [process for process in started if process in _processes()]:
            assert time.monotonic() < deadline, alive
            time.sleep(0.05)
        said = demo.stderr.read().decode()

    assert code == demo.returncode
    if number == signal.SIGINT:
        assert re.search(
            r"^(FAIL|INSUFFICIENT): .+\n.*coverage >?[0-9.]+\s%, all requests accounted for; most frequent:$",
            said,
            re.MULTILINE,
        ), said
    assert ("next: docs/quickstart.md" in said) == (number != signal.SIGKILL), said


class Process(NamedTuple):
    """A process. The start time distinguishes processes with the same id."""

    pid: int
    began: int


def _processes() -> dict[Process, int]:
    """Return the id of every running process and its parent's id."""
    found: dict[Process, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent, *rest = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if state != "Z":
            found[Process(int(stat.parent.name), int(rest[17]))] = int(parent)
    return found


def _process_tree(root: int) -> Iterator[Process]:
    """Return the ids of a process and all its descendants."""
    processes = _processes()
    for process, parent in processes.items():
        if process.pid == root:
            yield process
        elif parent == root:
            yield from _process_tree(process.pid)


def test_conflicting_options_are_rejected() -> None:
    """For an invalid combination, the error message lists the options that can be combined."""
    done = subprocess.run([*DEMO, "--json"], capture_output=True, timeout=WITHIN_S, check=False)

    assert done.returncode == 2
    assert b"--json and --keep-running need --once" in done.stderr
