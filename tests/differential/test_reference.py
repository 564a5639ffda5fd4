"""The reference gives the results of the golden cases, and of simple pairs."""

from __future__ import annotations

import json
from random import Random
from typing import TYPE_CHECKING, Any, cast

import pytest
import yaml

from tests.differential.assignments import by_exchange, by_trying
from tests.differential.reference import Response, expected
from tests.golden.cases import CASES, names

if TYPE_CHECKING:
    from pathlib import Path

READABLE = ("application/json", "text/plain", "text/html", "application/x-ndjson")
OUTSIDE = (
    *("number-5000", "number-1e", "number-exponent-of", "nan", "duplicate", "bom", "lone", "depth", "invalid"),
    *(
        "ndjson-broken-line",
        "ndjson-one-line-of-two-values",
        "ignore-own-route",
        "document-duplicate",
        "body-type",
        "graphql-",
        "join-",
        "own-origin-",
        "html-",
    ),
)
"""Cases that are not the reference's concern.

They are about broken bodies, values beyond ordinary JSON, another route, or settings and rules that read bodies in
another way.
"""


def _read(file: Path) -> Response | None:
    head, _, body = file.read_bytes().partition(b"\n\n")
    status, *lines = head.decode("latin-1").split("\n")
    fields = [line.partition(":") for line in lines]
    headers = {name.lower(): value.strip() for name, _, value in fields}
    kind = headers.pop("content-type", "")
    if headers or len(fields) != 1 or kind not in READABLE:
        return None
    try:
        return Response(int(status.split()[1]), {}, kind, body.decode())
    except UnicodeDecodeError:
        return None


def _golden() -> list[tuple[str, Response, Response, list[dict[str, Any]], str]]:
    found: list[tuple[str, Response, Response, list[dict[str, Any]], str]] = []
    for name in names():
        one, other = _read(CASES / name / "v1.http"), _read(CASES / name / "v2.http")
        wanted = cast("dict[str, Any]", json.loads((CASES / name / "expected.json").read_text()))
        if one is None or other is None or one.type != other.type or name.startswith(OUTSIDE):
            continue
        if wanted["result"] == "incomparable" or one.status >= 500 or other.status >= 500:
            continue
        try:
            if one.type == "application/json":
                _ = json.loads(one.body), json.loads(other.body)
        except ValueError:
            continue
        rules = CASES / name / "rules.yaml"
        declared = cast("list[dict[str, Any]]", yaml.safe_load(rules.read_text())) if rules.exists() else []
        found.append((name, one, other, declared, str(wanted["result"])))
    return found


@pytest.mark.parametrize("case", _golden(), ids=lambda case: case[0])
def test_the_reference_agrees_with_the_golden_cases(case: tuple[str, Response, Response, list[Any], str]) -> None:
    """The strict and the lenient reference both give the result that the golden case expects."""
    _, one, other, rules, result = case
    assert [expected(one, other, rules, strict=strict) for strict in (True, False)] == [result, result]


def test_the_reference_reads_enough_golden_cases() -> None:
    """The selection of golden cases does not shrink unnoticed."""
    assert len(_golden()) >= 150


@pytest.mark.parametrize("seed", range(300))
def test_exchanging_partners_finds_what_trying_all_assignments_finds(seed: int) -> None:
    """Both search algorithms agree on random relations between elements."""
    random = Random(seed)
    sizes = random.randint(0, 5), random.randint(0, 5)
    share = random.choice([0.2, 0.4, 0.7])
    fits = {(i, j) for i in range(5) for j in range(5) if random.random() < share}
    removed, added = ({at for at in range(5) if random.random() < 0.3} for _ in range(2))

    def pair(index: int, against: int) -> bool:
        return (index, against) in fits

    relation = pair, removed.__contains__, added.__contains__
    assert by_exchange(sizes, *relation) == by_trying(sizes, *relation)
