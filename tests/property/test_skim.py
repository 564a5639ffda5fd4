"""Skimming JSON texts finds exactly the differences that parsing finds."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shadowdiff.compare import NotJsonError
from shadowdiff.compare.exact import parse_both
from shadowdiff.compare.formats import json as json_format
from shadowdiff.compare.skim import Names, skimmed
from shadowdiff.model import Result
from shadowdiff.rules.json_values import Value, same
from tests.property.test_compare import judged

if TYPE_CHECKING:
    from collections.abc import Callable

    from shadowdiff.compare.type_proof import Parsed

PLACES: tuple[Names, ...] = (("at",), ("meta", "id"), ("meta", "at"), ("n",), ("absent", "too"))
RULES = tuple({"ignore": "$." + ".".join(names)} for names in PLACES)
MORE_RULES: list[dict[str, Any]] = [
    {"ignore": "$.meta"},
    {"ignore": "$"},
    {"ignore": "$..id"},
    {"tolerance": {"path": "$.n", "abs": 5}},
    {"equivalent": {"path": "$..*", "as": ["null", "missing", "empty", "case", "number"]}},
    {"equivalent": {"path": "$.meta", "as": ["null", "missing", "empty"]}},
    {"mask": {"path": "$..*", "pattern": "[a-z]"}},
    {"mask": {"path": "$.at", "pattern": "[0-9]"}},
    {"subset": "$"},
    {"schema": "$"},
    {"schema": "$.meta.at"},
    {"rename": {"from": "$.at", "to": "$.n"}},
    {"rename": {"from": "$.meta.at", "to": "$.meta.id"}},
    {"unordered": "$..*"},
    {"require": "$.n"},
]
_names = st.sampled_from(["at", "id", "meta", "n", "é", "a b", 'q"', "back\\slash"])
_scalars = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=6)
    | st.sampled_from(["2026-11-27T10:00:00.001Z", "a, b", ": ", ' "at": ', 0, 1, 10**17, 1.5, 1e300])
)  # fmt: skip
_replacements = st.integers(0, 99) | st.sampled_from(["2026-11-27T10:00:00.003Z", "req-1", "req-2", None, 0.5])
_values = st.recursive(
    _scalars, lambda below: st.lists(below, max_size=3) | st.dictionaries(_names, below, max_size=4), max_leaves=12
)
_texts = st.sampled_from(
    [b"1", b"1.0", b"1.00", b"-0", b"-0.0", b"true", b"null", b"1e2", b"100.0", b"12345678901234567", b'"\\u0041"',
     b'"A"', b'"a, b"', b"{}", b"[1]", b'{"at": 1}', b"0.1000000000000000055", b"99999999999999999999", b"", b"nul",
     b'"', b'1, "at": 2', b'"\xff"', b'"\x01"', b'"2026-11-27T10:00:00.002Z"', b" 7", b"7 "]
)  # fmt: skip
_harms = st.sampled_from(
    [(b'"n"', b'"at"'), (b'"meta"', b'"n"'), (b'"id"', b'"at"'), (b'"at"', b'"\\u0061t"'), (b'"at"', b'"a\xff"'),
     (b",", b" ,"), (b",", b",,"), (b"}", b"}}"), (b": ", b":"), (b":", b": "), (b"{", b"{ "), (b"1", b"1.0")]
)  # fmt: skip
"""Faults that both texts may have: duplicate members, unusual notation, or invalid JSON."""

_DEEP = b"[" * 300 + b"]" * 300


@st.composite
def _pairs(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """Draw texts of v1 and v2 that differ at paths that a rule names, or at other paths."""
    meta = draw(st.dictionaries(_names, _values, max_size=3)) | {
        "id": draw(_replacements | _scalars),
        "at": draw(_replacements | _scalars),
    }
    whole = draw(st.dictionaries(_names, _values, max_size=3)) | {
        "at": draw(_replacements | _scalars),
        "meta": meta,
        "n": draw(_values),
    }
    value = {name: whole[name] for name in draw(st.permutations(list(whole)))}
    text = orjson.dumps(value) if draw(st.booleans()) else json.dumps(value, ensure_ascii=False).encode()
    for _ in range(draw(st.sampled_from([0, 0, 0, 0, 1, 2]))):
        text = text.replace(*draw(_harms), draw(st.sampled_from([1, 2, -1])))
    replaced = st.sampled_from([value["at"], meta["id"], meta["at"], value["n"]]).map(orjson.dumps)
    primary = text
    for _ in range(draw(st.integers(1, 3))):
        before, said, after = primary.partition(draw(replaced))
        primary = (
            before + draw(_replacements.map(orjson.dumps) | _texts | _scalars.map(orjson.dumps)) + after
            if said
            else primary
        )
    return primary, text


def _parsed(pair: tuple[bytes, bytes]) -> Parsed | None:
    try:
        return parse_both(*pair)
    except NotJsonError:
        return None


@settings(max_examples=500)
@given(_pairs())
@example((b'{"at": 1.0, "n": 7}', b'{"at": 1, "n": 7}'))
@example((b'{"at":true,"n":7}', b'{"at":1,"n":7}'))
@example((b'{"n":"a, b","at":5}', b'{"n":"a, b","at":6}'))
@example((b'{"n":6,"at":5}', b'{"n":6,"at":6}'))
@example((b'{"at":1,"at":2}', b'{"at":1}'))
@example((b'{"at":7,"n":1,"at":2}', b'{"at":7,"n":1,"at":3}'))
@example((b'{"at":7,"n":1,"at":2}', b'{"at":8,"n":1,"at":2}'))
@example((b'{"meta":{"at":1},"meta":{"at":2}}', b'{"meta":{"at":1},"meta":{"at":3}}'))
@example((b'{"a\xff":1,"at":2}', b'{"a\xff":1,"at":3}'))
@example((b'{"n":"\xed\xa0\x80","at":2}', b'{"n":"\xed\xa0\x80","at":3}'))
@example((b'{"n":{"n":1,"at":2},"n":{"n":1,"at":2},"at":2}', b'{"n":{"n":1,"at":2},"n":{"n":1,"at":2},"at":3}'))
def test_unparsed_texts_have_the_differences_that_parsing_finds(pair: tuple[bytes, bytes]) -> None:
    """Skimming never misses another difference, and rejects texts that are not JSON."""
    read = skimmed(*pair, PLACES)
    if read is not None:
        parsed = _parsed(pair)
        assert parsed is not None
        assert same(_with(parsed.candidate, read[0], parsed.tier), parsed.primary)
        assert same(_with(parsed.candidate, read[1], parsed.tier), parsed.candidate)


def _with(whole: Value, read: Value, tier: int) -> Value:
    """Return a value with the differences applied, in the form that a parsing tier returns."""
    if type(read) is dict:
        assert type(whole) is dict
        return whole | {name: _with(whole[name], below, tier) for name, below in read.items()}
    return Decimal(str(read)) if tier > 1 and type(read) is float else read


@settings(max_examples=500)
@example(((b'{"at":1,"n":%b}' % _DEEP), (b'{"at":2,"n":%b}' % _DEEP)), [], False)
@example(((b'{"at":1,"n":%b}' % _DEEP), (b'{"at":2,"m":%b}' % _DEEP)), [], False)
@given(pair=_pairs(), more=st.lists(st.sampled_from(MORE_RULES), max_size=3), first=st.booleans())
def test_a_comparison_gives_the_same_result(pair: tuple[bytes, bytes], more: list[dict[str, Any]], first: bool) -> None:
    """Skimming and parsing find the same differences, kinds and rules, whatever other rules apply near the paths."""
    rules = (*more, *RULES) if first else (*RULES, *more)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_format, "_SKIMMED_FROM_BYTES", 0)
        found = judged(*pair, *rules)
        patch.setattr(json_format, "_SKIMMED_FROM_BYTES", 1 << 30)
        assert judged(*pair, *rules) == found


@pytest.mark.parametrize("levels", [255, 330, 900, 2000])
def test_deep_texts_are_not_skimmed(levels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison never skims deeply nested texts, whatever paths the rules name and however deep the stack is."""
    monkeypatch.setattr(json_format, "_SKIMMED_FROM_BYTES", 0)
    one, other = (b'{"a":' * levels + value + b"}" * levels for value in (b"1", b"2"))
    assert judged(one, other, {"ignore": "$" + ".a" * levels}).result is Result.MISMATCH
    assert judged(one, other, {"ignore": "$" + ".a" * levels}, {"require": "$.a"}).result is Result.MISMATCH


