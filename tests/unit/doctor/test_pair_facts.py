"""Test the facts about v2 in pairs: a few bounded counters as writes, and occasional examples."""

from __future__ import annotations

import msgspec
import pytest

from shadowdiff.doctor.pair_facts import PairFacts, read_pair_facts
from shadowdiff.model import Comparison, Difference, Failure, Incr, Kind, Pair, Put, Result, Severity, Side
from tests.fakes.store_reader import MemoryStore
from tests.fakes.traffic import MATCH, observation, pair

VERSION = b"x-version"


def _notes() -> PairFacts:
    notes = PairFacts(lambda path: path.partition("?")[0], lambda _, types: "" if types else "application/json")
    notes.serve({"shop": VERSION}, {"typed": (("*", "text/plain"),)})
    return notes


def _named(primary: str, candidate: str, header: bytes = VERSION) -> Pair:
    ours, theirs = (
        observation(side, b"{}", headers=((header, name.encode()),))
        for side, name in ((Side.PRIMARY, primary), (Side.CANDIDATE, candidate))
    )
    return pair(ours, theirs)


@pytest.mark.parametrize(
    ("seen", "comparison", "expected"),
    [
        (pair(), MATCH, {"seen"}),
        (_named("v1", "v2"), MATCH, {"seen", "revision_other"}),
        (_named("v1", "v1"), MATCH, {"seen", "revision_same"}),
        (_named("a", "a", b"x-pod-name"), MATCH, {"seen", "instance_same"}),
        (_named("", ""), MATCH, {"seen"}),
        (pair(observation(Side.PRIMARY), observation(Side.CANDIDATE, status=404)), MATCH, {"seen", "status.404"}),
        (pair(observation(Side.PRIMARY, status=404), observation(Side.CANDIDATE, status=404)), MATCH, {"seen"}),
        (
            pair(observation(Side.PRIMARY), observation(Side.CANDIDATE, status=0, failure=Failure.REFUSED)),
            MATCH,
            {"seen", "failure.refused"},
        ),
        (pair(), Comparison(result=Result.INCOMPARABLE, reason="poison"), {"seen", "incomparable.poison"}),
        (pair(), Comparison(result=Result.INCOMPARABLE, reason="withheld"), set[str]()),
    ],
)
def test_pair_adds_to_few_figures(seen: Pair, comparison: Comparison, expected: set[str]) -> None:
    """A match with a healthy v2 costs one or two increments."""
    writes = _notes().writes(seen, comparison, 0)
    assert expected == {write.field for write in writes if isinstance(write, Incr)}


def test_equal_pairs_give_the_same_increments() -> None:
    """A commit can add up equal increments, and each has a limit."""
    notes = _notes()
    first, second = (
        [write for write in notes.writes(_named("v1", "v1"), MATCH, at_ms) if isinstance(write, Incr)]
        for at_ms in (0, 1)
    )
    assert all(one is other for one, other in zip(first, second, strict=True))
    assert all(write.cap for write in first)


def test_one_redacted_example_is_kept_per_second() -> None:
    """An example has the key, the requests and the fact of a pair, and expires after an hour."""
    notes = _notes()
    kept = [
        write
        for at_ms in (0, 400, 999, 1000)
        for write in notes.writes(_named("v1", "v1"), MATCH, at_ms)
        if isinstance(write, Put)
    ]
    assert [3600] * 2 == [write.ttl_s for write in kept]
    rows = msgspec.json.decode(kept[0].value)
    assert [["request", "GET /products/17", "GET /products/17"], ["x-version", "v1", "v1"]] == rows[1:]


def test_values_of_headers_in_an_example_are_redacted() -> None:
    """A header with the name of an instance can have any value."""
    writes = _notes().writes(_named("a?key=1", "a?key=1", b"x-pod-name"), MATCH, 0)
    (kept,) = [write for write in writes if isinstance(write, Put)]
    assert ["x-pod-name", "a", "a"] == msgspec.json.decode(kept.value)[2]


@pytest.mark.parametrize(
    ("kind", "rule", "target", "counted"),
    [
        (Kind.TEXT, None, "shop", 1),
        (Kind.BYTES, None, "shop", 1),
        (Kind.TEXT, "mask text", "shop", 0),
        (Kind.VALUE, None, "shop", 0),
        (Kind.TEXT, None, "typed", 0),
    ],
)
def test_json_that_differs_as_text_is_counted(kind: Kind, rule: str | None, target: str, counted: int) -> None:
    """Bodies are read only if they differ as text or bytes; a configured type is not questioned."""
    found = Difference(
        path="text[0]", pattern="text[*]", kind=kind, primary="1", candidate="2", severity=Severity.VALUE, rule=rule
    )
    comparison = Comparison(result=Result.MISMATCH, differences=(found,))
    seen = msgspec.structs.replace(pair(), target=target)
    writes = _notes().writes(seen, comparison, 0)
    fields = [write.field for write in writes if isinstance(write, Incr)]
    assert counted == fields.count("body_type.application/json")


async def test_figures_and_examples_are_read_back() -> None:
    """Figures have dotted names, and examples are listed by kind."""
    store, notes = MemoryStore(), _notes()
    for _ in range(3):
        store.commit(notes.writes(_named("v1", "v1"), MATCH, 0))
    counts, examples = await read_pair_facts(store, "shop")
    assert {"pair.seen": 3, "pair.revision_same": 3} == counts
    assert {"revision_same"} == set(examples)


def test_headers_of_a_limited_number_of_pairs_are_read() -> None:
    """A limit per period keeps the cost low for a target with many requests."""
    notes = _notes()
    looked = [
        write.field
        for at_ms in (*[0] * 500, 200)
        for write in notes.writes(_named("v1", "v2"), MATCH, at_ms)
        if isinstance(write, Incr)
    ]
    assert (501, 21) == (looked.count("seen"), looked.count("revision_other"))
