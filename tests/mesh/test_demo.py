"""The demo from end to end: a real Envoy, a real store, every planted fault found id by id, nothing left behind."""

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
    """Run the demo once, and return its exit code, its object and what it said."""
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
    """Books balanced, coverage whole, no false mismatch, users without errors."""
    code, outcome, said = _once("--requests", "1500")

    _check(code, outcome, said, 1500)
    assert "through Envoy" in said
    assert {"requests", "primary_errors", "ledger", "found", "false_mismatches"} == set(outcome)


def test_every_planted_fault_is_found_through_the_stand_in() -> None:
    """The tee does as well, and the demo says that it stands in."""
    code, outcome, said = _once("--requests", "600", "--without-envoy", "--seed", "5")

    _check(code, outcome, said, 600)
    assert "tee" in said


@pytest.mark.skipif(find_envoy() is None, reason="no Envoy runs on this machine")
def test_a_control_tells_noise_from_planted_faults_without_any_rule() -> None:
    """Timestamps, ids and shuffled lists differ in every answer, and none of them is held against v2."""
    code, outcome, said = _once("--control", "--requests", "700", "--rate", "120", "--seed", "3")

    assert (0, 0) == (code, outcome["false_mismatches"]), said
    assert all(one["planted"] == one["seen"] + one["unpaired"] for one in outcome["found"])
    assert sum(one["seen"] for one in outcome["found"]) > 700 // 40
    assert {
        ("GET /", "text[*]", "text"),
        ("GET /products/{id}", "$['meta']['answerId']", "value"),
        ("GET /products/{id}", "$['meta']['generatedAt']", "value"),
        ("GET /products/{id}", "$['tags']", "order"),
    } == {tuple(place) for place in outcome["noise"]["places"]}
    assert outcome["noise"]["left_out"] > 0


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 0), (signal.SIGKILL, -9)])
def test_a_demo_that_ends_leaves_nothing_running(number: signal.Signals, code: int, tmp_path: Path) -> None:
    """However it ends, every process that it started ends too; who is only stopped says what was seen."""
    with subprocess.Popen([*DEMO, "--folder", str(tmp_path)], stderr=subprocess.PIPE) as demo:
        assert demo.stderr is not None
        line = b""
        while b"files" not in line:
            line = demo.stderr.readline()
            assert line
        started = set(_family(demo.pid))
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
            r"^(FAIL|INSUFFICIENT): .+\n.*coverage [0-9.]+%, books balanced; most often:$", said, re.MULTILINE
        ), said
    assert ("read on: docs/quickstart.md" in said) == (number != signal.SIGKILL), said


class Process(NamedTuple):
    """A process, told from a later one with the same number by when it began."""

    pid: int
    began: int


def _processes() -> dict[Process, int]:
    """Return every process that runs, with its parent's number."""
    found: dict[Process, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent, *rest = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if state != "Z":
            found[Process(int(stat.parent.name), int(rest[17]))] = int(parent)
    return found


def _family(root: int) -> Iterator[Process]:
    """Return a process and all that it started, however deep."""
    processes = _processes()
    for process, parent in processes.items():
        if process.pid == root:
            yield process
        elif parent == root:
            yield from _family(process.pid)


def test_options_that_do_not_go_together_are_refused() -> None:
    """A message that says what goes with what."""
    done = subprocess.run([*DEMO, "--json"], capture_output=True, timeout=WITHIN_S, check=False)

    assert done.returncode == 2
    assert b"--json and --keep-running go with --once" in done.stderr