def test_many_of_the_generated_pairs_are_not_parsed(record_property: Callable[[str, object], None]) -> None:
    """The comparison skims enough pairs to test the property."""
    ways: Counter[bool] = Counter()

    @settings(max_examples=400, database=None, derandomize=True)
    @given(_pairs())
    def run(pair: tuple[bytes, bytes]) -> None:
        ways[skimmed(*pair, PLACES) is not None] += 1

    run()
    record_property("figures", f"{ways[True]} of {ways.total()} not parsed")
    assert ways[True] > 0.1 * ways.total()


@pytest.mark.parametrize(
    ("primary", "value"),
    [
        (b'{"at": "t2", "n": 1}', {"at": "t2"}),
        (b'{"at": null, "n": 1}', {"at": None}),
        (b'{"at": 1.5, "n": 1}', {"at": 1.5}),
        (b'{"at": 12345678901234567890, "n": 1}', {"at": 12345678901234567890}),
        (b'{"at": 1.50, "n": 1}', None),  # orjson would write this number in another way
        (b'{"at": 1e22, "n": 1}', None),  # another parsing tier would write this number in another way
        (b'{"at": 98765432109876543210, "n": 1}', None),  # orjson does not read this number exactly
        (b'{"at": "t1", "n": 1}', None),  # the texts are equal
        (b'{"at": "t2", "n": 2}', None),  # the texts also differ at another path
        (b'{"at": "t2", "n": 1.0}', None),
        (b'{"at": "t\\u0032", "n": 1}', None),
        (b'{"at": {"t": 2}, "n": 1}', None),
        (b'{"at": "t2" , "n": 1}', None),
        (b'{"at": "t2", "n": 1', None),
    ],
)
def test_one_place_differs(primary: bytes, value: Value) -> None:
    """Skimming returns a difference at the path that a rule names. A difference at another path requires parsing."""
    other = {"at": "t1"}
    read = skimmed(primary, b'{"at": "t1", "n": 1}', [("at",)])
    assert read == (None if value is None else (value, other))


