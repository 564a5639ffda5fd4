"""Test the limits of a comparison, and pickling of rules and results."""

from __future__ import annotations

import gzip
import json
import pickle
import time

import pytest

from shadowdiff.compare import Limits
from shadowdiff.model import Kind, Result
from shadowdiff.rules import compile_rules, parse_rules
from tests.fakes.responses import NOW, judged

REPEATS = [index * 7919 % 10 for index in range(50_000)]


def test_differences_are_limited_and_the_rest_is_counted() -> None:
    """The list of a thousand differences is shorter than a thousand lines."""
    one, other = (
        json.dumps(dict.fromkeys(map(str, range(1000)), 1)),
        json.dumps(dict.fromkeys(map(str, range(1000)), 2)),
    )
    comparison = judged(one.encode(), other.encode(), limits=Limits(differences=10))
    assert (len(comparison.differences), comparison.unlisted) == (10, 990)


def test_noise_never_displaces_differences_that_count() -> None:
    """After a thousand covered differences, the only one that counts is listed first."""
    one = {**{f"n{index}": 1 for index in range(1000)}, "z": 1}
    other = dict.fromkeys(one, 2)
    rules = [{"ignore": f"$.n{index}"} for index in range(1000)]
    comparison = judged(json.dumps(one).encode(), json.dumps(other).encode(), *rules, limits=Limits(covered=5))
    assert comparison.result is Result.MISMATCH
    assert [difference.path for difference in comparison.differences if difference.rule is None] == ["$['z']"]
    assert (len(comparison.differences), comparison.unlisted) == (6, 995)


def test_values_and_paths_are_cut() -> None:
    """A long name shows its start, and a long text the changed part."""
    one, other = ({"k" * 100_000: "v" * 50_000 + end + "v" * 50_000} for end in "ab")
    (difference,) = judged(
        json.dumps(one).encode(), json.dumps(other).encode(), limits=Limits(value_chars=50, path_chars=60)
    ).differences
    assert difference.primary is not None
    assert (len(difference.primary), len(difference.path), difference.path[-1]) == (50, 60, "…")
    assert ("va" in difference.primary, "vb" in str(difference.candidate)) == (True, True)


def test_two_bombs_are_incomparable_and_one_is_a_mismatch() -> None:
    """If both bodies exceed the limit, they cannot be compared.

    If only one body exceeds the limit, the size differs.
    """
    headers = ((b"content-type", b"application/json"), (b"content-encoding", b"gzip"))
    bomb, other_bomb, small = (gzip.compress(body) for body in (bytes(10**7), b"0" * 10**7, b"{}"))
    limits = Limits(decoded_bytes=100_000)
    both = judged(bomb, other_bomb, limits=limits, headers=headers)
    one = judged(small, bomb, limits=limits, headers=headers)
    assert (both.result, both.reason) == (Result.INCOMPARABLE, "undecodable")
    assert (one.result, one.differences[0].kind) == (Result.MISMATCH, Kind.BYTES)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b"[" + b"0," * 50_000 + b"0]", b"[" + b"1," * 50_000 + b"1]"),
        (json.dumps(REPEATS).encode(), json.dumps([i * i % 10 for i in range(50_000)]).encode()),
        (json.dumps([{"a": i} for i in range(5_000)]).encode(), json.dumps([{"a": -i} for i in range(4_999)]).encode()),
        (b'{"a":' * 200 + b"1" + b"}" * 200, b'{"a":' * 200 + b"2" + b"}" * 200),
    ],
    ids=["all-changed", "random-repeats", "all-objects-changed", "deep"],
)  # fmt: skip
def test_hard_arrays_take_linear_time(one: bytes, other: bytes) -> None:
    """Comparing hard arrays takes far less work than a quadratic alignment."""
    began = time.process_time()
    assert judged(one, other, {"ignore": "$..b"}).result is Result.MISMATCH
    assert time.process_time() - began < 20


def test_rules_and_results_can_be_pickled() -> None:
    """A pool receives the declarations, and compiles them once."""
    rules = compile_rules(parse_rules([{"mask": {"path": "$.a", "pattern": "x+"}}]), NOW)
    shipped = pickle.loads(pickle.dumps(rules))  # noqa: S301
    assert shipped.rules == rules.rules
    assert pickle.loads(pickle.dumps(rules)) is shipped  # noqa: S301
    comparison = judged(b'{"a":1}', b'{"a":2}')
    assert pickle.loads(pickle.dumps(comparison)) == comparison  # noqa: S301


@pytest.mark.parametrize("long", ["1.5", "0.12345678901234567890"])
def test_a_changed_kind_next_to_a_changed_value_is_noted(long: str) -> None:
    """The proof of kinds puts v1's values into v2; the strict walk that follows sees v2's own values again."""
    one = f'{{"a":{{"v":"old","n":[1,{{"k":1}}]}},"long":{long},"same":2,"list":[1,2,3,4]}}'
    other = f'{{"a":{{"v":"new","n":[1,{{"k":1.0}}]}},"long":{long},"same":2,"list":[1,2,9,4]}}'
    found = {(d.path, d.primary, d.candidate) for d in judged(one.encode(), other.encode()).differences}
    expected = {("$['a']['v']", '"old"', '"new"'), ("$['a']['n'][1]['k']", "1", "1.0"), ("$['list'][2]", "3", "9")}
    assert expected == found
