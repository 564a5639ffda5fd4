"""Which changes become one cause, and which become two."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from shadowdiff.model.relation import Relation
from shadowdiff.report.cause_tables import CauseTables, tables_of
from shadowdiff.report.cause_writes import parameter_field
from shadowdiff.report.causes import aliases_of, causes_of
from shadowdiff.report.change import Change

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shadowdiff.report.causes import CauseCounts

Seen = tuple[Change, dict[Relation, str]]
"""A change in one pair, with its parameters."""


def seen(place: str, mask: Relation | int = 0, *, route: str = "GET /a", kind: str = "value", **texts: str) -> Seen:
    """Return a change; a parameter's name is its relation in lower case."""
    parameters = {Relation[name.upper()]: text for name, text in texts.items()}
    return Change(route, place, kind, int(mask) | sum(parameters)), parameters


def tables(pairs: Iterable[Iterable[Seen]]) -> CauseTables:
    """Return the tables of these pairs."""
    sets: Counter[str] = Counter()
    changes: Counter[str] = Counter()
    alone: Counter[str] = Counter()
    params: Counter[str] = Counter()
    for pair in pairs:
        found = dict(pair)
        ids = sorted(change.id for change in found)
        sets["".join(ids)] += 1
        changes.update(change.field for change in found)
        alone.update(ids if len(ids) == 1 else ())
        params.update(
            parameter_field(change.id, bit, text) for change, texts in found.items() for bit, text in texts.items()
        )
    return tables_of(sets, changes, alone, params)


def causes(*pairs: Iterable[Seen]) -> list[tuple[str, str | None, int, int]]:
    """Return relation, parameter, pairs and routes of each cause."""
    return sorted(map(_row, causes_of(tables(pairs)).causes), key=str)


def _row(one: CauseCounts) -> tuple[str, str | None, int, int]:
    return one.relation, one.parameter, one.pairs, len(one.routes)


PRICE = "$['item']['price']"


def test_the_same_change_on_many_routes_is_one_cause() -> None:
    """Fingerprints were split by route."""
    pairs = [[seen(PRICE, route=f"GET /{n}", offset="1")] for n in range(40)]
    assert [("offset", "1", 40, 40)] == causes(*pairs)


def test_independent_changes_are_separate_causes_in_all_combinations() -> None:
    """Fingerprints were split by combination: two changes made three groups."""
    one, two = seen(PRICE, number_as_string="number → string"), seen("$['name']", Relation.CASE)
    found = causes_of(tables([[one], [one, two], [two, one], [two]]))
    assert [("case", 3, 1), ("number_as_string", 3, 1)] == sorted((c.relation, c.pairs, c.alone) for c in found.causes)
    assert (4, 4, 4, True) == (found.pairs, found.explained, found.top_ten, found.is_exact)


def test_two_relations_that_no_pair_shares_are_two_causes() -> None:
    """One place is wrong in two ways."""
    pairs = [[seen(PRICE, scaled="100")]] * 6 + [[seen(PRICE, Relation.REPLACED_BY_ERROR)]] * 4
    assert [("replaced_by_error", None, 4, 1), ("scaled", "100", 6, 1)] == causes(*pairs)


def test_a_relation_that_holds_by_chance_does_not_split_a_cause() -> None:
    """Of random numbers, a few are rounded or multiples."""
    pairs = [[seen(PRICE, Relation.OFFSET, offset=str(n))] for n in range(30)]
    pairs += [[seen(PRICE, Relation.ROUNDED | Relation.OFFSET, offset="0.5")], [seen(PRICE, scaled="10", offset="9")]]
    assert [("other", None, 32, 1)] == causes(*pairs)


def test_a_parameter_describes_a_cause_only_if_all_pairs_have_it() -> None:
    """Otherwise a weaker relation does."""
    other = [seen(PRICE, Relation.SCALED, scaled=text) for text in ("10", "100", "60")]
    assert [("scaled", None, 3, 1)] == causes(*[[one] for one in other])


