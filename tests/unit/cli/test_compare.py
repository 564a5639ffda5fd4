"""The compare command: files in, differences and diff(1)'s exit statuses out."""

from __future__ import annotations

import base64
import gzip
import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from shadowdiff.cli.compare import command

if TYPE_CHECKING:
    from pathlib import Path


def run(folder: Path, v1: str, v2: str, *options: str, ending: str = ".json") -> Result:
    """Write both files and compare them."""
    one, other = folder / f"v1{ending}", folder / f"v2{ending}"
    one.write_text(v1)
    other.write_text(v2)
    return CliRunner().invoke(command, [str(one), str(other), *options])


@pytest.mark.parametrize(("v2", "status"), [('{"b":2,"a":1}', 0), ('{"a":1,"b":3}', 1), ('{"a":1,"b":2,"c":1}', 1)])
def test_the_exit_status_is_that_of_diff(tmp_path: Path, v2: str, status: int) -> None:
    """0 says equal, 1 says different."""
    assert run(tmp_path, '{"a":1,"b":2}', v2).exit_code == status


def test_covered_differences_exit_with_zero(tmp_path: Path) -> None:
    """A rule that covers every difference makes the result `ignored`."""
    rules = tmp_path / "rules.yaml"
    rules.write_text("- {ignore: $.at, reason: clock}\n")
    result = run(tmp_path, '{"at":1}', '{"at":2}', "--rules", str(rules))
    assert (result.exit_code, result.output.splitlines()[0]) == (0, "ignored: 0 differences, 1 covered by rules")


def test_one_difference_is_one_difference(tmp_path: Path) -> None:
    """The grammar holds for one and for many."""
    assert "mismatch: 1 difference, 0 covered by rules" == run(tmp_path, "1", "2").output.splitlines()[0]
    assert "mismatch: 2 differences, 0 covered by rules" == run(tmp_path, "[1,2]", "[3,4]").output.splitlines()[0]


@pytest.mark.parametrize(
    ("v1", "v2", "shown"),
    [
        (b"one\ntwo\n", b"one\ntwo", ["  - two[-\\n-]", "  + two"]),
        (b"one\r\n", b"one\n", ["  - one[-\\r\\n-]", "  + one{+\\n+}"]),
    ],
)
def test_a_line_end_that_changed_is_written_out(tmp_path: Path, v1: bytes, v2: bytes, shown: list[str]) -> None:
    """A mark around a real line end would break over two lines."""
    (tmp_path / "v1.txt").write_bytes(v1)
    (tmp_path / "v2.txt").write_bytes(v2)
    result = CliRunner().invoke(command, [str(tmp_path / "v1.txt"), str(tmp_path / "v2.txt")])
    assert shown == result.output.splitlines()[2:]


def test_a_broken_rule_is_a_usage_error_that_names_it(tmp_path: Path) -> None:
    """The message names the file, the rule and what would be right."""
    rules = tmp_path / "rules.yaml"
    rules.write_text("- {ignore: at}\n")
    result = run(tmp_path, "1", "1", "--rules", str(rules))
    assert result.exit_code == 2
    assert "rules[0].ignore.path: 'at'" in result.output


def test_json_output_is_the_comparison(tmp_path: Path) -> None:
    """Machines get the result with every field."""
    result = run(tmp_path, '{"a":1}', '{"a":"1"}', "--json")
    assert json.loads(result.output) == {
        "result": "mismatch",
        "reason": "",
        "unlisted": 0,
        "differences": [
            {
                "path": "$['a']",
                "pattern": "$['a']",
                "kind": "type",
                "primary": "1",
                "candidate": '"1"',
                "severity": "breaking",
                "rule": None,
            }
        ],
    }


def test_patch_output_is_rfc_6902(tmp_path: Path) -> None:
    """The operations lead from V1 to V2; names are escaped as RFC 6901 says."""
    result = run(tmp_path, '{"a/b":[1,2]}', '{"a/b":[1,9,2]}', "--format", "patch")
    assert (result.exit_code, json.loads(result.output)) == (1, [{"op": "add", "path": "/a~1b/1", "value": 9}])


