"""Relations hold for what they describe, mirror when the sides are swapped, and never change a result."""

from __future__ import annotations

import html
import unicodedata
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from shadowdiff.compare import Limits, parse_exact
from shadowdiff.compare.finding import show
from shadowdiff.compare.relations import relate
from shadowdiff.model import Kind
from shadowdiff.model.relation import MOST_PARAMETERS, PARAMETER_CHARS, Relation
from tests.fakes import responses
from tests.property.json_texts import pairs

if TYPE_CHECKING:
    from shadowdiff.model import Comparison, Headers
    from shadowdiff.model.relation import Parameters
    from shadowdiff.rules.json_values import Value

R = Relation
SYMMETRIC = (
    R.SAME_INSTANT | R.INTEGER_AS_DECIMAL | R.NUMBER_AS_STRING | R.CASE | R.WHITE_SPACE | R.NORMALIZATION
    | R.ESCAPING | R.REORDERED | R.EMPTY | R.VERSION | R.ROUNDED | R.SCALED | R.TIME_SHIFTED | R.OFFSET | R.PREFIX
    | R.SUFFIX | R.GENERATED | R.RETYPED | R.CONSTANT
)  # fmt: skip
"""All others have a direction."""
amounts = st.decimals(min_value=-(10**9), max_value=10**9, allow_nan=False, places=3)
moments = st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1)).map(lambda at: at.replace(tzinfo=UTC))  # noqa: DTZ001
words = st.text("abcdefgh XYZ,.%&<>\\\"'é\u0301ﬁ0123456789-:+/", max_size=24)
values: st.SearchStrategy[Value] = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(10**9, 2 * 10**12), st.floats(allow_nan=False), amounts, words,
    st.sampled_from([Decimal("1e-99999999"), Decimal("-1e99999999"), Decimal("1e-17"), 1e-320, 1e308, -0.0, 10**4000]),
    st.text(max_size=12), st.just([]), st.just({"error": 1}), st.just([1]), moments.map(datetime.isoformat),
)  # fmt: skip


def related(one: Value, other: Value, name: str = "") -> tuple[int, Parameters]:
    """Return the relations of two values."""
    return relate(Kind.VALUE, name, (one, other), (show(one, 512), show(other, 512)))


def parameter(one: Value, other: Value, relation: Relation) -> str | None:
    """Return the parameter of a relation that must hold; None if it is left out."""
    mask, parameters = related(one, other)
    assert mask & relation, (one, other, Relation(mask))
    return dict(parameters).get(relation)


@given(values, values, st.sampled_from(["", "count", "query_ms", "updatedAt", "version"]))
def test_any_two_values_have_bounded_relations(one: Value, other: Value, name: str) -> None:
    """No value raises an error. Parameters are few, short, and belong to relations that hold."""
    mask, parameters = related(one, other, name)
    assert len(parameters) <= MOST_PARAMETERS
    assert list(parameters) == sorted(parameters)
    for bit, text in parameters:
        assert mask & bit
        assert text
        assert len(text) <= 2 * PARAMETER_CHARS + 3


@given(values, values)
def test_swapped_sides_have_the_same_symmetric_relations(one: Value, other: Value) -> None:
    """Only the parameters mirror."""
    assert related(one, other)[0] & SYMMETRIC == related(other, one)[0] & SYMMETRIC


@given(pairs())
def test_any_two_json_values_have_relations(pair: tuple[bytes, bytes]) -> None:
    """Huge numbers, NaN and repeated members do not raise an error."""
    one, other = map(parse_exact, pair)
    assert related(one, other)[0] & SYMMETRIC == related(other, one)[0] & SYMMETRIC


@given(amounts, amounts.filter(bool), st.booleans())
def test_an_offset_is_exact(number: Decimal, offset: Decimal, is_text: bool) -> None:
    """Floats are read as the decimals that they were written as."""
    other = number + offset
    assume(number != -other)
    text = parameter(*((f"{number}", f"{other}") if is_text else (number, other)), R.OFFSET)
    assert text is None or Decimal(text) == offset


@given(amounts.filter(bool), st.sampled_from([10, 60, 100, 1000, 1024]))
def test_a_scaled_number_has_its_factor_in_both_directions(number: Decimal, factor: int) -> None:
    """A number one unit off is not scaled, unless a number is so short that it may be rounded."""
    scaled = number * factor
    assert parameter(number, scaled, R.SCALED) == str(factor)
    assert parameter(scaled, number, R.SCALED) == f"1/{factor}"
    assert not related(number, scaled + factor * Decimal("0.0011"))[0] & R.SCALED


@given(amounts, st.integers(0, 2))
def test_a_rounded_number_is_the_nearest_one(number: Decimal, digits: int) -> None:
    """The next number is not rounded."""
    step = Decimal((0, (1,), -digits))
    rounded = number.quantize(step)
    assume(rounded.normalize().as_tuple().exponent == -digits and number != rounded)
    assert parameter(number, rounded, R.ROUNDED) == f"any → {digits}"
    next_but_one = rounded + 2 * step
    assume(next_but_one.normalize().as_tuple().exponent == -digits)
    assert not related(number, next_but_one)[0] & R.ROUNDED


