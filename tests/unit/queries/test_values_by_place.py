"""Test the values of a fingerprint at its places."""

from __future__ import annotations

from shadowdiff.queries.fingerprints import values_by_place
from shadowdiff.report import Redactor, ReportStage, SampleSettings, newest_samples
from shadowdiff.report.fingerprint import print_of
from tests.fakes.store_reader import MemoryStore
from tests.fakes.traffic import difference, mismatch, pair


async def test_a_place_with_a_long_path_has_its_values() -> None:
    """A fingerprint stores only the beginning of a long path."""
    found = mismatch(difference("$" + "['level']" * 60))
    store = MemoryStore()
    store.commit(ReportStage(SampleSettings(redactor=Redactor(b"a key")))(pair(), found, 1000))
    known = print_of(pair(), found)
    assert known is not None
    (place,) = values_by_place(known.what.places, await newest_samples(store, "shop", 5))
    assert [("21.99", "19.99", 1)] == [(one.primary, one.candidate, one.samples) for one in place.values]
