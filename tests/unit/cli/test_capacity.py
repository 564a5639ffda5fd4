"""Test the capacity model: manual examples, its limits, and the table of the documentation."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from shadowdiff.cli import main
from shadowdiff.cli.capacity import MEASURED, Costs, Demand, Plan, plan

PAGE = (Path(__file__).parents[3] / "docs" / "scaling.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| ([\d,]+) \| ([\d.]+) %? ?\| (.+) \|$", PAGE, re.MULTILINE)
ROUND = Costs(
    request_us=100, pair_us=400, kb_us=100, process_ms=0, redis_pair_us=50, redis_kb_us=50, redis_process_ms=0,
    waiting_bytes=500, tombstone_bytes=100, head_bytes=0, process_mib=100, flight_kb=0,
)  # fmt: skip


def test_the_model_by_hand() -> None:
    """A thousand requests a second, half of them compared, have costs that are easy to add up."""
    demand = Demand(
        rate=1000, sample=0.5, body_bytes=1000, request_bytes=0, stored=0.5, wait_s=2, window_s=10, busy=0.5
    )
    found = plan(demand, ROUND)
    # 500 x 500 us + 500 x 100 us = 0.3 s of work a second. The plan uses half of a core.
    assert 1 == found.pods
    assert (1, 1, 0.1) == (found.masters, found.shards, found.redis_cores)  # 500 x 100 us = 0.05 s
    waiting, tombstones = 500 * 2 * 1000, 500 * 10 * 100
    assert -(-(waiting + tombstones) // (1 << 20)) == found.redis_mib
    assert 500 * (10 + 2) == found.depth
    assert 1.5 * 1000 * 1000 * 8 / 1e6 == found.mesh_mbit
    assert 500 * 4 * 500 * 8 / 1e6 == found.store_mbit


@pytest.mark.parametrize("field", ["pods", "masters", "redis_mib", "outage_mib", "depth", "mesh_mbit", "store_mbit"])
def test_a_larger_load_never_needs_less(field: str) -> None:
    """From one request a second to a million, no resource of the plan shrinks."""
    found = [getattr(plan(Demand(rate=10**power)), field) for power in range(7)]
    assert sorted(found) == found


def test_shards_cut_into_masters_evenly_enough() -> None:
    """A cluster has sixteen shards, or four per master if it has many masters, so their loads are similar."""
    for power in range(3, 7):
        found = plan(Demand(rate=10**power))
        assert found.shards == 1 or found.shards >= 16
        assert found.shards & (found.shards - 1) == 0


def test_requests_that_are_not_compared_cost_less() -> None:
    """A sample needs fewer pods, less Redis and less network traffic."""
    whole, part = plan(Demand(rate=100_000)), plan(Demand(rate=100_000, sample=0.01))
    assert part.pods < whole.pods / 2
    assert part.masters < whole.masters
    assert part.store_mbit == pytest.approx(whole.store_mbit / 100, rel=0.01)


def shown(found: Plan) -> str:
    """Return a plan in the form of a row of the page."""
    gib = f"{found.redis_mib / 1024:.2f} GiB", f"{found.outage_mib / 1024:.2f} GiB"
    mbit = f"{found.mesh_mbit:,.0f}", f"{found.store_mbit:,.0f}"
    return " | ".join([f"{found.pods:,}", f"{found.masters:,}", f"{found.shards:,}", *gib, *mbit])


def test_the_page_shows_the_results_of_the_model() -> None:
    """Each row of the table is right, and the table has rates from a thousand to a million."""
    rates = [int(rate.replace(",", "")) for rate, _, _ in ROWS]
    assert (1_000, 1_000_000) == (min(rates), max(rates))
    for rate, (_, percent, row) in zip(rates, ROWS, strict=True):
        assert shown(plan(Demand(rate=rate, sample=float(percent) / 100))) == row, (rate, percent)


def test_the_page_shows_the_measured_values() -> None:
    """The page lists every cost of the model with its value."""
    documented = {name: float(value) for name, value in re.findall(r"^\| `(\w+)` \| ([\d.]+) \|", PAGE, re.MULTILINE)}
    assert {name: float(value) for name, value in msgspec.structs.asdict(MEASURED).items()} == documented


def test_the_command_prints_the_plan() -> None:
    """The command prints the plan as text or as JSON."""
    words = CliRunner().invoke(main, ["capacity", "--rate", "50000", "--sample", "0.1"])
    as_json = CliRunner().invoke(main, ["capacity", "--rate", "50000", "--sample", "0.1", "--json"])
    found = plan(Demand(rate=50_000, sample=0.1))
    assert (0, 0) == (words.exit_code, as_json.exit_code)
    assert f"pods      {found.pods}, each with one process" in words.output
    assert found == msgspec.convert(json.loads(as_json.output), Plan)


def test_a_measured_cost_replaces_the_default() -> None:
    """Half the CPU time per pair needs about half the pods."""
    asked = ["capacity", "--rate", "100000", "--json"]
    ours = json.loads(CliRunner().invoke(main, asked).output)
    theirs = json.loads(
        CliRunner()
        .invoke(main, [*asked, "--pair-us", str(MEASURED.pair_us / 2), "--kb-us", str(MEASURED.kb_us / 2)])
        .output
    )
    assert theirs["pods"] == pytest.approx(ours["pods"] / 2, rel=0.02)