def test_deepdiff_output_is_deepdiffs_own(tmp_path: Path) -> None:
    """The report has DeepDiff's keys."""
    result = run(tmp_path, '{"a":1}', '{"a":2}', "--format", "deepdiff")
    assert json.loads(result.output) == {"values_changed": {"root['a']": {"new_value": 2, "old_value": 1}}}


def test_a_patch_of_text_is_a_usage_error(tmp_path: Path) -> None:
    """A patch can only speak of JSON."""
    result = run(tmp_path, "a", "b", "--format", "patch", ending=".txt")
    assert result.exit_code == 2
    assert "--format patch is for two JSON bodies" in result.output


def test_the_ending_names_the_type_and_the_option_overrides_it(tmp_path: Path) -> None:
    """Reordered members are equal as JSON, and different as text."""
    texts = ('{"a":1,"b":2}', '{"b":2,"a":1}')
    assert run(tmp_path, *texts).exit_code == 0
    assert run(tmp_path, *texts, "--content-type", "text/plain").exit_code == 1


def test_recorded_exchanges_compare_status_headers_and_body(tmp_path: Path) -> None:
    """Headers may be an object or pairs, and a coded body comes as base64."""
    body = base64.b64encode(gzip.compress(b'{"a":1}')).decode()
    v1 = {"status": 200, "headers": {"Content-Type": "application/json"}, "body": '{"a": 1}', "path": "/x/1"}
    v2 = {
        "status": 201,
        "headers": [["content-type", "application/json"], ["content-encoding", "gzip"]],
        "body_base64": body,
    }
    result = run(tmp_path, json.dumps(v1), json.dumps(v2), "--json")
    assert [difference["path"] for difference in json.loads(result.output)["differences"]] == ["status"]


@pytest.mark.parametrize("form", ["patch", "deepdiff"])
@pytest.mark.parametrize(
    ("other", "said"),
    [
        ('{"a":1,"a":2}', "a member name is written more than once, with the values [1,2]; --format json says it"),
        ('{"a":NaN}', "NaN is no JSON value; --format json says it"),
        ("{", "v2.json holds none: Expecting property name"),
    ],
)
def test_what_no_export_can_say_is_a_usage_error_that_says_why(
    tmp_path: Path, form: str, other: str, said: str
) -> None:
    """Rather than a report of other values than the bodies hold."""
    result = run(tmp_path, "{}", other, "--format", form)
    assert 2 == result.exit_code
    assert said in " ".join(result.output.split())


def test_a_patch_of_coded_bodies_speaks_of_what_they_hold(tmp_path: Path) -> None:
    """The coding is undone first, as for the comparison."""
    body = base64.b64encode(gzip.compress(b'{"a":1}')).decode()
    one: dict[str, object] = {"status": 200, "headers": {"content-encoding": "gzip"}, "body_base64": body}
    other: dict[str, object] = {"status": 200, "headers": {}, "body": '{"a":2}'}
    result = run(tmp_path, json.dumps(one), json.dumps(other), "--format", "patch")
    assert json.loads(result.output) == [{"op": "replace", "path": "/a", "value": 2}]


def test_an_incomparable_pair_exits_with_two(tmp_path: Path) -> None:
    """What v1 failed to give is no measure."""
    failed: dict[str, object] = {"status": 503, "headers": {}, "body": ""}
    result = run(tmp_path, json.dumps(failed), json.dumps(failed))
    assert (result.exit_code, result.output) == (2, "incomparable: primary_5xx\n")


def test_a_broken_exchange_says_what_is_wrong(tmp_path: Path) -> None:
    """Base64 that is none is a usage error."""
    broken: dict[str, object] = {"status": 200, "headers": {}, "body_base64": "?"}
    result = run(tmp_path, json.dumps(broken), json.dumps(broken))
    assert result.exit_code == 2
    assert "not a recorded exchange" in result.output
