"""Test exit statuses of real processes: 1 is only ever a command's own result, even if its output fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click
import msgspec
import pytest
from click.testing import CliRunner
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from shadowdiff.cli import COMMANDS, main
from shadowdiff.cli.doctor import command as doctor_command
from shadowdiff.verdict import Decision, Verdict
from shadowdiff.web import create_web
from tests.fakes.serving import served
from tests.fakes.shop import open_shop, web_parts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.requests import Request

FULL = Path("/dev/full")
COMMANDS_WITH_OUTPUT: dict[str, list[str]] = {
    "help": ["--help"],
    "version": ["--version"],
    "verdict": ["verdict", "--target", "shop"],
    "verdict as JSON": ["verdict", "--target", "shop", "--json"],
    "targets": ["targets"],
    "fingerprints as JSON": ["fingerprints", "--json"],
    "capacity": ["capacity", "--rate", "100"],
    "compare": ["compare", "{v1}", "{v2}"],
    "check-config": ["check-config", "{config}", "--strict"],
}
READ = {"verdict": 1, "verdict as JSON": 1, "compare": 1}
"""The exit status of some commands whose output can be read."""


@pytest.fixture(scope="module", name="url")
def url_fixture() -> Iterator[str]:
    """Serve a shop whose v2 fails."""
    with served(create_web(web_parts(open_shop()))) as address:
        yield address


@pytest.fixture(name="files")
def files_fixture(tmp_path: Path) -> dict[str, str]:
    """Write two different bodies, and a configuration."""
    (tmp_path / "v1.json").write_text('{"a": 1}')
    (tmp_path / "v2.json").write_text('{"a": 2}')
    (tmp_path / "config.yaml").write_text("targets: [{name: shop, hosts: [shop], candidate: {url: 'http://v2'}}]\n")
    return {name: str(tmp_path / file) for name, file in
            (("v1", "v1.json"), ("v2", "v2.json"), ("config", "config.yaml"))}  # fmt: skip


def _run(arguments: list[str], **streams: Any) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "shadowdiff", *arguments]
    environment = {**os.environ, **streams.pop("environment", {})}
    return cast(
        "subprocess.CompletedProcess[bytes]",
        subprocess.run(command, check=False, timeout=60, env=environment, **streams),
    )


def _run_without(descriptor: int, arguments: list[str], **streams: Any) -> subprocess.CompletedProcess[bytes]:
    """Run with a standard descriptor closed, as `>&-` in a shell does."""
    shell = f'exec "$@" {descriptor}>&-'
    command = ["sh", "-c", shell, "sh", sys.executable, "-m", "shadowdiff", *arguments]
    return cast("subprocess.CompletedProcess[bytes]", subprocess.run(command, check=False, timeout=60, **streams))


def _filled(name: str, files: dict[str, str], url: str) -> list[str]:
    arguments = [word.format(**files) for word in COMMANDS_WITH_OUTPUT[name]]
    asks = arguments[0] in {"verdict", "targets", "samples", "fingerprints"} and "--help" not in arguments
    return [*arguments, "--url", url] if asks else arguments


@pytest.mark.parametrize("name", COMMANDS_WITH_OUTPUT)
def test_output_that_cannot_be_written_ends_with_2_and_one_line(name: str, files: dict[str, str], url: str) -> None:
    """Output fails on a full disk, a closed pipe or a closed descriptor. Working output keeps the usual status."""
    arguments = _filled(name, files, url)
    if name in READ:
        assert READ[name] == _run(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode
    reader, writer = os.pipe()
    os.close(reader)
    with FULL.open("wb") as full:
        lost = [
            _run(arguments, stdout=full, stderr=subprocess.PIPE),
            _run(arguments, stdout=writer, stderr=subprocess.PIPE),
            _run_without(1, arguments, stderr=subprocess.PIPE),
        ]
    os.close(writer)
    said = "Error: standard output cannot be written: "
    expected = [(2, f"{said}{why}\n") for why in ("No space left on device", "Broken pipe", "Bad file descriptor")]
    assert expected == [(one.returncode, one.stderr.decode()[-200:]) for one in lost]


@pytest.mark.parametrize("decision", Decision)
def test_a_lost_message_changes_no_verdict(decision: Decision) -> None:
    """If standard error is full, closed or unread, the status is still that of the verdict."""
    body = json.loads(_encoded(decision))

    def answer(_request: Request) -> Response:
        return JSONResponse(body)

    expected = {Decision.PASS: 0, Decision.FAIL: 1, Decision.INSUFFICIENT: 3}[decision]
    with served(Starlette(routes=[Route("/{path:path}", answer)])) as url, FULL.open("wb") as full:
        arguments = ["verdict", "--target", "shop", "--url", url, "--wait", "--timeout", "0.1"]
        ended = [
            _run(arguments, stdout=subprocess.DEVNULL, stderr=full),
            _run_without(2, arguments, stdout=subprocess.DEVNULL),
            _run_without(0, arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL),
        ]
    assert [expected] * 3 == [one.returncode for one in ended]


@pytest.mark.parametrize("decision", [Decision.PASS, Decision.FAIL])
def test_a_verdict_that_cannot_be_written_is_an_error(decision: Decision) -> None:
    """Even a pass then ends with 2, because the reader gets no output and 1 would mean `fail`."""
    body = json.loads(_encoded(decision))

    def answer(_request: Request) -> Response:
        return JSONResponse(body)

    with served(Starlette(routes=[Route("/{path:path}", answer)])) as url, FULL.open("wb") as full:
        for more in ([], ["--json"]):
            ended = _run(["verdict", "--target", "shop", "--url", url, *more], stdout=full, stderr=full)
            assert 2 == ended.returncode


def _encoded(decision: Decision) -> bytes:
    return msgspec.json.encode(Verdict(verdict=decision, reason="9,000 pairs", target="shop", pairs={"compared": 9000}))


def test_a_file_that_cannot_be_written_ends_with_2(url: str, tmp_path: Path) -> None:
    """Each command that writes a file names it in one line."""
    sample = json.loads(CliRunner().invoke(main, ["samples", "--json", "--url", url]).stdout)["samples"][0]["id"]
    for arguments in (
        ["verdict", "--target", "shop", "--junit", str(FULL)],
        ["verdict", "--target", "shop", "--markdown", str(FULL)],
        ["sample", sample, "--html", str(FULL)],
        ["sample", sample, "--html", str(tmp_path / "missing" / "page.html")],
    ):
        result = CliRunner().invoke(main, [*arguments, "--url", url])
        assert (2, True) == (result.exit_code, "cannot be written: No" in result.stderr), result.output
        assert 1 == len(result.stderr.splitlines())


def test_characters_that_the_terminal_lacks_are_escaped(files: dict[str, str]) -> None:
    """The command prints the difference even if the terminal's encoding lacks a character."""
    Path(files["v2"]).write_text('{"a": "€"}', encoding="utf-8")
    done = _run(
        ["compare", files["v1"], files["v2"]], stdout=subprocess.PIPE, environment={"PYTHONIOENCODING": "latin-1"}
    )
    assert (1, True) == (done.returncode, b"\\u20ac" in done.stdout), done.stdout


