"""Test which pairs count in a run, and when a new run starts."""

from __future__ import annotations

import pytest

from shadowdiff.verdict import Run, RunInputs, StartedBy
from shadowdiff.verdict.run import (
    RETURNS_AFTER_MS,
    Exclusion,
    RunState,
    due,
    due_for_rollout,
    exclusion_of,
    inputs_match,
    revision_of,
)

RUN = Run(id=3, started_ms=1000, by=StartedBy.REVISION, revision="2.0", rules="a", rollout="shop/cart/7")
NOW_MS = 10 * RETURNS_AFTER_MS


@pytest.mark.parametrize(
    ("expected", "revision", "responded_ms", "match"),
    [
        (None, "2.0", 1000, True),
        (None, None, 1000, True),
        (Exclusion.REVISION, "1.0", 999, False),
        (Exclusion.BEFORE, "2.0", 999, False),
        (Exclusion.RULES, "2.0", 1000, False),
    ],
)
def test_pair_counts_by_revision_time_and_rules(
    expected: Exclusion | None, revision: str | None, responded_ms: int, match: bool
) -> None:
    """The first reason counts, and a failure without a revision is not excluded."""
    assert expected is exclusion_of(RUN, revision=revision, responded_ms=responded_ms, inputs_match=match)


def test_run_without_a_revision_accepts_any() -> None:
    """The first revision then names the run."""
    run = Run(id=1, started_ms=0, by=StartedBy.START)
    assert exclusion_of(run, revision="1.0", responded_ms=0, inputs_match=True) is None


def test_inputs_match_by_rules_and_noise_set() -> None:
    """A process with other rules or another noise set counts no pair."""
    inputs = RunInputs(target="shop", revision_header=b"x-version", rules="a")
    assert [True, False] == [inputs_match(RUN, inputs, noise) for noise in (None, "1")]


def test_revision_is_bounded_and_never_empty() -> None:
    """An empty header names no revision, and a long one is truncated."""
    headers = ((b"x-version", b"v" * 300), (b"x-empty", b""))
    assert ("v" * 100, None, None) == tuple(revision_of(headers, name) for name in (b"x-version", b"x-empty", b"etag"))


@pytest.mark.parametrize(
    ("expected", "revisions", "rules", "noise"),
    [
        (None, [], "a", None),
        (None, [], None, None),
        (None, ["2.0", "1.0"], "a", None),
        (StartedBy.REVISION, ["2.1"], "a", None),
        (StartedBy.REVISION, ["1.0"], "a", None),
        (StartedBy.RULES, ["2.1"], "b", "1"),
        (StartedBy.NOISE, ["2.1"], "a", "1"),
    ],
)
def test_run_is_due_by_rules_then_noise_then_revision(
    expected: StartedBy | None, revisions: list[str], rules: str | None, noise: str | None
) -> None:
    """A known revision starts a run only if the current one sent no response for some time."""
    state = RunState(now_ms=NOW_MS, run=RUN, revisions={"2.0": 1000, "1.0": 500})
    new = due(state, revisions, rules=rules, noise=noise)
    assert expected is (new and new.by)


def test_first_run_is_due_at_once() -> None:
    """Any response starts the first run."""
    new = due(RunState(now_ms=0), ["2.0"], rules="a", noise=None)
    assert StartedBy.START is (new and new.by)


@pytest.mark.parametrize(
    ("expected", "rollout", "last_ms"),
    [
        (False, "shop/cart/7", 0),
        (False, "2.0", 0),
        (True, "shop/cart/8", 0),
        (False, "shop/cart/6", NOW_MS - 1000),
        (True, "shop/cart/6", 0),
    ],
)
def test_rollout_starts_a_run_once(expected: bool, rollout: str, last_ms: int) -> None:
    """A superseded rollout starts a run again only if the current one sent no response for some time."""
    rollouts = {"shop/cart/6": 500, "shop/cart/7": last_ms}
    new = due_for_rollout(RunState(now_ms=NOW_MS, run=RUN, rollouts=rollouts), rollout)
    assert expected is (new is not None)
