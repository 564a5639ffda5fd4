"""Causes in the store: ten planted changes are ten causes, on all stores, and old tables are deleted."""

from __future__ import annotations

import copy
import json
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import pytest

from shadowdiff.compare import Limits, compare
from shadowdiff.model import Side
from shadowdiff.report import CauseReader, CauseWrites, CountedRun, Retention
from shadowdiff.report.cause_writes import PARTS, history_key, table_key
from shadowdiff.report.fingerprint import HOURS_LIVE_S
from shadowdiff.rules import CompiledRules
from tests.fakes.traffic import PRODUCT, observation, pair
from tests.integration.report.conftest import MemoryBackend, StoreBackend

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shadowdiff.model import Comparison, Pair, Write
    from tests.integration.report.conftest import Backend

AT_MS: Final = 1_772_000_000_000
EXACT_ROUTES: Final = 200
NO_RULES: Final = CompiledRules(())


def _put(name: str, change: Callable[[Any], Any]) -> Callable[[dict[str, Any]], None]:
    def plant(body: dict[str, Any]) -> None:
        body[name] = change(body[name])

    return plant


PLANTED: Final[dict[str, Callable[[dict[str, Any]], None]]] = {
    "price is higher": _put("price", lambda price: round(price + 1, 2)),
    "stock is a string": _put("stock", str),
    "seller is missing": lambda body: body.pop("seller"),
    "tags are added": _put("tags", lambda tags: [*tags, "new"]),
    "currency is lower case": _put("currency", str.lower),
    "a member is added": lambda body: body.update(warranty={"years": 2}),
    "width is in millimeters": lambda body: body["dimensions"].update(width=body["dimensions"]["width"] * 10),
    "name is cut off": _put("name", lambda name: name[:5]),
    "served_at has another zone": _put("served_at", lambda at: at.replace("Z", "+00:00")),
    "category is null": _put("category", lambda _: None),
}


def _product(number: int) -> dict[str, Any]:
    """Return a product; every value differs between products."""
    body = copy.deepcopy(PRODUCT)
    body |= {"id": number, "name": f"Brass lamp {number}", "price": round(20.99 + number, 2), "stock": 10 + number}
    body |= {"category": f"group {number}", "served_at": f"2026-03-01T10:{number % 60:02}:00Z"}
    body["dimensions"]["width"] = 11 + number
    return body


def _compared(number: int, routes: int = 1) -> tuple[Pair, Comparison]:
    """Return a pair of one of these routes with some of the planted changes, and its comparison."""
    one, other = _product(number), _product(number)
    for at, plant in enumerate(PLANTED.values()):
        if (number * 7919 >> at) % 3 == 0:
            plant(other)
    made = pair(
        observation(Side.PRIMARY, json.dumps(one).encode()),
        observation(Side.CANDIDATE, json.dumps(other).encode()),
        number=number,
        route=f"GET /shops/{number % routes}/products/{{id}}",
    )
    return made, compare(made, NO_RULES, Limits())


def _stage(run: int = 1) -> CauseWrites:
    return CauseWrites(lambda _: CountedRun(run, "r1"), lambda _: True, lambda _pair, _difference, _bit, text: text)


@pytest.mark.parametrize("routes", [EXACT_ROUTES, 500])
async def test_ten_planted_changes_are_ten_causes(backend: Backend, routes: int) -> None:
    """Numbers are exact up to the default limit of 200 routes; with more routes, there are more than 2,000 changes."""
    stage, compared = _stage(), [_compared(number, routes) for number in range(1000)]
    writes: list[Sequence[Write]] = [stage(made, found, AT_MS) for made, found in compared]
    for at in range(0, len(writes), 200):
        await backend.put(*writes[at : at + 200])
    totals = (await CauseReader(backend.reader, lambda: AT_MS).read("shop", [1])).totals
    mismatches = [{one.pattern for one in found.differences} for _, found in compared if found.differences]
    expected = Counter(place for places in mismatches for place in places)
    assert (len(PLANTED), len(PLANTED)) == (len(expected), len(totals.causes))
    found = {one.places[0]: one.pairs for one in totals.causes}
    assert (expected.keys(), len(mismatches)) == (found.keys(), totals.pairs)
    assert all(found[place] <= count for place, count in expected.items())
    if totals.is_exact:
        assert (expected, len(mismatches)) == (found, totals.explained)
    assert totals.is_exact or routes > EXACT_ROUTES


async def test_a_reader_computes_the_causes_of_a_target_once_in_two_seconds(backend: Backend) -> None:
    """Several people may look at the same page."""
    stage, clock = _stage(), [AT_MS]
    reader = CauseReader(backend.reader, lambda: clock[0])
    made, found = _compared(0)
    await backend.put(stage(made, found, AT_MS))
    first = await reader.read("shop", [1])
    await backend.put(stage(made, found, AT_MS))
    assert first is await reader.read("shop", [1])
    clock[0] += 2000
    assert 2 == (await reader.read("shop", [1])).totals.pairs


async def test_the_runs_of_all_kept_tables_can_be_read_together(backend: Backend) -> None:
    """A switch shows the pairs of all runs."""
    made, found = _compared(0)
    await backend.put(*(_stage(run)(made, found, AT_MS) for run in (1, 2, 2)))
    reader = CauseReader(backend.reader, lambda: AT_MS)
    assert [1, 2, 3] == [(await reader.read("shop", runs)).totals.pairs for runs in ([1], [2], [1, 2])]


async def test_retention_deletes_tables_of_old_runs_and_changes_that_were_not_seen(backend: Backend) -> None:
    """The newest ten runs stay; a change stays for 35 days after its last pair."""
    if isinstance(backend, MemoryBackend):
        return
    assert isinstance(backend, StoreBackend)
    store, (made, found) = backend.reader, _compared(0)
    await backend.put(*(_stage(run)(made, found, AT_MS) for run in range(1, 13)))

    async def newest(_: str) -> Sequence[int]:
        return range(12, 0, -1)

    async def stored(*keys: str) -> int:
        return sum([await store.command("EXISTS", store.keys.name(0, key)) for key in keys])

    await Retention(store, lambda: ["shop"], lambda: AT_MS, 3600, newest).delete_expired()
    assert 0 == await stored(*(table_key("shop", run, part) for run in (1, 2) for part in PARTS))
    tables = [await store.counts(table_key("shop", run, "sets")) for run in range(3, 13)]
    assert all(tables)
    history = [history_key("shop", part) for part in ("first", "changed", "worst", "revision", "last")]
    assert await stored(*history)
    late_ms = AT_MS + HOURS_LIVE_S * 1000 + 60_000
    await Retention(store, lambda: ["shop"], lambda: late_ms, 3600, newest).delete_expired()
    assert 0 == await stored(*history)
