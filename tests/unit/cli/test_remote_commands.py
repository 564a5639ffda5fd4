"""Test `targets`, `samples`, `sample` and `verdict` against a served API: output, exit statuses, errors in one line."""

from __future__ import annotations

import json
import re
import socket
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from click.testing import CliRunner, Result
from rich.console import Console
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from shadowdiff.cli import main, screen
from shadowdiff.cli import verdict as verdict_command
from shadowdiff.cli.remote import Remote
from shadowdiff.verdict import count_writes
from shadowdiff.web import create_web
from tests.fakes.serving import served
from tests.fakes.shop import empty_ledger, open_shop, shop_ledger, shop_target, web_parts
from tests.fakes.store_reader import MemoryStore
from tests.fakes.traffic import MATCH, pair

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from starlette.requests import Request


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Serve a shop with planted faults."""
    with served(create_web(web_parts(open_shop()))) as address:
        yield address


def _run(url: str, *arguments: str) -> Result:
    return CliRunner().invoke(main, [*arguments, "--url", url])


def _lines(result: Result) -> list[str]:
    return [re.sub(r"\s{2,}", " | ", line.strip()) for line in result.output.splitlines()]


def test_an_erasure_prints_its_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The value can come from standard input, and a wrong kind is a usage error."""
    sent: list[Any] = []
    found = {
        "samples": 2,
        "attributes": 5,
        "fingerprints": 0,
        "notes": 1,
        "parameters": 0,
        "doctor_examples": 3,
        "waiting": 4,
        "audit_entries": 1,
    }

    async def erasures(request: Request) -> Response:
        sent.append(await request.json())
        kept = {"pending": 5, "kept_names": 1, "kept_rules": ["abc"]}
        return Response(json.dumps(found | kept | {"dry_run": sent[-1]["dry_run"]}))

    app = Starlette(routes=[Route("/api/v1/erasures", erasures, methods=["POST"])])
    monkeypatch.setattr("shadowdiff.cli.erase.user", lambda: "ada")
    with served(app) as address:
        result = CliRunner().invoke(
            main, ["erase", "path-value", "-", "--reason", "why", "--dry-run", "--url", address], input="4711\n"
        )
        wrong = CliRunner().invoke(main, ["erase", "name", "erin", "--url", address])
    assert (0, 2) == (result.exit_code, wrong.exit_code)
    expected = {"path_value": "4711", "reason": "why", "author": "ada", "dry_run": True}
    assert [expected] == [{name: body[name] for name in expected} for body in sent]
    counts = "2 samples, 5 attributes, 4 waiting observations, 0 fingerprints, 1 notes, 0 parameters, "
    counts += "3 examples of the doctor, 1 audit entries"
    printed = [
        f"would be erased: {counts}",
        "5 pairs are not compared yet and may still become samples: repeat in a minute",
        "1 names of routes or JSON paths in counts contain the value, and are not erased",
        "rules that contain the value, and are not erased: abc",
    ]
    assert " ".join(printed) == " ".join(result.output.split())


