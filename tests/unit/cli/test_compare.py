"""The compare command reads files, prints differences, and uses diff(1)'s exit statuses."""

from __future__ import annotations

import base64
import gzip
import json
import tempfile
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from shadowdiff.cli.compare import command
from shadowdiff.cli.exchange import COMPARED, MEMBERS


def run(folder: Path, v1: str, v2: str, *options: str, ending: str = ".json") -> Result:
    """Write both files and compare them."""
    one, other = folder / f"v1{ending}", folder / f"v2{ending}"
    one.write_text(v1)
    other.write_text(v2)
    return CliRunner().invoke(command, [str(one), str(other), *options])


@pytest.mark.parametrize(("v2", "status"), [('{"b":2,"a":1}', 0), ('{"a":1,"b":3}', 1), ('{"a":1,"b":2,"c":1}', 1)])
def test_the_exit_status_is_that_of_diff(tmp_path: Path, v2: str, status: int) -> None:
    """The exit status is 0 for equal files and 1 for different ones."""
    assert run(tmp_path, '{"a":1,"b":2}', v2).exit_code == status


def test_covered_differences_exit_with_zero(tmp_path: Path) -> None:
    """A rule that covers every difference makes the result `ignored`."""
    rules = tmp_path / "rules.yaml"
    rules.write_text("- {ignore: $.at, reason: clock}\n")
    result = run(tmp_path, '{"at":1}', '{"at":2}', "--rules", str(rules))
    assert (result.exit_code, result.output.splitlines()[0]) == (0, "ignored: 0 differences, 1 covered by rules")


def test_one_difference_is_one_difference(tmp_path: Path) -> None:
    """The text uses the singular for one difference and the plural for several."""
    assert "mismatch: 1 difference, 0 covered by rules" == run(tmp_path, "1", "2").output.splitlines()[0]
    assert "mismatch: 2 differences, 0 covered by rules" == run(tmp_path, "[1,2]", "[3,4]").output.splitlines()[0]


def test_a_body_type_replaces_the_content_type(tmp_path: Path) -> None:
    """Exchanges keep their headers; a type that no format reads is a usage error with a fix."""
    one, other = (
        json.dumps({"status": 200, "headers": {"content-type": "text/plain"}, "body": body})
        for body in ('{"a":1,"b":2}', '{"b":2,"a":1}')
    )
    assert 1 == run(tmp_path, one, other).exit_code
    assert 0 == run(tmp_path, one, other, "--body-type", "application/json").exit_code
    wrong = run(tmp_path, one, other, "--body-type", "jsn")
    assert 2 == wrong.exit_code
    assert "'jsn': write a type that shadowdiff can read, such as application/json" in " ".join(wrong.output.split())


@pytest.mark.parametrize(
    ("v1", "v2", "shown"),
    [
        (b"one\ntwo\n", b"one\ntwo", ["  - two[-\\n-]", "  + two"]),
        (b"one\r\n", b"one\n", ["  - one[-\\r\\n-]", "  + one{+\\n+}"]),
    ],
)
def test_a_line_end_that_changed_is_written_out(tmp_path: Path, v1: bytes, v2: bytes, shown: list[str]) -> None:
    """A changed line end is shown as an escape, because a marked real one would break the line."""
    (tmp_path / "v1.txt").write_bytes(v1)
    (tmp_path / "v2.txt").write_bytes(v2)
    result = CliRunner().invoke(command, [str(tmp_path / "v1.txt"), str(tmp_path / "v2.txt")])
    assert [*shown, "read as bodies of text/plain"] == result.output.splitlines()[2:]


def test_a_broken_rule_is_a_usage_error_that_names_it(tmp_path: Path) -> None:
    """The message names the file, the rule and a valid value."""
    rules = tmp_path / "rules.yaml"
    rules.write_text("- {ignore: at}\n")
    result = run(tmp_path, "1", "1", "--rules", str(rules))
    assert result.exit_code == 2
    assert "rules[0].ignore.path: 'at'" in result.output


def test_json_output_is_the_comparison(tmp_path: Path) -> None:
    """The JSON output has every field of the result."""
    result = run(tmp_path, '{"a":1}', '{"a":"1"}', "--json")
    assert json.loads(result.stdout) == {
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
                "change": {"number_as_string": "number → string", "retyped": None},
            }
        ],
    }


def test_patch_output_is_rfc_6902(tmp_path: Path) -> None:
    """The operations turn V1 into V2. Names are escaped as in RFC 6901."""
    result = run(tmp_path, '{"a/b":[1,2]}', '{"a/b":[1,9,2]}', "--format", "patch")
    assert (result.exit_code, json.loads(result.stdout)) == (1, [{"op": "add", "path": "/a~1b/1", "value": 9}])


def test_deepdiff_output_is_deepdiffs_own(tmp_path: Path) -> None:
    """The report has DeepDiff's keys."""
    result = run(tmp_path, '{"a":1}', '{"a":2}', "--format", "deepdiff")
    assert json.loads(result.stdout) == {"values_changed": {"root['a']": {"new_value": 2, "old_value": 1}}}


