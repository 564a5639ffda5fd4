"""Rejudging a stored sample gives the same result as comparing the pair, or the result is undecided."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from typing import Any, Final

import msgspec
from hypothesis import event, given
from hypothesis import strategies as st

from shadowdiff.compare import ALL_HEADERS, ComparedHeaders, Limits, compare
from shadowdiff.model import Observation, Pair, Result, Side
from shadowdiff.report import Redactor, Sample, SampleSettings, newest_samples, sample
from shadowdiff.rule_changes.rejudge import LIMITS, rejudge
from shadowdiff.rules import compile_rules, parse_rules
from tests.fakes.responses import response
from tests.fakes.samples import sample_writes
from tests.fakes.store_reader import MemoryStore

NAMES: Final = ("at", "price", "token", "tags", "note")
LEAVES: Final = st.sampled_from([None, True, 0, 1, 1.0, 2, "", "1", "a", "A", "2026-01-01", "secret-one", "secret-two"])
VALUES: Final = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=8,
)
DOCUMENTS: Final = st.dictionaries(st.sampled_from(NAMES), VALUES, min_size=1, max_size=5)
HEADERS: Final = st.sampled_from(
    [
        (),
        (("etag", "1"),),
        (("etag", "2"),),
        (("set-cookie", "sid=abc; Path=/"),),
        (("set-cookie", "sid=; Path=/"),),
        (("x-total-count", "1"),),
        (("x-total-count", "2"), ("content-length", "9")),
        (("x-auth-token", "secret-one"),),
        (("x-auth-token", "secret-two"), ("expires", "Wed, 01 Jun 2033 10:00:00 GMT")),
    ]
)
COMPARED: Final = (ALL_HEADERS, ComparedHeaders(("content-length",)), ComparedHeaders(exclude=("etag", "x-*")))
DECLARED: Final = (
    {"ignore": "$.at"},
    {"ignore": "$..token"},
    {"ignore": "header.etag"},
    {"ignore": "header.x-auth-token"},
    {"tolerance": {"path": "header.x-total-count", "abs": 1}},
    {"ignore": "$.tags[*]"},
    {"ignore": "status"},
    {"unordered": "$..tags"},
    {"tolerance": {"path": "$..price", "abs": 1}},
    {"tolerance": {"path": "$..token", "abs": 1}},
    {"mask": {"path": "$..token", "pattern": "secret-[a-z]+"}},
    {"mask": {"path": "$..note", "pattern": "[a-zA-Z]"}},
    {"equivalent": {"path": "$..*", "as": ["null", "missing", "empty", "case", "number"]}},
    {"schema": "$.note"},
    {"subset": "$"},
    {"require": "$.at"},
    {"require": "header.etag"},
    {"rename": {"from": "$.price", "to": "$.note"}},
)
RULES: Final = st.lists(st.sampled_from(DECLARED), max_size=4)
ROUTE: Final = "GET /x"
NOW: Final = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def answer(side: Side, document: Any, status: int, headers: tuple[tuple[str, str], ...]) -> Observation:
    """Return one side's response."""
    body = json.dumps(document).encode()
    fields = (("content-type", "application/json"), *headers)
    named = tuple((name.encode(), value.encode()) for name, value in fields)
    return response(side, body, named, target="shop", host="shop", status=status)


def kept(pair: Pair, rules: list[dict[str, Any]], body_bytes: int, limits: Limits) -> Sample | None:
    """Return the sample of a pair under these rules, or None if no sample is stored."""
    comparison = compare(pair, compile_rules(parse_rules(rules), NOW), limits)
    store = MemoryStore()
    store.commit(sample_writes(pair, comparison, SampleSettings(redactor=Redactor(b"k"), body_bytes=body_bytes), 1))

    async def read() -> Sample | None:
        found = await newest_samples(store, "shop", 1, result=comparison.result)
        return await sample(store, found[0].id) if found else None

    return asyncio.run(read())


@given(
    document=DOCUMENTS,
    changes=st.dictionaries(st.sampled_from(NAMES), LEAVES | VALUES, min_size=1, max_size=2),
    statuses=st.sampled_from([(200, 200)] * 8 + [(200, 404), (200, 500), (500, 200), (404, 404)]),
    headers=HEADERS.map(lambda alike: (alike, alike)) | st.tuples(HEADERS, HEADERS),
    before=RULES,
    after=RULES,
    body_bytes=st.sampled_from([12, 10_000, 10_000]),
    compared=st.sampled_from(COMPARED),
)
def test_a_sample_compared_again_has_the_right_result_or_none(
    *,
    document: dict[str, Any],
    changes: dict[str, Any],
    statuses: tuple[int, ...],
    headers: tuple[Any, Any],
    before: list[dict[str, Any]],
    after: list[dict[str, Any]],
    body_bytes: int,
    compared: ComparedHeaders,
) -> None:
    """The result of rejudging is correct or undecided, for any truncation and redaction of the sample."""
    pair = Pair(
        key=b"0123456789abcdef",
        target="shop",
        route=ROUTE,
        primary=answer(Side.PRIMARY, document, statuses[0], headers[0]),
        candidate=answer(Side.CANDIDATE, document | changes, statuses[1], headers[1]),
    )
    limits = Limits(headers=compared)
    stored = kept(pair, before, body_bytes, limits)
    if stored is None:
        return
    rules = compile_rules(parse_rules(after), NOW)
    again = rejudge(stored, rules, msgspec.structs.replace(LIMITS, headers=compared))
    truth = compare(pair, rules, limits)
    event(again.undecided or str(again.result))
    if stored.result is Result.INCOMPARABLE and not stored.reason.startswith("require "):
        assert again.result is Result.INCOMPARABLE
    else:
        assert again.result in (None, truth.result), (again, truth)
