"""Check how often a cause shows an attribute by chance, and how often it shows the right one.

Pairs have 20 attributes of different frequency. Some depend on each other, as a category and the number of shipping
days do. All draws are seeded. The short form has fewer runs.
"""

from __future__ import annotations

import logging
import random
from typing import TYPE_CHECKING, NamedTuple

import pytest

from shadowdiff.report.attributes import Attribute, Source
from shadowdiff.report.common_attributes import Entry, Group, SamplePart, common_attributes
from tests.simulation.releases import binomial_bound

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

GROUPS = {"hurt": Group("GET /", ("c1",)), "fine": Group("GET /")}
LEVEL = 0.05


class Size(NamedTuple):
    """The number of runs in each simulation."""

    runs: int


SIZES = [
    pytest.param(Size(60), id="quick"),
    pytest.param(Size(10_000), id="deep", marks=[pytest.mark.deep, pytest.mark.timeout(1500)]),
]


def attributes(dice: random.Random, number: int) -> dict[str, int]:
    """Draw the attributes of one request: ids, categories, flags, and values that follow from others."""
    product = dice.randrange(200)
    found = {"id": product, "category": product % 10, "days": product % 5, "even": product % 2, "request": number}
    found |= {f"flag {at}": int(dice.random() < 0.02 * 1.6**at) for at in range(8)}
    return found | {f"choice {at}": dice.randrange(2 + 3**at) for at in range(7)}


def shown(seed: int, pairs: int, affected: Callable[[random.Random, dict[str, int]], bool], level: float) -> list[str]:
    """Return the attributes that a cause shows in a sample of this size."""
    dice = random.Random(seed)
    entries: list[Entry] = []
    for number in range(pairs):
        drawn = attributes(dice, number)
        group = "hurt" if affected(dice, drawn) else "fine"
        named = tuple(Attribute(Source.BODY, name, str(value)) for name, value in drawn.items())
        entries.append(Entry(group, f"{number:012x}", named))
    found = common_attributes([SamplePart(GROUPS, {}, entries)], ["c1"], level=level)
    return [one.text for one in found.attributes]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("share", [0.02, 0.2, 0.7])
def test_causes_without_a_common_attribute_show_one_no_more_often_than_the_level(size: Size, share: float) -> None:
    """Whether a pair is affected depends on nothing but chance."""
    runs = [shown(seed, 500, lambda dice, _: dice.random() < share, LEVEL) for seed in range(size.runs)]
    wrong = sum(map(bool, runs))
    log.info("share %.2f: %d of %d causes show an attribute by chance", share, wrong, size.runs)
    assert wrong / size.runs <= binomial_bound(size.runs, LEVEL)


@pytest.mark.parametrize("size", SIZES)
def test_common_attribute_is_shown_first_and_alone(size: Size) -> None:
    """A cause of one category is found, although other causes affect one pair in a hundred of the others, too."""
    found = [
        shown(seed, 500, lambda dice, drawn: drawn["category"] == 3 or dice.random() < 0.01, 0.001)
        for seed in range(size.runs)
    ]
    right = sum(one[:1] == ["category = 3"] for one in found)
    more = sum(len(one) > 1 for one in found)
    log.info("%d of %d first attributes are right; %d causes show more", right, size.runs, more)
    assert size.runs == right
    assert more / size.runs <= binomial_bound(size.runs, 0.001)


@pytest.mark.parametrize("size", SIZES)
def test_one_rare_product_is_found(size: Size) -> None:
    """One of 200 products fails, which is five pairs in a thousand."""
    found = [shown(seed, 3000, lambda _, drawn: drawn["id"] == 13, 0.001) for seed in range(size.runs // 20)]
    assert [["id = 13"]] * len(found) == found