@pytest.mark.parametrize(
    ("raised", "status"),
    [
        (ZeroDivisionError(), 70),
        (BrokenPipeError(32, "Broken pipe"), 70),
        (OSError(28, "No space left on device"), 70),
        (click.ClickException("wrong"), 2),
        (click.UsageError("wrong"), 2),
        (click.Abort(), 130),
        (KeyboardInterrupt(), 130),
        (EOFError(), 130),
        (SystemExit("in words"), 2),
        (SystemExit(None), 0),
        (SystemExit(1), 1),
    ],
    ids=repr,
)
def test_an_error_never_ends_with_1(raised: BaseException, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """No exception in a command ends with 1; only a status that the command chose may be 1."""

    def breaks(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr(doctor_command, "callback", breaks)
    assert status == CliRunner().invoke(main, ["doctor"]).exit_code


def test_every_command_ends_with_2_on_an_option_that_it_lacks() -> None:
    """The test runs every command of the table."""
    ended = {name: CliRunner().invoke(main, [name, "--no-such-option"]).exit_code for name in COMMANDS}
    assert dict.fromkeys(COMMANDS, 2) == ended


@pytest.mark.parametrize(
    "arguments",
    [
        ["check-config", "{v1}", "--config", "{v2}"],
        ["sample", "x", "--html", "page.html", "--json"],
        ["fingerprint", "x", "--html", "page.html", "--json"],
        ["compare", "{v1}", "{v2}", "--json", "--format", "deepdiff"],
        ["compare", "{v1}", "{v2}", "--as", "exchange", "--content-type", "text/plain"],
    ],
)
def test_options_that_contradict_each_other_end_with_2(arguments: list[str], files: dict[str, str]) -> None:
    """The command ignores neither of the two options."""
    result = CliRunner().invoke(main, [word.format(**files) for word in arguments])
    assert (2, "") == (result.exit_code, result.stdout)
    assert "Error: " in result.stderr


def test_a_timeout_without_wait_is_reported_as_ineffective(url: str) -> None:
    """The verdict is the current one."""
    arguments = ["verdict", "--target", "shop", "--url", url, "--timeout", "600"]
    without, waiting = CliRunner().invoke(main, arguments), CliRunner().invoke(main, [*arguments, "--wait"])
    assert ("note: --timeout has no effect without --wait\n", "") == (without.stderr, waiting.stderr)


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "1e308"])
def test_an_invalid_number_exits_with_2(number: str) -> None:
    """`nan` would pass every range check, because it is neither too small nor too large."""
    for arguments in (
        ["capacity", "--rate", number],
        ["capacity", "--rate", "1", "--body-bytes", number],
        ["verdict", "--timeout", number],
        ["verdict", "--max-mismatch-ratio", number],
        ["verdict", "--min-coverage", number],
    ):
        result = CliRunner().invoke(main, arguments)
        assert (2, True) == (result.exit_code, "Invalid value for" in result.stderr), (arguments, result.output)


