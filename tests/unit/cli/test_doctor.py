"""Test `shadowdiff doctor` as a user runs it: output, exit statuses, help, and errors in one line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from shadowdiff.cli import main
from shadowdiff.doctor.evidence import Evidence, TargetEvidence
from shadowdiff.doctor.registry import diagnose
from shadowdiff.model import Side
from shadowdiff.web import create_web
from tests.conftest import free_port_number
from tests.fakes.doctor_evidence import WELL, alone, evidence, orphan, target
from tests.fakes.serving import served
from tests.fakes.shop import replace_parts, shop_target, web_parts
from tests.fakes.store_reader import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shadowdiff.doctor.finding import Diagnosis

ILL = evidence(
    TargetEvidence(
        config=target(),
        counts=alone(1, 1),
        orphans=(
            orphan(Side.PRIMARY, id="req-1\x1b[31m", id_source="x-request-id"),
            orphan(Side.CANDIDATE, id="unique-1", ids={"x-diff-id": "unique-1", "x-request-id": "req-1\x1b[31m"}),
        ),
    )
)
TRANSCRIPT = """\
error  The ids come from different headers: v1's from x-request-id, the mirrored requests' from x-diff-id.  different_id_headers · shop
  Each side uses the first of `pairing.id_headers` that it finds, and v1's recorder has only x-request-id. So there are two ids and two
  keys. 1 v1 response stayed alone.

              v1, recorded   v2, mirrored
  ~  key      primary-0      candidate-0
  ~  id       req-1\\u001b[31m  unique-1
  ~  id from  x-request-id   x-diff-id
     request  GET /0         GET /0
     host     shop:8080      shop:8080
     response 200            200

  fix: Set x-diff-id before the recorder and before the request is mirrored, so that both sides receive it. Or configure only one id header
  for both sides:
    request_headers_to_add:   # on the mirrored route; or use header_mutation, before the recorder
      - header: { key: x-diff-id, value: "%UNIQUE_ID%" }
        append_action: OVERWRITE_IF_EXISTS_OR_ADD
    pairing: {id_headers: [x-request-id]}   # or this; also set ID_HEADERS in record.lua to it
"""  # noqa: E501 - as wide as a pipe gets it


def _address(of: Evidence) -> Iterator[str]:
    async def diagnosis(_target: str | None, _visible: frozenset[str] | None) -> Diagnosis:
        return diagnose(of)

    state = replace_parts(web_parts(MemoryStore(), targets=(shop_target(),)), diagnosis=diagnosis)
    with served(create_web(state)) as url:
        yield url


@pytest.fixture(name="ill", scope="module")
def ill_fixture() -> Iterator[str]:
    """Serve a shop whose halves have different ids."""
    yield from _address(ILL)


@pytest.fixture(name="well", scope="module")
def well_fixture() -> Iterator[str]:
    """Serve a healthy shop."""
    yield from _address(evidence(TargetEvidence(config=target(), counts=WELL)))


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["doctor", *arguments])


def test_finding_is_shown_with_two_halves_and_a_fix(ill: str) -> None:
    """Text in a half cannot control the terminal."""
    result = _run("--url", ill)
    assert 1 == result.exit_code
    assert [" ".join(line.split()) for line in TRANSCRIPT.splitlines()] == [
        " ".join(line.split()) for line in result.stdout.splitlines()
    ]
    assert "\x1b" not in result.stdout


def test_without_findings_standard_output_is_empty(well: str) -> None:
    """Standard output is empty, standard error has one line, and the status is 0."""
    result = _run("--url", well)
    assert (0, "", "no problem found for shop\n") == (result.exit_code, result.stdout, result.stderr)


def test_json_output_equals_the_response_of_the_api(ill: str, well: str) -> None:
    """The JSON has the findings, and the exit status is the same."""
    sick, sound = _run("--url", ill, "--json"), _run("--url", well, "--json", "--target", "shop")
    assert (1, 0) == (sick.exit_code, sound.exit_code)
    assert ["different_id_headers"] == [finding["code"] for finding in json.loads(sick.stdout)["findings"]]
    assert [] == json.loads(sound.stdout)["findings"]


def test_a_target_that_is_not_there_ends_with_2(well: str) -> None:
    """One error line lists the existing targets."""
    result = _run("--url", well, "--target", "shpo")
    assert (2, "Error: unknown target 'shpo'; configured: shop\n") == (result.exit_code, result.stderr)


def test_an_unavailable_service_exits_with_2() -> None:
    """One error line names the address and the fix."""
    url = f"http://127.0.0.1:{free_port_number()}"
    result = _run("--url", url)
    assert (2, True, True) == (
        result.exit_code,
        result.stderr.startswith(f"Error: shadowdiff does not respond at {url}"),
        "--url or SHADOWDIFF_URL" in result.stderr,
    )


def test_the_help_names_the_exit_statuses_and_the_options() -> None:
    """The help has everything that a pipeline needs."""
    text = " ".join(_run("--help").output.split())
    assert all(option in text for option in ("--target NAME", "--url URL", "--json", "SHADOWDIFF_URL"))
    assert "Exits with 0 if nothing is wrong, 1 if something is, and 2 if the service does not respond or" in text
