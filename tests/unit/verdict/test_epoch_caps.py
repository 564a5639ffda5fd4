"""The bounds of what an epoch counts apart are the configuration's."""

from __future__ import annotations

from shadowdiff.model import Incr
from shadowdiff.verdict import CountCaps, Epoch, OpenedBy, Watched
from shadowdiff.verdict.epoch_view import EpochView
from tests.fakes.traffic import mismatch, pair


def test_an_epoch_counts_within_the_configured_bounds() -> None:
    """Routes with room for names that are folded later; places as many as `limits.paths` says."""
    caps = CountCaps(routes=7, paths=11)
    view = EpochView(Watched(target="shop", revision_header=b"x-version", rules="1"), lambda: None, caps=caps)
    view.take(Epoch(id=1, started_ms=0, by=OpenedBy.START, rules="1"))
    writes = view.writes(pair(), mismatch())
    bounds = {write.key.rpartition(":")[2]: write.cap for write in writes if isinstance(write, Incr)}
    assert {"mismatch": caps.names, "paths": 11} == bounds