@pytest.mark.parametrize(
    "around",
    [
        b'{"at":%b,"n":[1.50,1e5,12345678901234567890.5,"\\/","\\u00e9","\xc3\xa9",{"n":1,"n":2}]}',
        b'{"at": %b, "n": {"a" : 1,\n"b":[ ]}}',
        b'{"n":"at","at":%b,"m":"[\\"\\\\"}',
        b'{"at":%b,"n":1}\r\n',
    ],
)
def test_the_spelling_elsewhere_does_not_matter(around: bytes) -> None:
    """At all other paths, both sides have the same text."""
    assert skimmed(around % b'"t1"', around % b'"t2"', [("at",)]) == ({"at": "t1"}, {"at": "t2"})


def test_places_at_every_depth() -> None:
    """Skimming finds paths at every depth, whatever text precedes the path."""
    around = b'{"n":{"at":"t0"},"meta":{"id":%b,"deep":{"n":1,"at":%b}},"at":%b}'
    places = [("at",), ("meta", "id"), ("meta", "deep", "at"), ("meta", "none"), ("n", "at", "none")]
    one: Value = {"meta": {"id": 1, "deep": {"at": 2}}, "at": 3}
    other: Value = {"meta": {"id": 10, "deep": {"at": 20}}, "at": 30}
    assert skimmed(around % (b"1", b"2", b"3"), around % (b"10", b"20", b"30"), places) == (one, other)


def test_an_object_at_the_path_of_a_scalar_rule() -> None:
    """A text is skimmed even if it has an object that is equal on both sides. Different objects require parsing."""
    places = [("n",), ("at",)]
    assert skimmed(b'{"at":1,"n":{"k":1}}', b'{"at":2,"n":{"k":1}}', places) == ({"at": 1}, {"at": 2})
    assert skimmed(b'{"at":1,"n":{"k":1}}', b'{"at":2,"n":{"k":2}}', places) is None
    assert skimmed(b'{"at":1,"n":{"k":1}}', b'{"at":2,"n":3}', places) is None


@pytest.mark.parametrize(
    "around",
    [
        b'{"at":%b,"n":01}',
        b'{"at":%b,"n":"\xff"}',
        b'{"at":%b,"n":[1,]}',
        b'{"at":%b,"n":NaN}',
        b'{"at":%b,"n":"\\x"}',
        b'{"at":%b,"at":1}',
        b'{"at":1,"at":%b}',
        b'{"at":%b,"n":1,"at":"t2"}',
        b'{"at": %b,"n":1}',
        b'{"at": %b,"n":1,"n":1}',
        b'{"\\u0061t":1,"at":%b}',
        b'{"at" :%b}',
        b' {"at":%b}',
        b'[{"at":%b}]',
        b'{"at":%b,"n":' + _DEEP + b"}",
        b'{"at":%b,"n":' + b'["]",' * 300 + b"1" + b',"["]' * 300 + b"}",
        b'{"at":%b,"n":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b"{" + b",".join(b'"n%d":1' % n for n in range(100)) + b',"at":%b}',
    ],
)
def test_texts_that_must_be_parsed(around: bytes) -> None:
    """Texts are parsed if a parser can find more differences, or if skimming takes longer than parsing."""
    assert skimmed(around % b'"t1"', around % b'"t2"', [("at",)]) is None
