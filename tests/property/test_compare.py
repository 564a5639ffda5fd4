"""Check properties of every comparison."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

import pytest
from deepdiff import DeepDiff
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from shadowdiff.compare import Limits, NotExportableError, NotJsonError, json_patch, parse_exact
from shadowdiff.compare.exact import parse_both
from shadowdiff.model import Comparison, Headers, Kind, Result
from shadowdiff.rules import KINDS
from shadowdiff.rules.json_values import Value, same
from tests.fakes import responses
from tests.property.json_texts import pairs, same_by_oracle

if TYPE_CHECKING:
    from collections.abc import Callable

ROOMY = Limits(differences=10_000, covered=10_000, value_chars=100_000, path_chars=10_000)
NARROW = Limits(differences=3, covered=2, value_chars=40, path_chars=60, decoded_bytes=100_000)


def judged(one: bytes, other: bytes, *rules: object, limits: Limits = ROOMY, **headers: Headers) -> Comparison:
    """Compare two bodies under rules, with every difference listed."""
    return responses.judged(one, other, *rules, limits=limits, **headers)


@given(pairs())
def test_an_independent_exact_parser_gives_the_same_matches(pair: tuple[bytes, bytes]) -> None:
    """The oracle and the comparison agree, whichever tier parses the bodies."""
    assert (judged(*pair).result is Result.MATCH) == same_by_oracle(*pair)


@st.composite
def _damaged(draw: st.DrawFn) -> bytes:
    """Return a JSON text with a few bytes replaced, which is often invalid JSON."""
    text = draw(pairs())[0]
    start = draw(st.integers(0, len(text)))
    stretch = st.one_of(
        st.binary(max_size=2), st.sampled_from([b",", b"\\ud800", b"\t", b"\x00", b"e5", b".", b"0", b" "])
    )
    return text[:start] + draw(stretch) + text[start + draw(st.integers(0, 2)) :]


@given(_damaged())
def test_the_second_tier_reads_as_the_exact_parser_does(candidate: bytes) -> None:
    """If the other body has long numbers, the second tier must reject invalid JSON and lose no digit."""
    long = b"[0.12345678901234567890]"
    try:
        exact = parse_exact(candidate)
    except NotJsonError:
        with pytest.raises(NotJsonError):
            _ = parse_both(long, candidate)
        return
    parsed = parse_both(long, candidate)
    assert parsed.tier > 1
    assert same(parsed.candidate, exact)


@given(pairs())
def test_a_body_equals_itself(pair: tuple[bytes, bytes]) -> None:
    """The bodies also match without the fast path. An added blank disables the fast path."""
    assert judged(pair[0], pair[0] + b" ").result is Result.MATCH


_MIRRORED = {Kind.ADDED: Kind.REMOVED, Kind.REMOVED: Kind.ADDED}


def _shape(comparison: Comparison, *, mirrored: bool) -> Counter[tuple[object, ...]]:
    if not mirrored:
        return Counter((d.pattern, d.kind, d.primary, d.candidate) for d in comparison.differences)
    return Counter((d.pattern, _MIRRORED.get(d.kind, d.kind), d.candidate, d.primary) for d in comparison.differences)


@given(pairs(), st.booleans())
def test_swapped_sides_mirror_the_differences(pair: tuple[bytes, bytes], loose: bool) -> None:
    """If the sides are swapped, an added value becomes a removed value, and the values of a difference are swapped."""
    rules = ({"unordered": "$..*"}, {"ignore": "$..id"}) if loose else ()
    there, back = judged(*pair, *rules), judged(pair[1], pair[0], *rules)
    assert _shape(there, mirrored=False) == _shape(back, mirrored=True)


RULES: list[dict[str, Any]] = [
    {"ignore": "$.a"},
    {"ignore": "$..b"},
    {"ignore": "$[*]"},
    {"ignore": "$[0]"},
    {"ignore": "$.*.c"},
    {"ignore": "$..{json}.a"},
    {"unordered": "$"},
    {"unordered": "$..a"},
    {"key": {"path": "$", "by": ["id"]}},
    {"tolerance": {"path": "$..*", "abs": 1}},
    {"equivalent": {"path": "$..*", "as": ["null", "missing", "empty", "case", "number"]}},
    {"subset": "$"},
    {"schema": "$.a"},
    {"join": "$[*].a"},
    {"schema": "$"},
    {"rename": {"from": "$.a", "to": "$.b"}},
    {"rename": {"from": "$..b", "to": "$..c"}},
    {"rename": {"from": "$", "to": "$.a"}},
    {"rename": {"from": "$.a.b", "to": "$"}},
    {"rename": {"from": "$..*", "to": "camelCase"}},
    {"mask": {"path": "$..*", "pattern": "[a-z]"}},
    *({name: "$..*"} for name, kind in KINDS.items() if not kind.options),
]


@given(pairs(), st.lists(st.sampled_from(RULES), max_size=4), st.sampled_from(RULES[:5]))
def test_ignoring_more_never_creates_a_mismatch(
    pair: tuple[bytes, bytes], rules: list[dict[str, Any]], more: dict[str, Any]
) -> None:
    """One more `ignore` rule never adds a mismatch."""
    before, after = judged(*pair, *rules), judged(*pair, *rules, more)
    assert not (before.result is not Result.MISMATCH and after.result is Result.MISMATCH)


@given(pairs(), st.lists(st.sampled_from(RULES), max_size=4))
def test_rules_never_create_a_difference(pair: tuple[bytes, bytes], rules: list[dict[str, Any]]) -> None:
    """A match without rules is a match under any rules. A mismatch never becomes a match."""
    plain, ruled = judged(*pair), judged(*pair, *rules)
    assert (plain.result is Result.MATCH) == (ruled.result is Result.MATCH)


_few = st.lists(
    st.sampled_from(["0", "0.0", "1", "[1]", '{"a":0,"b":0}', '{"a":0,"b":1}', '{"a":1,"b":1}']), max_size=8
)
_repeating = _few.map(lambda texts: f"[{','.join(texts)}]".encode())


@given(pairs() | st.tuples(_repeating, _repeating))
def test_the_patch_turns_v1_into_v2(pair: tuple[bytes, bytes]) -> None:
    """An independent implementation of RFC 6902 applies the patch to v1's body and gets v2's body."""
    one, other = parse_exact(pair[0]), parse_exact(pair[1])
    try:
        patch = json_patch(one, other)
    except NotExportableError:
        assume(False)
        raise
    assume(b"NaN" not in pair[0] + pair[1])
    try:
        operations: Any = parse_exact(patch.encode("utf-8", "surrogatepass"))
    except NotJsonError:
        pytest.fail(f"the patch is no JSON: {patch}")
    assert same(_patched(one, operations), other)


def _patched(document: Value, operations: list[dict[str, Any]]) -> Value:
    for operation in operations:
        steps = [step.replace("~1", "/").replace("~0", "~") for step in operation["path"].split("/")[1:]]
        if not steps:
            document = operation["value"]
            continue
        place: Any = document
        for step in steps[:-1]:
            place = place[_step(place, step)]
        last = _step(place, steps[-1])
        if operation["op"] == "remove":
            del place[last]
        elif operation["op"] == "add" and type(place) is list:
            cast("list[Value]", place).insert(int(last), operation["value"])
        else:
            place[last] = operation["value"]
    return document


def _step(place: object, step: str) -> int | str:
    return int(step) if isinstance(place, list) else step


_plain = st.recursive(
    st.one_of(st.none(), st.integers(2, 99), st.text("xyz", max_size=3)),
    lambda below: st.one_of(st.lists(below, max_size=4), st.dictionaries(st.sampled_from("abc"), below, max_size=3)),
    max_leaves=10,
)


@given(_plain, _plain, st.booleans())
def test_deepdiff_agrees_where_it_is_exact(one: Any, other: Any, same_again: bool) -> None:
    """DeepDiff agrees with the comparison on objects and ordered arrays of small integers, text and null."""
    against = one if same_again else other
    match = judged(json.dumps(one).encode(), json.dumps(against, sort_keys=True).encode()).result is Result.MATCH
    assert match == (not DeepDiff(one, against))


_types = st.sampled_from(
    [b"application/json", b"application/x-ndjson", b"text/event-stream", b"application/x-www-form-urlencoded",
     b"multipart/form-data; boundary=b", b"application/xml", b"text/plain; charset=latin-1", b"text/html", b"", b"x",
     b"text/plain; charset=\xff", b"application/json; charset=utf-16"]
)  # fmt: skip
_codings = st.sampled_from([b"", b"gzip", b"br", b"zstd", b"deflate", b"gzip, br", b"zap", b",,"])
_bodies = st.one_of(
    st.binary(max_size=60),
    pairs().map(lambda pair: pair[0]),
    st.sampled_from([b"--b\r\n\r\nx\r\n--b--", b"<a b='1'>t</a>", b"data: {\n\n", b"a=%ff&a", b"[" * 300 + b"]" * 300]),
)
_names = st.sampled_from([b"set-cookie", b"cache-control", b"etag", b"location", b"vary", b"link", b"content-type"])
_headers = st.lists(st.tuples(_names, st.binary(max_size=20)), max_size=4)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(_bodies, _bodies, _types, _codings, _headers, st.lists(st.sampled_from(RULES), max_size=3))
def test_any_bytes_under_any_headers_give_a_result(  # noqa: PLR0917
    one: bytes,
    other: bytes,
    content_type: bytes,
    coding: bytes,
    headers: list[tuple[bytes, bytes]],
    rules: list[dict[str, Any]],
) -> None:
    """For any bytes, the comparison returns a result or a reason within the limits, and raises no exception."""
    first = ((b"content-type", content_type), (b"content-encoding", coding))
    comparison = judged(one, other, *rules, headers=first, headers_other=(*first, *headers), limits=NARROW)
    assert (comparison.reason != "") == (comparison.result is Result.INCOMPARABLE)
    listed = Counter(difference.rule is not None for difference in comparison.differences)
    assert listed[False] <= NARROW.differences
    assert listed[True] <= NARROW.covered
    for difference in comparison.differences:
        assert max(len(difference.path), len(difference.pattern)) <= NARROW.path_chars
        assert max(len(difference.primary or ""), len(difference.candidate or "")) <= NARROW.value_chars


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(_bodies, _types, _codings)
def test_equal_bytes_under_equal_headers_match(body: bytes, content_type: bytes, coding: bytes) -> None:
    """Equal bodies match even if a header that is not compared differs."""
    headers = ((b"content-type", content_type), (b"content-encoding", coding))
    assert judged(body, body, headers=headers, headers_other=(*headers, (b"date", b"x"))).result is Result.MATCH


@given(st.decimals(allow_nan=False, allow_infinity=False), st.decimals(allow_nan=False, allow_infinity=False))
def test_a_tolerance_is_exact(one: Decimal, other: Decimal) -> None:
    """Tolerances use decimal arithmetic, not floats."""
    assume(abs(one.adjusted()) < 20 and abs(other.adjusted()) < 20 and one != other)
    bodies = (f"[{one:f}]".encode(), f"[{other:f}]".encode())
    covered = judged(*bodies, {"tolerance": {"path": "$[0]", "abs": 0.5}}).result is Result.IGNORED
    assert covered == (abs(one - other) <= Decimal("0.5"))


def test_every_parsing_tier_reads_a_share_of_the_generated_bodies(
    record_property: Callable[[str, object], None],
) -> None:
    """Each parsing tier reads some of the generated bodies, so the tests cover all tiers. `-v` prints the shares."""
    ways: Counter[str] = Counter()

    @settings(max_examples=400, database=None, derandomize=True)
    @given(pairs())
    def run(pair: tuple[bytes, bytes]) -> None:
        parsed = parse_both(*pair, may_try=True)
        ways[f"tier {parsed.tier}" + (", on trial" if parsed.on_trial else "")] += 1

    run()
    shares = {way: ways[way] / ways.total() for way in ("tier 1", "tier 1, on trial", "tier 2", "tier 3")}
    record_property("figures", "; ".join(f"{way} {share:.0%}" for way, share in shares.items()))
    assert min(shares.values()) >= 0.1, shares
