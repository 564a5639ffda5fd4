"""What is put together from v2's value is what parsing v1's text gives, whatever differs and wherever."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shadowdiff.compare import NotJsonError, exact
from shadowdiff.compare.exact import Parsed, parse_both
from shadowdiff.compare.splice import Names, spliced
from shadowdiff.compare.values import Value, same
from tests.property.test_compare import judged

if TYPE_CHECKING:
    from collections.abc import Callable

PLACES: tuple[Names, ...] = (("at",), ("meta", "id"), ("meta", "at"), ("n",), ("absent", "too"))
RULES = tuple({"ignore": "$." + ".".join(names)} for names in PLACES)
_names = st.sampled_from(["at", "id", "meta", "n", "é", "a b", 'q"', "back\\slash"])
_scalars = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=6)
    | st.sampled_from(["2026-11-27T10:00:00.001Z", "a, b", ": ", ' "at": ', 0, 1, 10**17, 1.5, 1e300])
)  # fmt: skip
_values = st.recursive(
    _scalars, lambda below: st.lists(below, max_size=3) | st.dictionaries(_names, below, max_size=4), max_leaves=12
)
_texts = st.sampled_from(
    [b"1", b"1.0", b"1.00", b"-0", b"-0.0", b"true", b"null", b"1e2", b"100.0", b"12345678901234567", b'"\\u0041"',
     b'"A"', b'"a, b"', b"{}", b"[1]", b'{"at": 1}', b"0.1000000000000000055", b"99999999999999999999", b"", b"nul",
     b'"', b'1, "at": 2', b'"\xff"', b'"\x01"', b'"2026-11-27T10:00:00.002Z"', b" 7", b"7 "]
)  # fmt: skip


@st.composite
def _pairs(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """Return v1's text and v2's: what v1 says instead in a place that is named, or in any place at all."""
    meta = draw(st.dictionaries(_names, _values, max_size=3)) | {"id": draw(_scalars), "at": draw(_scalars)}
    whole = draw(st.dictionaries(_names, _values, max_size=3)) | {
        "at": draw(_scalars),
        "meta": meta,
        "n": draw(_values),
    }
    value = {name: whole[name] for name in draw(st.permutations(list(whole)))}
    text = orjson.dumps(value) if draw(st.booleans()) else json.dumps(value, ensure_ascii=False).encode()
    told = st.sampled_from([value["at"], meta["id"], meta["at"], value["n"]]).map(orjson.dumps)
    primary = text
    for _ in range(draw(st.integers(1, 3))):
        before, said, after = primary.partition(draw(told))
        primary = before + draw(_texts | _scalars.map(orjson.dumps)) + after if said else primary
    return primary, text


@pytest.fixture(autouse=True)
def _whatever_their_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact, "_SPLICED_FROM_BYTES", 0)


def _read(pair: tuple[bytes, bytes], places: tuple[Names, ...]) -> Parsed | None:
    try:
        return parse_both(*pair, places=places)
    except NotJsonError:
        return None


@settings(max_examples=500)
@given(_pairs())
@example((b'{"at": 1.0, "n": 7}', b'{"at": 1, "n": 7}'))
@example((b'{"at":true,"n":7}', b'{"at":1,"n":7}'))
@example((b'{"n":"a, b","at":5}', b'{"n":"a, b","at":6}'))
@example((b'{"n":6,"at":5}', b'{"n":6,"at":6}'))
@example((b'{"at":1,"at":2}', b'{"at":1}'))
def test_what_is_put_together_is_what_parsing_finds(pair: tuple[bytes, bytes]) -> None:
    """The values, or that a text is no JSON."""
    found, parsed = _read(pair, PLACES), _read(pair, ())
    assert (found is None) == (parsed is None)
    if found is not None and parsed is not None:
        assert same(found.primary, parsed.primary)
        assert same(found.candidate, parsed.candidate)


@settings(max_examples=300)
@given(pair=_pairs())
def test_a_comparison_says_the_same(pair: tuple[bytes, bytes]) -> None:
    """Every difference, in its kind, under the rule that covers it."""
    found = judged(*pair, *RULES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact, "_SPLICED_FROM_BYTES", 1 << 30)
        assert judged(*pair, *RULES) == found


def test_many_of_the_generated_pairs_are_put_together(record_property: Callable[[str, object], None]) -> None:
    """A property that never met one would hold nothing of it."""
    ways: Counter[bool] = Counter()

    @settings(max_examples=400, database=None, derandomize=True)
    @given(_pairs())
    def run(pair: tuple[bytes, bytes]) -> None:
        parsed = _read(pair, PLACES)
        ways[parsed is not None and parsed.spliced] += 1

    run()
    record_property("figures", f"{ways[True]} of {ways.total()} put together")
    assert ways[True] > 0.1 * ways.total()


@pytest.mark.parametrize(
    ("primary", "value"),
    [
        (b'{"at": "t2", "n": 1}', {"at": "t2", "n": 1}),
        (b'{"at": null, "n": 1}', {"at": None, "n": 1}),
        (b'{"at": "t1", "n": 1}', None),  # nothing differs
        (b'{"at": "t2", "n": 2}', None),  # elsewhere too
        (b'{"at": "t2", "n": 1.0}', None),
        (b'{"at": "t\\u0032", "n": 1}', None),  # orjson would write it otherwise
        (b'{"at": {"t": 2}, "n": 1}', None),
        (b'{"at": "t2" , "n": 1}', None),
        (b'{"at": "t2", "n": 1', None),
    ],
)
def test_one_place_that_differs(primary: bytes, value: Value) -> None:
    """It is put in; whatever else there is has to be parsed."""
    other: dict[str, Value] = {"at": "t1", "n": 1}
    assert value == spliced(primary, json.dumps(other).encode(), other, [("at",)])
    assert {"at": "t1", "n": 1} == other
