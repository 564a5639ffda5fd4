"""Test properties of the attributes that pairs have in common, and of the samples that they are computed from."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from shadowdiff.report.attributes import Attribute, How, Source
from shadowdiff.report.common_attributes import (
    FEWEST_AFFECTED,
    LEAST_DIFFERENCE,
    LEAST_SHARE,
    MOST_SHOWN,
    Entry,
    Group,
    SamplePart,
    common_attributes,
    difference_bound,
    exceedance,
)

if TYPE_CHECKING:
    import random

GROUPS = {"a": Group("r", ("c1",)), "b": Group("r", ("c1", "c2")), "c": Group("r", ("c2",)), "d": Group("r")}
ATTRIBUTES = st.builds(
    Attribute,
    st.sampled_from([Source.PATH, Source.QUERY, Source.HEADER, Source.BODY]),
    st.sampled_from(["x", "y"]),
    st.sampled_from(["0", "1", "2"]),
    st.just(How.IS),
)
ENTRIES = st.lists(
    st.builds(
        Entry,
        st.sampled_from("abcd"),
        st.integers(0, 30).map("{:012x}".format),
        st.lists(ATTRIBUTES, max_size=4, unique=True).map(tuple),
    ),
    max_size=60,
)


@given(ENTRIES, st.randoms(use_true_random=False))
def test_order_and_shards_do_not_matter(entries: list[Entry], dice: random.Random) -> None:
    """The same pairs in another order, or split between two shards, have the same attributes in common."""
    whole = common_attributes([SamplePart(GROUPS, {}, entries)], ["c1"])
    shuffled = dice.sample(entries, len(entries))
    split = [SamplePart(GROUPS, {}, shuffled[at::2]) for at in (0, 1)]
    assert whole == common_attributes(split, ["c1"])


@given(ENTRIES)
def test_shown_attributes_hold(entries: list[Entry]) -> None:
    """Each shown attribute has possible counts, and is clearly more frequent among affected pairs."""
    found = common_attributes([SamplePart(GROUPS, {}, entries)], ["c1"], level=0.2)
    assert len(found.attributes) <= MOST_SHOWN
    assert len({one.text for one in found.attributes}) == len(found.attributes)
    for one in found.attributes:
        assert FEWEST_AFFECTED <= one.affected == found.affected
        assert LEAST_SHARE * one.affected <= one.affected_with <= one.affected
        assert 0 <= one.others_with <= one.others == found.others
        assert one.affected_with / one.affected - one.others_with / one.others >= LEAST_DIFFERENCE


@given(ENTRIES, st.integers(0, 31).map("{:012x}".format))
def test_a_cut_leaves_only_lower_ranks(entries: list[Entry], cut: str) -> None:
    """A cut of one affected group holds for all affected pairs, and for no others."""
    found = common_attributes([SamplePart(GROUPS, {"a": cut}, entries)], ["c1"])
    affected = [one for one in entries if one.group in "ab" and one.rank < cut]
    others = [one for one in entries if one.group in "cd"]
    assert (len(affected), len(others)) == (found.affected, found.others)


@given(st.integers(1, 40), st.integers(1, 40), st.data())
def test_exceedance_falls_and_starts_at_one(n: int, m: int, data: st.DataObject) -> None:
    """More pairs with an attribute are less probable."""
    size = data.draw(st.integers(0, n + m))
    chances = [exceedance(a, n, size, n + m) for a in range(min(n, size) + 1)]
    assert 1.0 == chances[0]
    assert all(0 <= later <= earlier * (1 + 1e-12) for earlier, later in pairwise(chances))


@given(st.integers(1, 500), st.integers(1, 500), st.data())
def test_bound_is_below_the_difference(n: int, m: int, data: st.DataObject) -> None:
    """A stricter level gives a lower bound."""
    a, b = data.draw(st.integers(0, n)), data.draw(st.integers(0, m))
    strict, loose = (difference_bound(a, n, b, m, level) for level in (1e-6, 0.05))
    assert -1 - 1e-9 <= strict <= loose + 1e-9 <= a / n - b / m + 2e-9


@given(ENTRIES)
def test_groups_survive_the_store(entries: list[Entry]) -> None:
    """Attributes and groups are equal after they were stored."""
    for entry in entries:
        stored = msgspec.msgpack.encode(entry.attributes)
        assert entry.attributes == msgspec.msgpack.decode(stored, type=tuple[Attribute, ...])
    for group in GROUPS.values():
        assert group == msgspec.msgpack.decode(msgspec.msgpack.encode(group), type=Group)