def test_erase_shows_that_it_still_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long erasure has a longer timeout than other commands, and prints its progress to standard error."""
    lines: list[str] = []
    printed = threading.Event()

    def send(self: Remote, *_args: object) -> bytes:
        timeouts.append(self.timeout_s)
        assert printed.wait(60)
        return b"{}"

    def echo(text: object = "", *, err: bool = False) -> None:
        lines.append(f"{err}: {text!r}")
        printed.set()

    timeouts: list[float] = []
    monkeypatch.setattr("shadowdiff.cli.erase._PROGRESS_S", 0.01)
    monkeypatch.setattr(Remote, "send", send)
    monkeypatch.setattr("shadowdiff.cli.erase.click.echo", echo)
    assert 0 == CliRunner().invoke(main, ["erase", "secret-hash", "0123456789ab", "--json"]).exit_code
    assert [600.0] == timeouts
    assert "True: 'reading all stored data: 0.01 s of at most 600 s'" == lines[0]
    assert "False: b'{}'" == lines[-1]


def test_a_slow_erasure_is_not_reported_as_a_service_that_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """The service has the request, and goes on with it after the command stops to wait."""
    monkeypatch.setattr("shadowdiff.cli.erase._TIMEOUT_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as server:
        result = _run(f"http://127.0.0.1:{server.getsockname()[1]}", "erase", "path-value", "4711", "--reason", "why")
    assert 2 == result.exit_code
    assert "accepted the request, but did not respond within 0.05 s: it may still be working on it" in result.stderr


def test_targets_are_a_line_each(url: str) -> None:
    """Each line has the name, verdict, numbers and reason."""
    assert [
        "target | verdict | differ | compared | coverage | why",
        "shop | fail | 2.43\u202f% | 1,399 | 98.5\u202f% | 34 of 1,399 pairs differ: at least 0.886 %, limit 0.1 %.",
    ] == _lines(_run(url, "targets"))


def test_one_target_shows_routes_and_where_they_differ(url: str) -> None:
    """The route with the most differences comes first."""
    lines = _lines(_run(url, "targets", "shop"))
    assert "GET /products/{id} | 999 | 34 (3.4\u202f%) | price differs (20) | 5.0 ms / 7.0 ms | 10 ms / 14 ms" in lines
    assert "+ 2 more" in lines


def test_the_templates_of_a_targets_routes_can_be_pasted(url: str) -> None:
    """The output is the setting of the target, and nothing else."""
    configured = shop_target()
    inferred = replace(configured, target=msgspec.structs.replace(configured.target, routes=()))
    with served(create_web(web_parts(open_shop(), targets=(inferred,)))) as other:
        assert 'routes:\n  - "/products/{id}"\n' == _run(other, "targets", "shop", "--routes").output
    assert "No route has an inferred placeholder." == _run(url, "targets", "shop", "--routes").output.strip()
    assert "--routes needs the NAME of a target" in _run(url, "targets", "--routes").stderr


def test_in_a_pipe_no_line_ends_in_blanks_and_no_row_is_empty(url: str) -> None:
    """Programs can read the output of a pipe."""
    for arguments in (("targets",), ("targets", "shop"), ("samples",), ("verdict", "--target", "shop")):
        lines = _run(url, *arguments).output.splitlines()
        assert [line.rstrip() for line in lines] == lines
    assert "" not in _run(url, "targets", "shop").output.splitlines()


def test_an_address_without_a_scheme_is_of_http(url: str) -> None:
    """`--url 127.0.0.1:8082` is enough."""
    assert 0 == _run(url.removeprefix("http://"), "targets").exit_code


def test_an_empty_id_is_named(url: str) -> None:
    """A shell variable may have been empty."""
    result = _run(url, "sample", "")
    assert (2, True) == (result.exit_code, "ID is empty: use an ID that `shadowdiff samples` lists" in result.stderr)


def test_samples_are_a_line_each(url: str) -> None:
    """Each line has the difference, the request, and the id to look up the sample."""
    lines = _lines(_run(url, "samples", "--limit", "2", "--kind", "removed"))
    assert "difference | request | when | id" == lines[0]
    assert lines[1].startswith("stock is missing in v2; v1 has 30 | GET /products/910 | ")


def test_a_sample_shows_both_sides(url: str) -> None:
    """The output has a headline, the ignored paths, and the different lines with a mark that needs no color."""
    listed = json.loads(_run(url, "samples", "--kind", "type", "--json").output)["samples"][0]
    result = _run(url, "sample", listed["id"])
    assert 0 == result.exit_code
    lines = _lines(result)
    assert 'id is a string in v2, a number in v1: 812 → "812" + 1 more difference' == lines[0]
    assert '~ | "id": 812, | ~ | "id": "812",' in lines
    assert "ignored: ignore $.served_at (clock)" in result.output
    assert "… 15 equal lines" in result.output
    assert "equal lines" not in _run(url, "sample", listed["id"], "--all").output


@pytest.mark.parametrize(
    "arguments", [("targets",), ("targets", "shop"), ("samples",), ("verdict", "--target", "shop")], ids=" ".join
)
def test_json_output_equals_the_response_of_the_api(url: str, arguments: tuple[str, ...]) -> None:
    """The JSON is complete and can be piped."""
    answered: Any = json.loads(_run(url, *arguments, "--json").output)
    assert isinstance(answered, dict)


@pytest.mark.parametrize(
    ("status", "matches", "ledger"),
    [(0, 5000, shop_ledger(5000)), (3, 10, empty_ledger("shop")), (3, 0, empty_ledger("shop"))],
)
def test_the_verdict_is_the_exit_status(status: int, matches: int, ledger: dict[str, Any]) -> None:
    """A pass exits with 0, and an insufficient verdict with 3."""
    store = MemoryStore()
    for _ in range(matches):
        store.commit(count_writes(pair(), MATCH))
    with served(create_web(web_parts(store, ledger))) as url:
        assert status == _run(url, "verdict", "--target", "shop").exit_code


def test_a_failing_verdict_ends_with_1_and_names_the_places(url: str) -> None:
    """The pipeline stops, and its log shows where v2 differs."""
    result = _run(url, "verdict", "--target", "shop")
    assert 1 == result.exit_code
    assert "fail | 34 of 1,399 pairs differ: at least 0.886 %, limit 0.1 %." == _lines(result)[0]
    assert "20 pairs | GET /products/{id}: price differs" in _lines(result)


def test_a_looser_threshold_is_reported_as_ineffective(url: str) -> None:
    """A caller that passes 50 % must see that 50 % was not applied."""
    looser = CliRunner().invoke(
        main, ["verdict", "--target", "shop", "--url", url, "--max-mismatch-ratio", "0.5", "--min-coverage", "0.1"]
    )
    assert 1 == looser.exit_code
    assert [
        "note: --max-mismatch-ratio 0.5 has no effect, because the configuration's 0.001 is stricter",
        "note: --min-coverage 0.1 has no effect, because the configuration's 0.95 is stricter",
    ] == looser.stderr.splitlines()
    assert "" == _run(url, "verdict", "--target", "shop", "--max-mismatch-ratio", "0.0001").stderr


def test_a_file_that_cannot_be_written_is_named_before_anything_is_waited_for(url: str, tmp_path: Path) -> None:
    """The command checks the file first, not after waiting for half an hour."""
    missing = tmp_path / "reports" / "verdict.xml"
    result = _run(url, "verdict", "--target", "shop", "--wait", "--junit", str(missing))
    assert 2 == result.exit_code
    assert f"Error: {missing} cannot be written: there is no folder {missing.parent}" == result.stderr.strip()


def test_waiting_ends_when_the_verdict_is_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command polls until enough pairs have arrived."""
    monkeypatch.setattr(verdict_command, "POLL_S", 0.001)
    store, asked = MemoryStore(), [0]
    state = web_parts(store, shop_ledger(1000))

    class Growing(MemoryStore):
        async def counts(self, key: str) -> dict[str, int]:
            asked[0] += 1
            store.commit(count_writes(pair(), MATCH) * 50)
            return await store.counts(key)

    growing = web_parts(Growing(), shop_ledger(1000), tuple(state.queries.targets()))
    with served(create_web(growing)) as url:
        assert 0 == _run(url, "verdict", "--target", "shop", "--wait").exit_code
    assert asked[0] > 8