@pytest.mark.parametrize(
    ("status", "hint"),
    [
        (500, "the service failed on this request; its log has the traceback"),
        (502, "a proxy cannot reach the service; check that it runs and is ready"),
        (503, "a proxy cannot reach the service; check that it runs and is ready"),
        (404, "check that --url is the web port of shadowdiff (listen.web)"),
    ],
)
def test_an_answer_in_plain_text_is_explained_by_its_status(status: int, hint: str) -> None:
    """The message of a failing service does not claim that the address is wrong."""

    def answer(_request: Request) -> Response:
        return PlainTextResponse("oh", status)

    with served(Starlette(routes=[Route("/{path:path}", answer)])) as url:
        for arguments in (["doctor"], ["targets"], ["verdict", "--target", "shop"], ["rules", "export"]):
            result = CliRunner().invoke(main, [*arguments, "--url", url])
            assert (2, 1, True) == (result.exit_code, len(result.stderr.splitlines()), hint in result.stderr)


@pytest.mark.parametrize("arguments", [["targets"], ["samples", "--target", "x"], ["rules", "list"], ["doctor"]])
def test_json_of_something_else_is_not_printed(arguments: list[str]) -> None:
    """A login page with status 200 is not a response of the API. `--json` reports this too."""

    def page(_request: Request) -> Response:
        return PlainTextResponse("<html>Log in</html>")

    with served(Starlette(routes=[Route("/{path:path}", page)])) as url:
        result = CliRunner().invoke(main, [*arguments, "--json", "--url", url])
    assert (2, "", True) == (
        result.exit_code,
        result.stdout,
        "is not the same version as this command" in result.stderr,
    )
