"""Check that a service's funnel agrees with its ledger.

`tests/running.py` checks every service when it stops, so the check covers all tests with a service.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

TRIES = 10
JUDGED = ("match", "ignored", "mismatch", "incomparable")


def check_funnels(get: Callable[[str], Any]) -> None:
    """Read each target's ledger and funnel until both are from the same moment, then compare the two."""
    for target in [one["name"] for one in get("targets")["targets"]]:
        still, tries = False, 0
        before: Any = None
        shown: Any = None
        again: Any = None
        books: Any = None
        while not still and tries < TRIES:
            before, shown = get(f"ledger?target={target}"), get(f"funnel?target={target}")
            books, again = get(f"ledger?target={target}"), get(f"funnel?target={target}")
            still, tries = (
                (before, shown) == (books, again),
                tries + 1,
            )  # ledgers of two different moments can be equal by chance
        if books["balanced"]:  # if the ledger does not balance, the funnel does not either
            agree(books if still else None, shown)


def agree(books: Any, shown: Any) -> None:
    """Fail unless steps and routes add up to the ledger. `books` is None if the ledger changed at every read."""
    steps = shown["steps"]
    assert shown["exact"], shown
    for step, following in itertools.pairwise(steps):
        assert step["count"] - sum(loss["count"] for loss in step["losses"]) == following["count"], (step, following)
    for route in shown["routes"]:
        assert route["seen"] - sum(loss["count"] for loss in route["losses"]) == route["compared"], route
    if books is None:
        return
    recorded, primary, pairs = books["recorded"], books["observations"]["primary"], books["pairs"]
    judged = sum(pairs[result] for result in JUDGED)
    counts = [recorded["received"], primary["parked"], pairs["ready"], judged, judged - pairs["incomparable"]]
    assert counts == [steps[number]["count"] for number in (1, 3, 5, 6, 7)], (books, shown)
    assert sum(route["judged"] for route in shown["routes"]) == judged, (books, shown)
    named = {loss["reason"]: loss["count"] for step in steps for loss in step["losses"]}
    for name in ("ineligible", "excluded", "sampled_out", "refused", "shed", "store_lost", "crashed", "in_flight"):
        assert recorded[name] == named.get(name, 0), (name, books, shown)
    for name in ("duplicate", "replaced", "waiting", "ambiguous", "late"):
        assert primary[name] == named.get(name, 0), (name, books, shown)
    unpaired = sum(count for reason, count in named.items() if reason.startswith(("mirror_", "not_mirrored")))
    assert (primary["orphaned"], pairs["pending"]) == (unpaired, named.get("pending", 0)), (books, shown)
