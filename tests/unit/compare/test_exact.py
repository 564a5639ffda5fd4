"""JSON is read without loss, by whichever tier."""

from __future__ import annotations

import gzip
import json
from decimal import Decimal
from pathlib import Path

import pytest

from shadowdiff.compare import NotJsonError, parse_exact
from shadowdiff.compare.depth import MAX_DEPTH
from shadowdiff.compare.exact import parse_both
from shadowdiff.compare.values import Constant, HugeInteger, HugeNumber, Repeated, Value, same
from shadowdiff.model import Result
from tests.property.json_texts import same_by_oracle
from tests.unit.compare.test_engine import judged

CORPUS = Path(__file__).parents[3] / "fixtures" / "json-parsing" / "json-test-suite.json.gz"
TEXTS: list[tuple[str, str]] = [(name, text) for name, text in json.loads(gzip.decompress(CORPUS.read_bytes()))]
TOLERATED = {"n_number_NaN.json", "n_number_infinity.json", "n_number_minus_infinity.json"}
"""JSON knows no NaN; it is read nevertheless, as a value of its own, since servers write it."""


def accepted(text: str) -> bool:
    """Whether the exact parser reads the text."""
    try:
        parse_exact(text.encode("utf-8", "surrogatepass"))
    except NotJsonError:
        return False
    return True


@pytest.mark.parametrize(("name", "text"), TEXTS, ids=[name for name, _ in TEXTS])
def test_the_corpus_of_json_texts_is_read_as_it_asks(name: str, text: str) -> None:
    """What must be accepted is, what must be refused is, and the rest does either without an exception."""
    said = accepted(text)
    if not name.startswith("i_"):
        assert said == (name.startswith("y_") or name in TOLERATED)


@pytest.mark.parametrize(("name", "text"), TEXTS, ids=[name for name, _ in TEXTS])
def test_every_tier_reads_the_corpus_alike(name: str, text: str) -> None:
    """A text against itself with a blank is the same value, by whatever tier, or refused by all."""
    del name
    body = text.encode("utf-8", "surrogatepass")
    try:
        parsed = parse_both(body, body + b" ")
    except NotJsonError:
        assert not accepted(text)
        return
    assert same(parsed.primary, parsed.candidate)
    assert parsed.tier == 3 or accepted(text)


def test_texts_of_the_corpus_are_equal_where_an_independent_parser_says_so() -> None:
    """Each that must be accepted against each other, both as elements of an array and by themselves."""
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
def test_the_tier_is_the_fastest_that_cannot_lie(one: str, other: str, tier: int) -> None:
    """Both bodies are read by one tier, whichever side needs it."""
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
def test_the_exact_parser_keeps_what_others_lose(text: str, value: Value) -> None:
    """Digits, duplicates, constants and lone surrogates."""
    assert same(parse_exact(text.encode()), value)


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
@pytest.mark.parametrize("tail", ["1", "1e400"])
def test_no_tier_reads_deeper_than_another(opening: str, closing: str, tail: str) -> None:
    """The bound on depth is the same whether orjson reads the text or the exact parser does."""
    deepest, deeper = ((opening * depth + tail + closing * depth).encode() for depth in (MAX_DEPTH, MAX_DEPTH + 1))
    assert parse_both(deepest, deepest).tier in {1, 3}
    with pytest.raises(NotJsonError, match="nested deeper than 254 levels"):
        parse_both(deeper, deeper)


def test_an_error_says_what_is_wrong_and_where() -> None:
    """For whoever reads the difference."""
    with pytest.raises(NotJsonError, match="Extra data at character 2"):
        parse_exact(b"1 x")
    with pytest.raises(NotJsonError, match="not UTF-8 at byte 1"):
        parse_exact(b'"\xff"')