def test_waiting_ends_with_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command exits with 3, as without waiting."""
    monkeypatch.setattr(verdict_command, "POLL_S", 0.001)
    with served(create_web(web_parts(MemoryStore(), empty_ledger("shop")))) as url:
        assert 3 == _run(url, "verdict", "--target", "shop", "--wait", "--timeout", "0.05").exit_code


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("targets", "shpo"), "unknown target 'shpo'; configured: shop"),
        (("sample", "shop-00"), "there is no sample with the id 'shop-00'"),
        (("samples", "--target", "shpo"), "unknown target 'shpo'"),
        (("verdict", "--target", "shpo"), "Unknown target 'shpo'; configured: shop."),
    ],
    ids=["target", "sample", "samples", "verdict"],
)
def test_an_unknown_target_or_sample_is_an_error_of_one_line(url: str, arguments: tuple[str, ...], says: str) -> None:
    """The line lists what exists instead, and the command exits with 2."""
    result = _run(url, *arguments)
    assert (2, 1, True) == (result.exit_code, len(result.stderr.splitlines()), says in result.stderr)


@pytest.mark.parametrize(
    "command", [("targets",), ("samples",), ("sample", "x"), ("verdict", "--target", "x")], ids=" ".join
)
def test_an_unavailable_service_is_an_error_of_one_line(command: tuple[str, ...], free_port: int) -> None:
    """The line names the address and the fix, and the command exits with 2."""
    result = _run(f"http://127.0.0.1:{free_port}", *command)
    assert (2, "", 1) == (result.exit_code, result.stdout, len(result.stderr.splitlines()))
    assert f"Error: shadowdiff does not respond at http://127.0.0.1:{free_port} (" in result.stderr
    assert "--url or SHADOWDIFF_URL" in result.stderr


@pytest.mark.parametrize(
    "address", ["file:///etc/hostname", "shadowdiff:8082", "", "http://", "http://[", "http://a b/"]
)
def test_an_invalid_address_is_an_error_of_one_line(address: str) -> None:
    """The command only accepts HTTP addresses."""
    result = _run(address, "targets")
    assert (2, 1) == (result.exit_code, len(result.stderr.splitlines())), result.stderr


def test_another_server_at_the_address_is_reported() -> None:
    """A page or an error from another server is not a response of the API."""

    def page(request: Request) -> Response:
        return PlainTextResponse("hello", 200 if "targets" in request.url.path else 418)

    with served(Starlette(routes=[Route("/{path:path}", page)])) as url:
        shown, refused = _run(url, "targets"), _run(url, "sample", "x")
    assert (2, 2) == (shown.exit_code, refused.exit_code)
    assert "is not the same version as this command" in shown.stderr
    assert "returned 418" in refused.stderr


def test_the_address_comes_from_the_environment_too(url: str) -> None:
    """SHADOWDIFF_URL replaces `--url`."""
    result = CliRunner().invoke(main, ["targets"], env={"SHADOWDIFF_URL": url})
    assert (0, True) == (result.exit_code, "shop" in result.output)


def test_samples_accept_a_printed_path_and_report_an_unknown_one(url: str) -> None:
    """Users can paste a path from any view, such as `price`. An unknown path is reported."""
    assert 20 == len(json.loads(_run(url, "samples", "--path", "price", "--limit", "99", "--json").output)["samples"])
    said = " ".join(_run(url, "samples", "--path", "cost").output.split())
    assert said.startswith("No samples of shop match: nothing differs at 'cost'; differing paths: price, ")


@pytest.mark.parametrize("command", [("verdict",), ("run", "show"), ("noise", "show"), ("fingerprints",)], ids=" ".join)
def test_the_only_target_need_not_be_named(url: str, command: tuple[str, ...]) -> None:
    """With only one target, every command works the same with and without `--target`."""
    said, unsaid = _run(url, *command, "--target", "shop", "--json"), _run(url, *command, "--json")
    assert (said.exit_code, said.output) == (unsaid.exit_code, unsaid.output)
    assert unsaid.output.startswith("{")


def test_commands_require_a_target_if_there_are_several() -> None:
    """The message lists the targets."""
    with served(create_web(web_parts(MemoryStore(), targets=(shop_target(), shop_target("basket"))))) as url:
        for command in (("samples",), ("verdict",), ("run", "show"), ("noise", "show"), ("fingerprints",)):
            result = _run(url, *command)
            assert (2, True) == (result.exit_code, "there are 2 targets (shop, basket)" in result.stderr)


def test_an_empty_result_is_shown_as_text() -> None:
    """The command does not print an empty table."""
    with served(create_web(web_parts(MemoryStore(), empty_ledger("shop")))) as url:
        assert "No samples of shop" in _run(url, "samples").output
        assert "Nothing has been compared yet" in _run(url, "targets", "shop").output
    with served(create_web(web_parts(MemoryStore(), targets=()))) as url:
        assert "No target is configured yet" in _run(url, "targets").output


@pytest.mark.parametrize("steering", ["\x1b[2J", "\x9b31m", "\x07", "\u202e", "\r", "\x7f", "\u2066"])
def test_content_of_a_response_cannot_control_the_terminal(steering: str) -> None:
    """Escapes, bells and direction marks are shown as text."""
    assert steering not in screen.inert(f"a{steering}b")
    assert "a\nb\tc" == screen.inert("a\nb\tc")


def test_markup_in_values_is_shown_as_it_is() -> None:
    """Brackets in JSON are not interpreted as styles."""
    console = Console(width=80, markup=False)
    with console.capture() as capture:
        console.print(screen.text("[red]x[/red] :smile: [1, 2]"))
    assert "[red]x[/red] :smile: [1, 2]" == capture.get().strip()


@pytest.mark.parametrize("command", ["targets", "samples", "sample", "verdict"])
def test_help_has_a_description_and_the_usage(command: str) -> None:
    """The help of each command has an example to copy."""
    output = CliRunner().invoke(main, [command, "--help"]).output
    assert "Example" in output
    assert "SHADOWDIFF_URL" in output


def test_fingerprints_are_a_line_each_with_the_numbers_of_the_page(url: str) -> None:
    """Each line has the path, count and age. An option sorts by severity."""
    lines = _lines(_run(url, "fingerprints", "--sort", "severity"))
    assert lines[0].startswith("id | difference | count | share")
    assert any("GET /products/{id} | price value | 20 | 1.43\u202f%" in line for line in lines)
    reply = json.loads(_run(url, "fingerprints", "--json").output)
    assert 34 == sum(one["count"] for one in reply["fingerprints"])


def test_causes_are_a_line_each_and_one_shows_its_values(url: str) -> None:
    """The list says how many pairs differ and how many causes explain them; each line is a sentence."""
    lines = _lines(_run(url, "causes", "--sort", "alone"))
    assert re.fullmatch(r"v2 differs in 34 of [\d,]+ pairs\. \d+ causes explain all of them\.", lines[0])
    assert lines[1].startswith("id | cause | routes | pairs | alone")
    reply = json.loads(_run(url, "causes", "--kind", "status", "--json").output)
    lines = _lines(_run(url, "cause", reply["causes"][0]["id"]))
    assert "status" in lines[0].lower() or "returns" in lines[0]
    assert "200 | → | 500 | 1 ×" in lines
    assert lines[-1].startswith("shadowdiff sample shop-")


def test_one_fingerprint_shows_the_values_of_both_sides(url: str) -> None:
    """The output also names a sample."""
    reply = json.loads(_run(url, "fingerprints", "--kind", "status", "--json").output)
    lines = _lines(_run(url, "fingerprint", reply["fingerprints"][0]["id"]))
    assert "200 | → | 500 | 1 ×" in lines
    assert lines[-1].startswith("shadowdiff sample shop-")


def test_an_empty_list_shows_whether_there_are_other_fingerprints(url: str) -> None:
    """With filters, an empty list alone would look as if there were no differences."""
    assert ["No differences of shop match; there are 4 groups in all."] == _lines(
        _run(url, "fingerprints", "--state", "fixed")
    )
    assert 2 == _run(url, "fingerprint", "ffffffffffff").exit_code