def test_the_most_specific_relation_describes_a_cause() -> None:
    """A string of a number is also a constant."""
    assert [("number_as_string", None, 3, 1)] == causes(
        *[[seen(PRICE, Relation.NUMBER_AS_STRING, constant='1 → "1"')]] * 3
    )


def test_generated_values_are_one_cause_for_each_place() -> None:
    """Clocks at different places are not one cause; one place on many routes is."""
    pairs = [
        [seen(place, Relation.GENERATED, route=f"GET /{n}")]
        for n in range(3)
        for place in ("$['a']['at']", "$['b']['c']['at']")
    ]
    assert [("generated", None, 3, 3)] * 2 == causes(*pairs)


def test_places_with_the_same_last_segments_are_one_cause() -> None:
    """A list and a single object show the same field."""
    places = ("$['item']['price']", "$['items'][*]['item']['price']", "$['price']")
    pairs = [[seen(place, route=f"GET {place}", offset="1")] for place in places]
    assert [("offset", "1", 3, 3)] == causes(*pairs)


@pytest.mark.parametrize(("kind", "size"), [("removed", 1), ("added", 1), ("value", 2)])
def test_a_missing_member_is_one_cause_at_places_that_end_alike(kind: str, size: int) -> None:
    """Without a relation, other values at two places have nothing in common."""
    places = ("$['item']['price']", "$['items'][*]['item']['price']")
    assert size == len(causes(*[[seen(place, kind=kind, route=f"GET {place}")] for place in places]))


def test_what_differs_in_errors_of_v2_belongs_to_the_error() -> None:
    """The body of an error differs, too, but only because of the error."""
    error = seen("status", kind="status", replaced_by_error="500")
    body, price = seen("$", Relation.RETYPED, kind="type"), seen(PRICE, offset="1")
    found = causes_of(tables([[error, body]] * 5 + [[price]] * 4))
    assert [("replaced_by_error", 5, 5), ("offset", 4, 4)] == [(c.relation, c.pairs, c.alone) for c in found.causes]
    assert (body[0].id,) == found.causes[0].group.consequences


def test_a_change_that_also_occurs_without_the_error_is_a_cause() -> None:
    """An error does not hide a fault."""
    error, price = seen("status", kind="status", replaced_by_error="500"), seen(PRICE, offset="1")
    assert 2 == len(causes([error, price], [error, price], [price], [price]))


def test_statuses_are_separate_causes_from_the_first_pair() -> None:
    """200 → 204 on one route and 200 → 301 on another have nothing in common."""
    pairs = [[seen("status", route=f"GET /{to}", kind="status", constant=f"200 → {to}")] for to in ("204", "301")]
    assert [("constant", "200 → 204", 1, 1), ("constant", "200 → 301", 1, 1)] == causes(*pairs)


def test_one_pair_on_each_route_is_one_cause_although_each_value_is_constant() -> None:
    """A single pair always has the same parameter; that does not make 40 causes."""
    pairs = [[seen("$['title']", route=f"GET /{n}", constant=f"a{n} → b{n}")] for n in range(40)]
    assert [("other", None, 40, 40)] == causes(*pairs)


def test_a_cause_keeps_its_triage_when_it_is_grouped_in_another_way() -> None:
    """Its new id is different, and its old id is an alias."""
    before = causes_of(tables([[seen(PRICE, offset="1")]])).causes[0]
    now = tables([[seen(PRICE, offset="1")]] * 5)
    after = causes_of(now).causes[0]
    assert before.id != after.id
    assert {before.id, after.id} <= aliases_of(now, after.group)


def test_renamed_routes_are_one_route() -> None:
    """A route that was recognized later has the changes of its older names."""
    found = [seen(PRICE, route=route, offset="1")[0] for route in ("GET /a/1", "GET /a/{id}")]
    folded = tables_of(
        {one.id: 2 for one in found},
        {one.field: 2 for one in found},
        {one.id: 2 for one in found},
        {parameter_field(one.id, Relation.OFFSET, "1"): 2 for one in found},
        fold=lambda _: "GET /a/{id}",
    )
    assert [("offset", "1", 4, 1)] == [_row(one) for one in causes_of(folded).causes]