def test_a_patch_of_text_is_a_usage_error(tmp_path: Path) -> None:
    """A patch can only describe JSON."""
    result = run(tmp_path, "a", "b", "--format", "patch", ending=".txt")
    assert result.exit_code == 2
    assert "--format patch needs two JSON bodies" in result.output


def test_the_ending_names_the_type_and_the_option_overrides_it(tmp_path: Path) -> None:
    """Reordered members are equal as JSON, and different as text."""
    texts = ('{"a":1,"b":2}', '{"b":2,"a":1}')
    assert run(tmp_path, *texts).exit_code == 0
    assert run(tmp_path, *texts, "--content-type", "text/plain").exit_code == 1


def test_recorded_exchanges_compare_status_headers_and_body(tmp_path: Path) -> None:
    """Headers can be an object or pairs, and a coded body is base64."""
    body = base64.b64encode(gzip.compress(b'{"a":1}')).decode()
    v1 = {"status": 200, "headers": {"Content-Type": "application/json"}, "body": '{"a": 1}', "path": "/x/1"}
    v2 = {
        "status": 201,
        "headers": [["content-type", "application/json"], ["content-encoding", "gzip"]],
        "body_base64": body,
    }
    result = run(tmp_path, json.dumps(v1), json.dumps(v2), "--json")
    assert [difference["path"] for difference in json.loads(result.stdout)["differences"]] == ["status"]


@pytest.mark.parametrize("form", ["patch", "deepdiff"])
@pytest.mark.parametrize(
    ("other", "said"),
    [
        ('{"a":1,"a":2}', "a member name occurs more than once, with the values [1,2]; use --format json"),
        ('{"a":NaN}', "NaN is not a JSON value; use --format json"),
        ("{", "v2.json is not JSON: Expecting property name"),
    ],
)
def test_a_body_that_cannot_be_exported_is_a_usage_error_with_the_reason(
    tmp_path: Path, form: str, other: str, said: str
) -> None:
    """The command rejects an export that would change the values of the bodies."""
    result = run(tmp_path, "{}", other, "--format", form)
    assert 2 == result.exit_code
    assert said in " ".join(result.output.split())


def test_a_patch_of_compressed_bodies_is_about_the_decoded_values(tmp_path: Path) -> None:
    """The bodies are decoded first, as in the comparison."""
    body = base64.b64encode(gzip.compress(b'{"a":1}')).decode()
    one: dict[str, object] = {"status": 200, "headers": {"content-encoding": "gzip"}, "body_base64": body}
    other: dict[str, object] = {"status": 200, "headers": {}, "body": '{"a":2}'}
    result = run(tmp_path, json.dumps(one), json.dumps(other), "--format", "patch")
    assert json.loads(result.stdout) == [{"op": "replace", "path": "/a", "value": 2}]


def test_an_incomparable_pair_exits_with_two(tmp_path: Path) -> None:
    """If v1 failed, the pair cannot be compared."""
    failed: dict[str, object] = {"status": 503, "headers": {}, "body": ""}
    result = run(tmp_path, json.dumps(failed), json.dumps(failed))
    assert (result.exit_code, result.output.splitlines()[0]) == (2, "incomparable: primary_5xx")


def test_a_broken_exchange_has_an_error_with_the_reason(tmp_path: Path) -> None:
    """Invalid base64 is a usage error."""
    broken: dict[str, object] = {"status": 200, "headers": {}, "body_base64": "?"}
    result = run(tmp_path, json.dumps(broken), json.dumps(broken))
    assert result.exit_code == 2
    assert "not a recorded exchange" in result.output


STUB: dict[str, object] = {"status": 200, "headers": {"a": "b"}, "body": "hello"}
RECORD: dict[str, object] = {
    "id": "1", "id_source": "x-diff-id", "method": "GET", "path": "/", "host": "shop", "status": 200,
    "headers": [["content-type", "application/json"]], "body_base64": "e30=",
}  # fmt: skip


def _both(folder: Path, v1: object, v2: object, *options: str) -> tuple[int, str, str]:
    """Return the status, the summary and how the files were read."""
    result = run(folder, json.dumps(v1), json.dumps(v2), *options)
    lines = result.stdout.splitlines()
    return result.exit_code, lines[0] if lines else "", lines[-1] if lines else result.stderr.splitlines()[-1]


def test_json_that_looks_like_an_exchange_is_compared_whole(tmp_path: Path) -> None:
    """A WireMock stub can differ in a member that no record has."""
    status, said, read = _both(tmp_path, STUB | {"delayMs": 10}, STUB | {"delayMs": 99})
    assert (1, "mismatch: 1 difference, 0 covered by rules") == (status, said)
    assert read.startswith("read as bodies of application/json: ")
    assert read.endswith("v1.json looks like a recorded exchange, but an exchange has no field 'delayMs'")


