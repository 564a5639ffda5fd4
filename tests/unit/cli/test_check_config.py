"""Test `shadowdiff check-config` as a pipeline uses it: its output and its exit status."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import yaml
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from shadowdiff.cli import main
from shadowdiff.config import ConfigError, load_config
from shadowdiff.config.problem import Problem

if TYPE_CHECKING:
    from pathlib import Path

_GOOD = """store: {url: 'redis://u:hunter2@r/0'}
targets: [{name: a, hosts: [a], candidate: {url: 'http://v2'}, rules: [{ignore: $.x}]}]
"""


def run(*args: str) -> Result:
    return CliRunner(env={"SHADOWDIFF_CONFIG": ""}).invoke(main, ["check-config", *args])


@pytest.fixture(name="path")
def path_fixture(tmp_path: Path) -> Path:
    path = tmp_path / "s.yaml"
    path.write_text(_GOOD)
    return path


def test_the_printed_settings_load_as_the_same_configuration(path: Path, tmp_path: Path) -> None:
    """The printed configuration is valid and includes every default."""
    path.write_text(_GOOD.replace("u:hunter2@", ""))
    result = run(str(path))
    again = tmp_path / "again.yaml"
    again.write_text(result.stdout)
    first, second = load_config(path, {}), load_config(again, {})
    assert (0, "") == (result.exit_code, result.stderr)
    assert (first.store, first.pairing, first.limits, first.samples) == (
        second.store,
        second.pairing,
        second.limits,
        second.samples,
    )
    assert first.targets == second.targets


def test_the_password_of_the_store_is_left_out(path: Path) -> None:
    """The URL is printed without user and password."""
    result = run(str(path))
    assert yaml.safe_load(result.stdout)["store"]["url"] == "redis://***@r/0"
    assert "hunter2" not in result.output


def test_requests_that_v2_receives_are_printed_by_route(path: Path) -> None:
    """The comment has each route with its methods, and all other routes."""
    path.write_text(
        """targets:
  - name: a
    hosts: [a]
    candidate: {url: 'http://v2'}
    methods: [get, POST /search, "PUT /items/{id}"]
    routes: ["/items/{id}", /items/all]
    graphql: [/graphql, /a//b]
  - name: b
    hosts: [b]
    candidate: {url: 'http://v2'}
    methods: [GET, POST]
    include: [/a, GET /b/*, {header: {x-t: "1"}}]
    exclude: [/b/c]
"""
    )
    assert (
        """\
# Sent to v2 of a, by route. Other requests are counted, and not sent.
#   POST /search     POST
#   PUT /items/{id}  PUT
#   /items/{id}      GET PUT
#   /items/all       GET
#   POST /graphql    GraphQL queries
#   POST /a//b       nothing
#   other routes     GET
# Sent to v2 of b, by route. Other requests are counted, and not sent.
#   /a            GET POST
#   GET /b/*      GET
#   /b/c          nothing
#   other routes  GET* POST*
#   *: only requests that `include` and `exclude` select by header or user
"""
        in run(str(path)).stdout
    )


@pytest.mark.parametrize(("flags", "status"), [((), 0), (("--strict",), 1)])
def test_a_warning_fails_only_the_strict(path: Path, flags: tuple[str, ...], status: int) -> None:
    """Warnings go to standard error, and --strict exits with 1."""
    path.write_text(_GOOD.replace("name: a", "name: a, sample: 0"))
    result = run(str(path), *flags)
    assert status == result.exit_code
    assert result.stderr.startswith(f"warning: {path}:2: targets[0].sample: is 0")


def test_a_fault_ends_with_2_and_prints_no_configuration(path: Path) -> None:
    """Errors go to standard error, one line each."""
    path.write_text("drian: 1s\nstore: 3\n")
    result = run("--config", str(path))
    assert (2, "") == (result.exit_code, result.stdout)
    assert len(result.stderr.splitlines()) == 2


TARGET = """\
  - name: t{number}
    hosts: [t{number}]
    candidate: {{url: "http://v2-{number}"}}
    sample: {sample}
"""


@pytest.mark.parametrize(("sample", "status"), [(0, 1), (7, 2)])
def test_warnings_and_errors_come_in_the_order_of_the_file(path: Path, sample: int, status: int) -> None:
    """Line 9 comes before lines 10 and 101, also if a problem of line 1 is found last."""
    targets = "".join(TARGET.format(number=number, sample=sample) for number in range(30))
    path.write_text(
        "pairing: {window: 2s, settle: 3s}\n" * (status == 2)
        + f"targets:\n{targets}limits: {{body: 1GB, in_flight_bytes: 1MB}}\n"
    )
    result = run(str(path), "--strict")
    lines = [int(line.removeprefix("warning: ").removeprefix(f"{path}:").partition(":")[0])
             for line in result.stderr.splitlines()]  # fmt: skip
    assert (status, sorted(lines)) == (result.exit_code, lines)
    assert len(lines) >= 30


@given(st.lists(st.integers(1, 200), max_size=20))
def test_problems_are_ordered_by_number_and_otherwise_as_found(numbers: list[int]) -> None:
    """Problems of one line keep the order in which they were found."""
    found = [Problem(where=f"config-2.yaml:{number}", key=str(at), message="") for at, number in enumerate(numbers)]
    by_line = sorted(found, key=lambda problem: int(problem.where.partition(":")[2]))
    assert by_line == list(ConfigError(tuple(found)).problems)


def test_the_schema_is_printed_without_a_file() -> None:
    """`--schema` needs no configuration."""
    result = run("--schema")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["additionalProperties"] is False