@given(st.integers(-(10**20), 10**20))
def test_a_number_as_a_string_has_the_same_digits(number: int) -> None:
    """A string with another number does not have this relation."""
    assert related(number, str(number))[0] & R.NUMBER_AS_STRING
    assert not related(number, str(number + 1))[0] & R.NUMBER_AS_STRING


@given(moments, st.integers(-12, 14))
def test_an_instant_is_the_same_in_all_zones(at: datetime, hours: int) -> None:
    """The same wall time in another zone is another instant."""
    zone = timezone(timedelta(hours=hours))
    one, other = at.isoformat(), at.astimezone(zone).isoformat()
    if one != other:
        assert parameter(one, other, R.SAME_INSTANT) == "zone"
        wall = at.replace(tzinfo=zone).isoformat()
        assert parameter(one, wall, R.TIME_SHIFTED) == f"{-3600 * hours:+d}"


@given(moments.map(lambda at: at.replace(microsecond=0)), st.integers(-(10**8), 10**8).filter(bool))
def test_a_shift_is_exact(at: datetime, seconds: int) -> None:
    """Also between forms."""
    later = at + timedelta(seconds=seconds)
    text = parameter(at.isoformat(), later.strftime("%a, %d %b %Y %H:%M:%S GMT"), R.TIME_SHIFTED)
    assert text == f"{seconds:+d}"
    assert not related(at.isoformat(), later.isoformat())[0] & R.SAME_INSTANT


@given(words)
def test_one_text_in_another_form(text: str) -> None:
    """Each form is found, if it differs from the text."""
    upper, spaced, escaped = text.upper(), f" {text} ", html.escape(text)
    if upper != text and upper.casefold() == text.casefold():
        assert parameter(text, upper, R.CASE) == "upper"
    if text:
        assert related(text, spaced)[0] & R.WHITE_SPACE
        assert not related(text, spaced + "x")[0] & R.WHITE_SPACE
    if escaped != text and html.unescape(text) == text:
        assert parameter(text, escaped, R.ESCAPING) == "plain → html"
    if "%" not in text and (quoted := quote(text)) != text:
        assert parameter(text, quoted, R.ESCAPING) in {"plain → percent", None}
    if (decomposed := unicodedata.normalize("NFD", text)) != text:
        assert related(text, decomposed)[0] & R.NORMALIZATION


@given(words.filter(bool), st.text("abc/-", min_size=1, max_size=8))
def test_added_and_removed_parts(text: str, part: str) -> None:
    """A part in the middle is neither a prefix nor a suffix."""
    assert related(text, part + text)[0] & R.PREFIX
    assert related(part + text, text)[0] & R.PREFIX
    assert related(text, text + part)[0] & R.SUFFIX
    assert related(text + part, text)[0] & R.SUFFIX
    middle = related(f"1{text}2", f"3{text}{part}4")[0]
    assert not middle & (R.PREFIX | R.SUFFIX)


def _without_relations(comparison: Comparison) -> Comparison:
    plain = (msgspec.structs.replace(each, relations=0, parameters=()) for each in comparison.differences)
    return msgspec.structs.replace(comparison, differences=tuple(plain))


RULES = (
    (), ({"schema": "$"},), ({"tolerance": {"path": "$..a", "abs": 1}},), ({"unordered": "$..*"},),
    ({"mask": {"path": "text", "pattern": "[0-9]+"}},),
)  # fmt: skip
TYPES: tuple[Headers, ...] = (responses.JSON, ((b"content-type", b"text/plain"),))


@given(
    pairs(),
    st.sampled_from([0, 10, 40, 80, 160, 1000, 100_000]),
    st.sampled_from(RULES),
    st.sampled_from(TYPES),
    st.sampled_from([100, 3]),
)
def test_relations_change_no_result(
    pair: tuple[bytes, bytes], work: int, rules: tuple[object, ...], headers: Headers, most: int
) -> None:
    """Results, differences and `too_complex` are the same with relations and without."""
    on, off = (
        responses.judged(
            *pair, *rules, headers=headers, limits=Limits(work=work, relations=relations, differences=most)
        )
        for relations in (True, False)
    )
    assert _without_relations(on) == off
    assert all(not each.relations for each in off.differences)


@pytest.mark.parametrize("text", ["a" * 200_000, "é" * 5000, "&amp;" * 3000, "1" * 5000, "a,b " * 2000, "-5" * 3000])
def test_long_texts_have_relations_of_bounded_work(text: str) -> None:
    """The budget of relations pays for what they read."""
    assert related(text, f"{text}x")[0] & (R.SUFFIX | R.CONSTANT) or len(text) > 1 << 16
    _ = related(text, text[1:] + "b")
