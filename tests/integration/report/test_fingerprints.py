"""Test fingerprints in the store: counted, sorted, filtered, and annotated."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shadowdiff.model import Comparison, Kind, Severity
from shadowdiff.report import (
    FingerprintQuery,
    Fingerprints,
    Order,
    Redactor,
    ReportStage,
    SampleSettings,
    Span,
    State,
    TriageWriter,
    fingerprint_index,
    newest_samples,
    print_of,
)
from tests.fakes.traffic import MATCH, difference, mismatch, pair
from tests.integration.report.conftest import MemoryBackend, StoreBackend

if TYPE_CHECKING:
    from shadowdiff.report import Summary
    from tests.integration.report.conftest import Backend

AT_MS = 1_772_000_000_000
MINUTE_MS = 60_000
SAMPLES = SampleSettings(redactor=Redactor(b"a key"))


def _stage(most: int = 1000) -> ReportStage:
    return ReportStage(SAMPLES, most_fingerprints=most)


def _at(path: str, kind: Kind = Kind.VALUE, severity: Severity = Severity.VALUE) -> Comparison:
    return mismatch(difference(path, kind=kind, severity=severity))


def _id(path: str, kind: Kind = Kind.VALUE) -> str:
    found = print_of(pair(), _at(path, kind))
    assert found is not None
    return found.id


async def _fill(backend: Backend, said: list[tuple[Comparison, int]], most: int = 1000) -> Fingerprints:
    """Commit pairs with these comparisons at these times; return a reader whose clock is an hour later."""
    stage = _stage(most)
    await backend.put(*(stage(pair(number=number), what, at) for number, (what, at) in enumerate(said)))
    now_ms = max([at for _, at in said], default=AT_MS) + MINUTE_MS
    return Fingerprints(backend.reader, lambda: now_ms)


async def test_a_mismatch_has_a_fingerprint_with_its_times_count_and_trend(backend: Backend) -> None:
    """Each row in the list of causes has these fields."""
    said = [(_at("$['price']"), AT_MS + minute * MINUTE_MS) for minute in range(3)] + [(MATCH, AT_MS)]
    prints = await _fill(backend, said)
    page = await prints.page("shop", FingerprintQuery(span=Span.HOUR), compared=4)
    (found,) = page.fingerprints
    assert ("shop", "GET /products/{id}", [("$['price']", "value")], 3, 0.75) == (
        found.target,
        found.route,
        [(place.path, place.kind) for place in found.places],
        found.count,
        found.share,
    )
    assert (AT_MS, AT_MS + 2 * MINUTE_MS, State.OPEN) == (found.first_seen_ms, found.last_seen_ms, found.state)
    assert (60, (1, 1, 1, 0)) == (len(found.trend.counts), found.trend.counts[-4:])
    assert (1, 1, False, 0) == (page.total, page.stored, page.more, page.other)


async def test_no_mismatches_are_an_empty_page(backend: Backend) -> None:
    """The page is empty before the first mismatch, and for a target without mismatches."""
    page = await Fingerprints(backend.reader, lambda: AT_MS).page("shop", FingerprintQuery())
    assert ((), 0, 0, False) == (page.fingerprints, page.total, page.stored, page.more)


async def test_pages_support_every_order(backend: Backend) -> None:
    """The order by count, last seen, first seen or severity covers all shards."""
    said: list[tuple[Comparison, int]] = []
    for number in range(12):
        severity = (Severity.ADDITIVE, Severity.VALUE, Severity.BREAKING)[number % 3]
        said += [(_at(f"$['f{number}']", severity=severity), AT_MS + (7 * number % 12) * 1000)] * (5 * number % 12 + 1)
    prints = await _fill(backend, said)

    async def walk(order: Order) -> list[int]:
        found: list[int] = []
        for offset in range(0, 15, 5):
            page = await prints.page("shop", FingerprintQuery(order=order, limit=5, offset=offset))
            assert (offset + 5 < 12) == page.more
            found += [int(one.places[0].path[4:-2]) for one in page.fingerprints]
        return found

    assert sorted(range(12), key=lambda n: -(5 * n % 12)) == await walk(Order.COUNT)
    assert sorted(range(12), key=lambda n: -(7 * n % 12)) == await walk(Order.LAST_SEEN)
    assert sorted(range(12), key=lambda n: -(7 * n % 12)) == await walk(Order.FIRST_SEEN)
    assert sorted(range(12), key=lambda n: (-(n % 3), -(7 * n % 12))) == await walk(Order.SEVERITY)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (FingerprintQuery(kind="removed"), {"b"}),
        (FingerprintQuery(severity=Severity.BREAKING), {"b", "c"}),
        (FingerprintQuery(severity=Severity.BREAKING, order=Order.SEVERITY), {"b", "c"}),
        (FingerprintQuery(severity=Severity.BREAKING, order=Order.COUNT, limit=1), {"c"}),
        (FingerprintQuery(path=lambda place: "c" in place), {"c"}),
        (FingerprintQuery(route="GET /products/{id}"), {"a", "b", "c"}),
        (FingerprintQuery(route="GET /"), set[str]()),
        (FingerprintQuery(state=State.OPEN), {"a", "b", "c"}),
        (FingerprintQuery(state=State.FIXED), set[str]()),
        (FingerprintQuery(since_ms=AT_MS + 1000), {"b", "c"}),
        (FingerprintQuery(until_ms=AT_MS + 1000), {"a", "b"}),
        (FingerprintQuery(since_ms=AT_MS + 1000, until_ms=AT_MS + 1999, order=Order.COUNT), {"b"}),
    ],
)
async def test_pages_are_filtered(backend: Backend, wanted: FingerprintQuery, expected: set[str]) -> None:
    """The filters are kind, severity, path, route, state and time, in any order."""
    prints = await _fill(
        backend,
        [
            (_at("$['a']"), AT_MS),
            (_at("$['b']", Kind.REMOVED, Severity.BREAKING), AT_MS + 1000),
            (_at("$['c']"), AT_MS + 1000),
            (_at("$['c']", severity=Severity.BREAKING), AT_MS + 2000),
        ],
    )
    page = await prints.page("shop", wanted)
    assert expected == {one.places[0].path[3:-2] for one in page.fingerprints}


async def test_a_new_path_in_the_catalog_is_found_at_once(backend: Backend) -> None:
    """The cache of a process does not hide new fingerprints."""
    stage, prints = _stage(), Fingerprints(backend.reader, lambda: AT_MS + 5000)
    for number, name in enumerate("abc"):
        await backend.put(stage(pair(number=number), _at(f"$['{name}']"), AT_MS + number))
        page = await prints.page("shop", FingerprintQuery(path=lambda place: "$" in place))
        assert number + 1 == len(page.fingerprints)


async def test_fingerprints_above_the_limit_count_under_other(backend: Backend) -> None:
    """No count is lost, and known fingerprints keep counting."""
    said = [(_at(f"$['f{number}']"), AT_MS) for number in range(6)]
    prints = await _fill(backend, said + said, most=1)
    pages = [await prints.page("shop", FingerprintQuery(order=order)) for order in Order]
    shards = backend.reader.shards if isinstance(backend, StoreBackend) else 1
    for page in pages:
        assert len(page.fingerprints) <= shards
        assert 12 == page.other + sum(one.count for one in page.fingerprints)


async def test_a_fingerprint_is_found_by_its_id_alone(backend: Backend) -> None:
    """The target need not be known."""
    prints = await _fill(backend, [(_at("$['a']"), AT_MS)])
    name = _id("$['a']")
    assert ("shop", None) == (
        await prints.target_of(["other", "shop"], name),
        await prints.target_of(["other", "shop"], "0" * 12),
    )
    found = await prints.one("shop", name, compared=2)
    assert found is not None
    assert (name, 0.5) == (found.id, found.share)
    assert None is await prints.one("shop", "0" * 12)


async def test_a_fixed_fingerprint_reopens_when_it_recurs(backend: Backend) -> None:
    """The first mismatch after it was marked fixed reopens it. Acknowledged fingerprints stay acknowledged."""
    if isinstance(backend, MemoryBackend):
        pytest.skip("what people say is kept in a store alone")
    assert isinstance(backend, StoreBackend)
    prints = await _fill(backend, [(_at("$['a']"), AT_MS), (_at("$['b']"), AT_MS)])
    remarks = TriageWriter(backend.reader, lambda: AT_MS + 1000, Redactor(b"a key").text)
    fixed, known = _id("$['a']"), _id("$['b']")
    await remarks.set_state("shop", fixed, State.FIXED, "jo")
    await remarks.set_state("shop", known, State.ACKNOWLEDGED, "jo")

    async def states() -> dict[str, tuple[State, int | None]]:
        page = await prints.page("shop", FingerprintQuery())
        return {one.id: (one.state, one.reopened_ms) for one in page.fingerprints}

    assert {fixed: (State.FIXED, None), known: (State.ACKNOWLEDGED, None)} == await states()
    assert {fixed} == {one.id for one in (await prints.page("shop", FingerprintQuery(state=State.FIXED))).fingerprints}
    stage = _stage()
    for number, path in enumerate(["$['a']", "$['b']"]):
        await backend.put(stage(pair(number=9 + number), _at(path), AT_MS + 5000))
    assert {fixed: (State.OPEN, AT_MS + 5000), known: (State.ACKNOWLEDGED, None)} == await states()
    assert {fixed} == {one.id for one in (await prints.page("shop", FingerprintQuery(state=State.OPEN))).fingerprints}


async def test_a_note_is_stored_redacted_and_deleted(backend: Backend) -> None:
    """The note has an author and a time."""
    if isinstance(backend, MemoryBackend):
        pytest.skip("what people say is kept in a store alone")
    assert isinstance(backend, StoreBackend)
    prints = await _fill(backend, [(_at("$['a']"), AT_MS)])
    remarks = TriageWriter(backend.reader, lambda: AT_MS + 1000, Redactor(b"a key").text)
    name = _id("$['a']")
    await remarks.set_note("shop", name, " see token=verysecretvalue ", "jo")
    note = (await prints.page("shop", FingerprintQuery())).fingerprints[0].note
    assert note is not None
    assert ("jo", AT_MS + 1000, True, False) == (
        note.author,
        note.at_ms,
        note.text.startswith("see token=‹redacted:"),
        "verysecret" in note.text,
    )
    await remarks.set_note("shop", name, "", "jo")
    assert None is (await prints.page("shop", FingerprintQuery())).fingerprints[0].note


async def _put(backend: Backend, paths: list[str], first: int) -> None:
    """Commit a pair for each path, one per millisecond, all within a second."""
    stage = _stage()
    pairs = enumerate(paths, first)
    await backend.put(*(stage(pair(number=number), _at(path), AT_MS + number) for number, path in pairs))


async def test_samples_are_filtered_by_excluded_fingerprints(backend: Backend) -> None:
    """An excluded fingerprint has no matching sample. Fingerprints since the last read are never excluded."""

    def wanted(place: str) -> bool:
        return place.endswith("['f3']")

    def chosen(line: Summary) -> bool:
        return wanted(line.differences[0].path)

    await _put(backend, [f"$['p{number}']['f{number % 7}']" for number in range(40)], 0)
    prints = Fingerprints(backend.reader, lambda: AT_MS + 1000)
    out = await prints.ruled_out("shop", None, None, wanted)
    every = await newest_samples(backend.reader, "shop", 100)
    assert (40, 6) == (len(every), sum(map(chosen, every)))
    assert [line for line in every if chosen(line)][:3] == await newest_samples(
        backend.reader, "shop", 3, wanted=chosen, ruled_out=out
    )
    assert [chosen(line) for line in every] == [(line.fingerprint or "") not in out for line in every]
    await _put(backend, ["$['new']['f3']"], 40)
    found = await newest_samples(backend.reader, "shop", 100, wanted=chosen, ruled_out=out)
    assert (7, "$['new']['f3']") == (len(found), found[0].differences[0].path)


async def test_the_catalog_is_read_page_by_page(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pages are complete even if one second has more new fingerprints than fit on a page."""
    monkeypatch.setattr(fingerprint_index, "AT_ONCE", 3)
    prints = Fingerprints(backend.reader, lambda: AT_MS + 1000)
    for first in (0, 20):
        await _put(backend, [f"$['f{number}']" for number in range(first, first + 20)], first)
        assert first + 20 == (await prints.page("shop", FingerprintQuery(kind="value", limit=50))).total
