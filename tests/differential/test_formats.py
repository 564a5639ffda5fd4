"""The encoders write what other libraries read, and a fault in a format is reported."""

from __future__ import annotations

import csv
import io
import json
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from google.protobuf import json_format, struct_pb2

from shadowdiff.compare.formats import cbor
from tests.differential import streams
from tests.differential.check import case_of
from tests.differential.encode import ENCODERS, moved
from tests.differential.formats import FORMATS, check

if TYPE_CHECKING:
    from tests.differential.encode import Encoded

SEEDS = range(200)


def encoded(name: str) -> list[Encoded]:
    """Return the cases of some seeds in one format."""
    found = (ENCODERS[name](Random(seed), case_of(seed)) for seed in SEEDS)
    return [each for each in found if each]


def test_yaml_and_csv_have_the_values_of_the_json_case() -> None:
    """PyYAML and the csv module read the values that were encoded."""
    for each in encoded("YAML"):
        assert json.loads(each.case.one.body) == yaml.safe_load(each.bodies[0])
    for each in encoded("CSV"):
        value: dict[str, list[Any]] = json.loads(each.case.one.body)
        header = value["header"]
        rows: list[Any] = [[row[name] for name in header] if isinstance(row, dict) else row for row in value["rows"]]
        assert [header, *rows] == list(csv.reader(io.StringIO(each.bodies[0].decode(), newline="")))


def test_messages_have_the_values_of_the_json_case() -> None:
    """Google's library reads the values that were encoded."""
    plain = [each for each in encoded("Protocol Buffers") if each.type == "application/protobuf"]
    assert plain
    for each in plain:
        message = struct_pb2.Value.FromString(each.bodies[1])
        assert json.loads(each.case.other.body) == json.loads(json_format.MessageToJson(message))


def test_rules_move_with_the_value() -> None:
    """Paths get the place of the value; all else stays."""
    rules: list[dict[str, Any]] = [
        {"ignore": "$..a"},
        {"rename": {"from": "$.a", "to": "snake_case"}, "routes": ["/x"]},
        {"key": {"path": "$", "by": ["$.a.id"]}},
        {"ignore": "header.x"},
    ]
    assert [
        {"ignore": "$.data..a"},
        {"rename": {"from": "$.data.a", "to": "snake_case"}, "routes": ["/x"]},
        {"key": {"path": "$.data", "by": ["$.a.id"]}},
        {"ignore": "header.x"},
    ] == moved(rules, "$.data")


@pytest.mark.parametrize(
    ("joins", "expected"),
    [
        ([], [("x", "a", 0), ("x", "b", 1), ("y", "c", 1), ("y", "", 1)]),
        ([{"path": "$[*].t"}], [("x", "a", 0), ("x", "b", 1), ("y", "c", 1)]),
        ([{"path": "$[*].t", "except": ["n"]}], [("x", "ab", 0), ("y", "c", 1)]),
        ([{"path": "$[*].t", "except": ["n", "r"]}], [("x", "abc", 0)]),
    ],
)
def test_the_reference_joins_neighbors(joins: list[dict[str, Any]], expected: list[tuple[str, str, int]]) -> None:
    """Neighbors are one event if they differ only in the text, and in excepted members."""
    events = [{"r": "x", "t": "a", "n": 0}, {"r": "x", "t": "b", "n": 1}, {"r": "y", "t": "c", "n": 1}]
    events.append({"r": "y", "t": "", "n": 1})
    assert expected == [(each["r"], each["t"], each["n"]) for each in streams.joined(events, joins)]


def test_a_fault_of_a_format_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a format loses a value, cases in this format fail, and no others."""
    monkeypatch.setattr(cbor.Cbor, "value", _lost)
    found = [check(seed, case_of(seed)) for seed in SEEDS]
    assert {"CBOR"} == {each.format for each in found if each.fault}
    assert all("expected, match" in each.fault and each.encoded for each in found if each.fault)
    assert {each.format for each in found} == {*FORMATS}


def _lost(*_: object) -> None:
    """Stand for a reader that loses every value."""
