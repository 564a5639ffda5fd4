"""The books: one disposition each, and bounded examples."""

from __future__ import annotations

from shadowdiff.intake.books import KEPT_EXAMPLES, Books, Examples, MirrorRow, RecordRow
from shadowdiff.model import Side


def test_a_row_balances_only_if_every_item_has_its_one_place() -> None:
    """The identity is a check that can fail: too few and too many places are both seen."""
    row = MirrorRow(received=3, in_flight=1, forwarded=1, blocked=1)
    assert row.balanced
    row.settled(parked=True)
    assert MirrorRow(received=3, forwarded=2, blocked=1) == row
    assert row.balanced
    row.forwarded += 1
    assert not row.balanced
    assert not MirrorRow(received=1).balanced


def test_what_the_store_could_not_take_is_lost_and_not_forwarded() -> None:
    """`forwarded` and `accepted` mean that the store said so."""
    mirrored, recorded = MirrorRow(received=1, in_flight=1), RecordRow(received=1, in_flight=1)
    mirrored.settled(parked=False)
    recorded.settled(parked=False)
    assert MirrorRow(received=1, store_lost=1) == mirrored
    assert RecordRow(received=1, store_lost=1) == recorded


def test_a_targets_records_are_the_sum_of_its_sides() -> None:
    """The ledger has one row, the metrics one per side."""
    books = Books()
    books.record_row("t").received = 2
    books.record_row("t", Side.CANDIDATE).received = 3
    books.record_row("u").received = 9
    assert RecordRow(received=5) == books.records("t")
    assert {"t", "u"} == books.targets()


def test_examples_keep_the_newest_few_without_queries() -> None:
    """What comes from outside is bounded in number and length, and its query may hold a secret."""
    examples = Examples()
    for number in range(KEPT_EXAMPLES + 5):
        examples.saw(f"host{number}", "/p?token=secret")
    examples.saw("host10", "/" + "x" * 500)
    newest = examples.newest()
    assert KEPT_EXAMPLES == len(newest)
    assert ("host10", 2, "/" + "x" * 199) == newest[0]
    assert ("host36", 1, "/p") == newest[1]
    assert "host4" not in {what for what, _, _ in newest}
