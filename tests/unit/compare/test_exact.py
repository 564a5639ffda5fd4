"""Every tier parses JSON without loss."""

from __future__ import annotations

import gzip
import json
from decimal import Decimal
from pathlib import Path

import pytest

from shadowdiff.compare import NotJsonError, parse_exact
from shadowdiff.compare.exact import MAX_DEPTH, parse_both
from shadowdiff.model import Result
from shadowdiff.rules.json_values import Constant, HugeInteger, HugeNumber, Repeated, Value, same
from tests.fakes.responses import judged
from tests.property.json_texts import same_by_oracle

CORPUS = Path(__file__).parents[3] / "fixtures" / "json-parsing" / "json-test-suite.json.gz"
TEXTS: list[tuple[str, str]] = [(name, text) for name, text in json.loads(gzip.decompress(CORPUS.read_bytes()))]
TOLERATED = {"n_number_NaN.json", "n_number_infinity.json", "n_number_minus_infinity.json"}
"""JSON has no NaN, but servers write it, so it is read as a separate value."""


def accepted(text: str) -> bool:
    """Whether the exact parser reads the text."""
    try:
        parse_exact(text.encode("utf-8", "surrogatepass"))
    except NotJsonError:
        return False
    return True


@pytest.mark.parametrize(("name", "text"), TEXTS, ids=[name for name, _ in TEXTS])
def test_the_json_corpus_is_parsed_as_it_requires(name: str, text: str) -> None:
    """The parser accepts valid texts and rejects invalid ones. For all others, it raises no other exception."""
    said = accepted(text)
    if not name.startswith("i_"):
        assert said == (name.startswith("y_") or name in TOLERATED)


@pytest.mark.parametrize(("name", "text"), TEXTS, ids=[name for name, _ in TEXTS])
def test_every_parser_reads_the_corpus_in_the_same_way(name: str, text: str) -> None:
    """With an added blank, a text has the same value in every tier, or every tier rejects it."""
    del name
    body = text.encode("utf-8", "surrogatepass")
    try:
        parsed = parse_both(body, body + b" ")
    except NotJsonError:
        assert not accepted(text)
        return
    assert same(parsed.primary, parsed.candidate)
    assert parsed.tier == 3 or accepted(text)


def test_an_independent_parser_agrees_on_equality() -> None:
    """Each valid text is compared with every other, as array elements and alone."""
    texts = [text.encode("utf-8", "surrogatepass") for name, text in TEXTS if name.startswith("y_")]
    wrong = [
        (one, other)
        for start, one in enumerate(texts)
        for other in texts[start:]
        for before, after in ((b"", b" "), (b'["begins alike",', b"]"))
        if (judged(before + one + after, before + other + after.strip()).result is Result.MATCH)
        != same_by_oracle(one, other)
    ]
    assert [] == wrong


@pytest.mark.parametrize(
    ("one", "other", "tier"),
    [
        ('{"a":1.5,"b":"x"}', '{"a":1.5}', 1),
        ('{ "a": 1.50 }', "{}", 1),
        ("[0.12345678901234568]", "[]", 1),
        ("[ 0.12345678901234567 ]", "[]", 2),
        ("[1]", "[ 1234567890123456 ]", 2),
        ("[18446744073709551616]", "[]", 2),
        ("[1e400]", "[]", 3),
        ("[ 1e-100 ]", "[]", 2),
        ('{"a":1,"a":1}', "[]", 3),
        ('{"a" :"\\u003a"}', "[]", 3),
        ('["\\ud800"]', "[]", 3),
        ("[NaN]", "[]", 3),
    ],
)
def test_the_fastest_exact_tier_is_used(one: str, other: str, tier: int) -> None:
    """One tier reads both bodies, whichever side needs it."""
    assert parse_both(one.encode(), other.encode()).tier == tier
    assert parse_both(other.encode(), one.encode()).tier == tier


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("-0", 0),
        ("1.50", Decimal("1.5")),
        ("9" * 5000, HugeInteger("9" * 5000)),
        ("1e400", Decimal("1e400")),
        ("1e99999999999999999999", HugeNumber("1e99999999999999999999")),
        ("-10.0e99999999999999999999", HugeNumber("-1e100000000000000000000")),
        ("0e99999999999999999999999", HugeNumber("0")),
        ("NaN", Constant("NaN")),
        ('{"a":1,"a":2}', {"a": Repeated([1, 2])}),
        ('"\\ud800"', "\ud800"),
    ],
)
def test_the_exact_parser_keeps_digits_that_other_parsers_lose(text: str, value: Value) -> None:
    """The exact parser keeps digits, duplicates, constants and lone surrogates."""
    assert same(parse_exact(text.encode()), value)


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
@pytest.mark.parametrize("tail", ["1", "1e400"])
def test_every_tier_has_the_same_depth_limit(opening: str, closing: str, tail: str) -> None:
    """Both orjson and the exact parser reject the same depth."""
    deepest, deeper = ((opening * depth + tail + closing * depth).encode() for depth in (MAX_DEPTH, MAX_DEPTH + 1))
    assert parse_both(deepest, deepest).tier in {1, 3}
    with pytest.raises(NotJsonError, match="nested deeper than 254 levels"):
        parse_both(deeper, deeper)


def test_an_error_has_the_reason_and_the_place() -> None:
    """The difference shows the error to users."""
    with pytest.raises(NotJsonError, match="Extra data at character 2"):
        parse_exact(b"1 x")
    with pytest.raises(NotJsonError, match="not UTF-8 at byte 1"):
        parse_exact(b'"\xff"')