def test_as_decides_how_files_are_read(tmp_path: Path) -> None:
    """`--as` applies to any content, and the output names what is not compared."""
    one, other = STUB | {"delayMs": 10}, STUB | {"delayMs": 99}
    assert (0, "read as recorded exchanges (status, headers, body, without delayMs): by --as exchange") == _both(
        tmp_path, one, other, "--as", "exchange"
    )[::2]
    assert (1, "read as bodies of application/json: by --as body") == _both(tmp_path, one, other, "--as", "body")[::2]
    assert (1, "read as bodies of text/plain: by --content-type") == _both(
        tmp_path, one, other, "--content-type", "text/plain"
    )[::2]
    assert 2 == _both(tmp_path, [1], [1], "--as", "exchange")[0]
    assert 2 == _both(tmp_path, STUB, STUB, "--as", "exchange", "--content-type", "text/plain")[0]


@pytest.mark.parametrize(
    ("one", "other", "status", "read"),
    [
        (STUB, STUB | {"body": "bye"}, 1, "recorded exchanges"),
        (STUB, STUB | {"status": 404}, 1, "recorded exchanges"),
        (STUB | {"id": "1"}, STUB | {"id": "2"}, 1, "bodies"),
        (STUB | {"duration_ms": 1}, STUB | {"duration_ms": 2}, 1, "bodies"),
        (STUB, {"a": 1}, 1, "bodies"),
        (STUB | {"body": [1]}, STUB | {"body": [2]}, 1, "bodies"),
        (STUB | {"status": "200"}, STUB | {"status": "200"}, 0, "bodies"),
        (RECORD | {"duration_ms": 1.5}, RECORD | {"duration_ms": 2.5, "side": "candidate"}, 0, "recorded exchanges"),
        (RECORD | {"trailers": [["grpc-status", "0"]]}, RECORD | {"trailers": [["grpc-status", "5"]]}, 1,
         "recorded exchanges"),
        (RECORD | {"size": 9}, RECORD | {"size": 9}, 2, "recorded exchanges"),
    ],
)  # fmt: skip
def test_files_are_exchanges_only_if_no_difference_is_lost(
    tmp_path: Path, one: object, other: object, status: int, read: str
) -> None:
    """The output says if files are read as exchanges."""
    found = _both(tmp_path, one, other)
    assert (status, True) == (found[0], found[2].startswith(f"read as {read}")), found


@given(
    st.dictionaries(st.sampled_from([*sorted(MEMBERS - COMPARED), "x", "delayMs"]), st.integers(0, 2), max_size=3),
    st.dictionaries(st.sampled_from([*sorted(MEMBERS - COMPARED), "x", "delayMs"]), st.integers(0, 2), max_size=3),
)
def test_a_member_that_differs_is_never_a_match(one: dict[str, int], other: dict[str, int]) -> None:
    """The comparison includes members other than status, headers and body."""
    with tempfile.TemporaryDirectory() as folder:
        status, _, read = _both(Path(folder), STUB | one, STUB | other)
    differs = any(one[name] != other[name] for name in one.keys() & other.keys())
    assert not differs or (1, True) == (status, read.startswith("read as bodies")), read


@pytest.mark.parametrize(
    "broken",
    [
        {"headers": {"a": None}}, {"headers": ["ab"]}, {"headers": [["a"]]}, {"headers": [["a", 1, 2]]},
        {"headers": {"€": "b"}}, {"headers": [[1, "b"]]}, {"size": 1}, {"size": "9"}, {"size": -1},
        {"body_base64": "?", "body": None},
    ],
)  # fmt: skip
def test_a_malformed_exchange_is_an_error_that_offers_the_other_reading(
    tmp_path: Path, broken: dict[str, object]
) -> None:
    """The command neither guesses the format nor prints a traceback."""
    result = run(tmp_path, json.dumps(STUB | broken), json.dumps(STUB | broken))
    assert (2, True) == (
        result.exit_code,
        "To compare the files as JSON, use --as body" in " ".join(result.output.split()),
    )


def test_a_duplicate_member_is_detected(tmp_path: Path) -> None:
    """An exchange would use only the last of the two."""
    twice = '{"status": 500, "status": 200, "headers": {}, "body": ""}'
    result = run(tmp_path, twice, '{"status": 200, "headers": {}, "body": ""}')
    assert (1, True) == (result.exit_code, "the field 'status' occurs twice" in result.output)


def test_machine_readable_formats_report_the_reading_on_standard_error(tmp_path: Path) -> None:
    """Standard output contains only the machine-readable form."""
    for options in (("--json",), ("--format", "json"), ("--format", "patch")):
        result = run(tmp_path, "[1]", "[2]", *options)
        assert (1, "read as bodies of application/json\n") == (result.exit_code, result.stderr)
        json.loads(result.stdout)


def test_an_unknown_file_name_extension_is_reported(tmp_path: Path) -> None:
    """The bytes are compared, and the message names the option that helps."""
    result = run(tmp_path, "{}", "{ }", ending=".dat")
    assert result.output.splitlines()[-1] == (
        "read as bodies of application/octet-stream: the file name has no known extension: "
        "set the type with --content-type"
    )


def test_two_forms_at_once_are_an_error(tmp_path: Path) -> None:
    """The command ignores neither of the two options."""
    assert 2 == run(tmp_path, "1", "1", "--json", "--format", "patch").exit_code
