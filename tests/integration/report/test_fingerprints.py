"""Fingerprints in the store: counted, ordered, chosen, and spoken of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shadowdiff.model import Comparison, Kind, Severity
from shadowdiff.report import (
    Fingerprints,
    FingerprintSettings,
    Order,
    Redactor,
    Remarks,
    ReportStage,
    SampleSettings,
    Span,
    State,
    Wanted,
    catalogue,
    newest_samples,
    print_of,
)
from tests.fakes.traffic import MATCH, difference, mismatch, pair
from tests.integration.report.conftest import MemoryShelf, StoreShelf

if TYPE_CHECKING:
    from shadowdiff.report import Summary
    from tests.integration.report.conftest import Shelf

AT_MS = 1_772_000_000_000
MINUTE_MS = 60_000
SAMPLES = SampleSettings(redactor=Redactor(b"a key"))


def _stage(most: int = 1000) -> ReportStage:
    return ReportStage(FingerprintSettings(most=most), SAMPLES)


def _at(path: str, kind: Kind = Kind.VALUE, severity: Severity = Severity.VALUE) -> Comparison:
    return mismatch(difference(path, kind=kind, severity=severity))


def _id(path: str, kind: Kind = Kind.VALUE) -> str:
    found = print_of(pair(), _at(path, kind))
    assert found is not None
    return found.id


async def _fill(shelf: Shelf, said: list[tuple[Comparison, int]], most: int = 1000) -> Fingerprints:
    """Commit pairs with these comparisons at these times; return what reads them, an hour after the last."""
    stage = _stage(most)
    await shelf.put(*(stage(pair(number=number), what, at) for number, (what, at) in enumerate(said)))
    now_ms = max([at for _, at in said], default=AT_MS) + MINUTE_MS
    return Fingerprints(shelf.reader, lambda: now_ms)


async def test_a_mismatch_has_a_fingerprint_with_its_times_count_and_trend(shelf: Shelf) -> None:
    """What a list of faults shows of each."""
    said = [(_at("$['price']"), AT_MS + minute * MINUTE_MS) for minute in range(3)] + [(MATCH, AT_MS)]
    prints = await _fill(shelf, said)
    page = await prints.page("shop", Wanted(span=Span.HOUR), compared=4)
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


async def test_nothing_is_an_empty_page(shelf: Shelf) -> None:
    """Before the first mismatch, and of a target that has none."""
    page = await Fingerprints(shelf.reader, lambda: AT_MS).page("shop", Wanted())
    assert ((), 0, 0, False) == (page.fingerprints, page.total, page.stored, page.more)


async def test_pages_follow_every_order(shelf: Shelf) -> None:
    """Whatever the shards hold of each: sums, the last, the first and the worst of all."""
    said: list[tuple[Comparison, int]] = []
    for number in range(12):
        severity = (Severity.ADDITIVE, Severity.VALUE, Severity.BREAKING)[number % 3]
        said += [(_at(f"$['f{number}']", severity=severity), AT_MS + (7 * number % 12) * 1000)] * (5 * number % 12 + 1)
    prints = await _fill(shelf, said)

    async def walk(order: Order) -> list[int]:
        found: list[int] = []
        for offset in range(0, 15, 5):
            page = await prints.page("shop", Wanted(order=order, limit=5, offset=offset))
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
        (Wanted(kind="removed"), {"b"}),
        (Wanted(severity=Severity.BREAKING), {"b", "c"}),
        (Wanted(severity=Severity.BREAKING, order=Order.SEVERITY), {"b", "c"}),
        (Wanted(severity=Severity.BREAKING, order=Order.COUNT, limit=1), {"c"}),
        (Wanted(path=lambda place: "c" in place), {"c"}),
        (Wanted(route="GET /products/{id}"), {"a", "b", "c"}),
        (Wanted(route="GET /"), set[str]()),
        (Wanted(state=State.OPEN), {"a", "b", "c"}),
        (Wanted(state=State.FIXED), set[str]()),
        (Wanted(since_ms=AT_MS + 1000), {"b", "c"}),
        (Wanted(until_ms=AT_MS + 1000), {"a", "b"}),
        (Wanted(since_ms=AT_MS + 1000, until_ms=AT_MS + 1999, order=Order.COUNT), {"b"}),
    ],
)
async def test_pages_are_narrowed(shelf: Shelf, wanted: Wanted, expected: set[str]) -> None:
    """By kind, severity, path, route, state and time, in any order."""
    prints = await _fill(
        shelf,
        [
            (_at("$['a']"), AT_MS),
            (_at("$['b']", Kind.REMOVED, Severity.BREAKING), AT_MS + 1000),
            (_at("$['c']"), AT_MS + 1000),
            (_at("$['c']", severity=Severity.BREAKING), AT_MS + 2000),
        ],
    )
    page = await prints.page("shop", wanted)
    assert expected == {one.places[0].path[3:-2] for one in page.fingerprints}


async def test_a_path_in_the_catalogue_is_found_as_soon_as_it_is_there(shelf: Shelf) -> None:
    """What each process remembers of them does not hide what is new."""
    stage, prints = _stage(), Fingerprints(shelf.reader, lambda: AT_MS + 5000)
    for number, name in enumerate("abc"):
        await shelf.put(stage(pair(number=number), _at(f"$['{name}']"), AT_MS + number))
        page = await prints.page("shop", Wanted(path=lambda place: "$" in place))
        assert number + 1 == len(page.fingerprints)


async def test_what_comes_past_the_bound_counts_under_other(shelf: Shelf) -> None:
    """No count is lost, and those that are known go on counting."""
    said = [(_at(f"$['f{number}']"), AT_MS) for number in range(6)]
    prints = await _fill(shelf, said + said, most=1)
    pages = [await prints.page("shop", Wanted(order=order)) for order in Order]
    shards = shelf.reader.shards if isinstance(shelf, StoreShelf) else 1
    for page in pages:
        assert len(page.fingerprints) <= shards
        assert 12 == page.other + sum(one.count for one in page.fingerprints)


async def test_a_fingerprint_is_found_by_its_id_alone(shelf: Shelf) -> None:
    """Whichever target has it."""
    prints = await _fill(shelf, [(_at("$['a']"), AT_MS)])
    name = _id("$['a']")
    assert ("shop", None) == (
        await prints.target_of(["other", "shop"], name),
        await prints.target_of(["other", "shop"], "0" * 12),
    )
    found = await prints.one("shop", name, compared=2)
    assert found is not None
    assert (name, 0.5) == (found.id, found.share)
    assert None is await prints.one("shop", "0" * 12)


async def test_what_was_fixed_opens_again_when_it_returns(shelf: Shelf) -> None:
    """From the moment of the first mismatch after it was called fixed; acknowledging does not do so."""
    if isinstance(shelf, MemoryShelf):
        pytest.skip("what people say is kept in a store alone")
    assert isinstance(shelf, StoreShelf)
    prints = await _fill(shelf, [(_at("$['a']"), AT_MS), (_at("$['b']"), AT_MS)])
    remarks = Remarks(shelf.reader, lambda: AT_MS + 1000, Redactor(b"a key").text)
    fixed, known = _id("$['a']"), _id("$['b']")
    await remarks.set_state("shop", fixed, State.FIXED, "jo")
    await remarks.set_state("shop", known, State.ACKNOWLEDGED, "jo")

    async def states() -> dict[str, tuple[State, int | None]]:
        page = await prints.page("shop", Wanted())
        return {one.id: (one.state, one.reopened_ms) for one in page.fingerprints}

    assert {fixed: (State.FIXED, None), known: (State.ACKNOWLEDGED, None)} == await states()
    assert {fixed} == {one.id for one in (await prints.page("shop", Wanted(state=State.FIXED))).fingerprints}
    stage = _stage()
    for number, path in enumerate(["$['a']", "$['b']"]):
        await shelf.put(stage(pair(number=9 + number), _at(path), AT_MS + 5000))
    assert {fixed: (State.OPEN, AT_MS + 5000), known: (State.ACKNOWLEDGED, None)} == await states()
    assert {fixed} == {one.id for one in (await prints.page("shop", Wanted(state=State.OPEN))).fingerprints}


async def test_a_note_is_kept_redacted_and_taken_away(shelf: Shelf) -> None:
    """With who wrote it and when."""
    if isinstance(shelf, MemoryShelf):
        pytest.skip("what people say is kept in a store alone")
    assert isinstance(shelf, StoreShelf)
    prints = await _fill(shelf, [(_at("$['a']"), AT_MS)])
    remarks = Remarks(shelf.reader, lambda: AT_MS + 1000, Redactor(b"a key").text)
    name = _id("$['a']")
    await remarks.set_note("shop", name, " see token=verysecretvalue ", "jo")
    note = (await prints.page("shop", Wanted())).fingerprints[0].note
    assert note is not None
    assert ("jo", AT_MS + 1000, True, False) == (
        note.author,
        note.at_ms,
        note.text.startswith("see token=‹redacted:"),
        "verysecret" in note.text,
    )
    await remarks.set_note("shop", name, "", "jo")
    assert None is (await prints.page("shop", Wanted())).fingerprints[0].note


async def _put(shelf: Shelf, paths: list[str], first: int) -> None:
    """Commit a pair for each path, one a millisecond, all within a second."""
    stage = _stage()
    pairs = enumerate(paths, first)
    await shelf.put(*(stage(pair(number=number), _at(path), AT_MS + number) for number, path in pairs))


async def test_samples_are_chosen_by_what_their_fingerprints_cannot_be(shelf: Shelf) -> None:
    """What is ruled out holds none that is wanted; what was first seen since the last look is never ruled out."""

    def wanted(place: str) -> bool:
        return place.endswith("['f3']")

    def chosen(line: Summary) -> bool:
        return wanted(line.differences[0].path)

    await _put(shelf, [f"$['p{number}']['f{number % 7}']" for number in range(40)], 0)
    prints = Fingerprints(shelf.reader, lambda: AT_MS + 1000)
    out = await prints.ruled_out("shop", None, None, wanted)
    every = await newest_samples(shelf.reader, "shop", 100)
    assert (40, 6) == (len(every), sum(map(chosen, every)))
    assert [line for line in every if chosen(line)][:3] == await newest_samples(
        shelf.reader, "shop", 3, wanted=chosen, ruled_out=out
    )
    assert [chosen(line) for line in every] == [(line.fingerprint or "") not in out for line in every]
    await _put(shelf, ["$['new']['f3']"], 40)
    found = await newest_samples(shelf.reader, "shop", 100, wanted=chosen, ruled_out=out)
    assert (7, "$['new']['f3']") == (len(found), found[0].differences[0].path)


async def test_the_catalogue_is_taken_page_by_page(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though more were first seen in one second than fit a page."""
    monkeypatch.setattr(catalogue, "AT_ONCE", 3)
    prints = Fingerprints(shelf.reader, lambda: AT_MS + 1000)
    for first in (0, 20):
        await _put(shelf, [f"$['f{number}']" for number in range(first, first + 20)], first)
        assert first + 20 == (await prints.page("shop", Wanted(kind="value", limit=50))).total
