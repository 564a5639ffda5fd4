"""Test the counters: each item has one disposition, and examples are bounded."""

from __future__ import annotations

from shadowdiff.intake.counters import (
    KEPT_EXAMPLES,
    MAX_EXAMPLE_CHARS,
    Disposition,
    Examples,
    IntakeCounters,
    MirrorCounts,
    RecordCounts,
)
from shadowdiff.model import Side
from shadowdiff.pairing.ledger import MIRRORED, RECORDED
from tests.fakes.counts import is_balanced


def test_counts_balance_only_if_every_item_has_one_disposition() -> None:
    """The check detects too few and too many dispositions."""
    counts = MirrorCounts(received=3, in_flight=1, forwarded=1, blocked=1)
    assert is_balanced(counts)
    counts.settle(True)
    assert MirrorCounts(received=3, forwarded=2, blocked=1) == counts
    assert is_balanced(counts)
    assert not is_balanced(MirrorCounts(received=3, forwarded=3, blocked=1))
    assert not is_balanced(MirrorCounts(received=1))
    counts.end(Disposition.FORWARDED)
    assert (3, True) == (counts[Disposition.FORWARDED], is_balanced(counts))
    assert -1 == counts.in_flight


def test_an_observation_that_the_store_lost_is_not_forwarded() -> None:
    """`forwarded` and `accepted` mean that the store confirmed it."""
    for counts in (MirrorCounts(), RecordCounts()):
        counts.receive()
        counts.settle(False)
        assert type(counts)(received=1, store_lost=1) == counts


def test_the_ledger_has_every_disposition() -> None:
    """The names are the same, and only a dead process adds `crashed`."""
    for counts, fields in ((MirrorCounts(), MIRRORED), (RecordCounts(), RECORDED)):
        assert {*fields} == {*counts.as_dict(), "crashed"}


def test_the_records_of_a_target_are_the_sum_of_its_sides() -> None:
    """The ledger counts the sides together, the metrics separately."""
    counters = IntakeCounters()
    counters.recorded["t", Side.PRIMARY].received = 2
    counters.recorded["t", Side.CANDIDATE].received = 3
    counters.recorded["u", Side.PRIMARY].received = 9
    assert RecordCounts(received=5) == counters.records("t")
    assert {"t", "u"} == counters.targets()


def test_examples_keep_the_newest_few_without_queries() -> None:
    """Input is bounded in number and length, and a query may contain a secret."""
    examples = Examples()
    for number in range(KEPT_EXAMPLES + 5):
        examples.add(f"host{number}", "/p?token=secret")
    examples.add("host10", "/x/" + "x" * MAX_EXAMPLE_CHARS)
    newest = examples.newest()
    assert KEPT_EXAMPLES == len(newest)
    assert ("host10", 2, "/x/…") == newest[0]
    assert ("host36", 1, "/p") == newest[1]
    assert "host4" not in {what for what, _, _ in newest}
