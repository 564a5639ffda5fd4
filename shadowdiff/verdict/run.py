"""A run: a period in which nothing changes that a verdict depends on.

`exclusion_of` decides whether a pair counts in a run, and `due` decides whether a new run must start. A run's start is
set before its evidence and never changes. Pure: `run_store` keeps runs in Redis, `run_counter` counts pairs in runs,
and `runs` connects both.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shadowdiff.model import Headers

RETURNS_AFTER_MS: Final = 120_000
"""A known revision or rollout starts a run again only if the current one has been silent for longer than this."""
_REVISION_CHARS: Final = 100


class StartedBy(StrEnum):
    """Why a run started."""

    START = "start"
    REVISION = "revision"
    RULES = "rules"
    NOISE = "noise"
    ROLLOUT = "rollout"
    MANUAL = "manual"


STARTED_BY: Final[Mapping[str, str]] = {
    StartedBy.START: "the service",
    StartedBy.REVISION: "a deploy",
    StartedBy.RULES: "a rule change",
    StartedBy.NOISE: "a new noise set",
    StartedBy.ROLLOUT: "a rollout",
    StartedBy.MANUAL: "a person",
}
"""What started a run, as pages and the terminal show it after "started by"."""


class Exclusion(StrEnum):
    """Why a pair does not count in the current run."""

    REVISION = "revision"
    BEFORE = "before"
    RULES = "rules"


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A run of one target.

    id: the run's number, under which its pairs are counted. serial: increases with every start; a resumed run keeps its
    id. revision: the value of v2's revision header; None before the first response with it.
    rules: the digest in `RunInputs`.  noise: the version of the noise set.  rollout: the rollout that requested the
    run.  ledger: the ledger's counts at the start of the run, by dotted name.
    """

    id: int
    serial: int = 0
    started_ms: int
    by: StartedBy
    revision: str | None = None
    rules: str = ""
    noise: str | None = None
    rollout: str | None = None
    ledger: dict[str, int] = {}


class NewRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run that must start; without a `rollout`, the run keeps the current rollout.

    renamed: whether it starts because places have new names; it keeps the rules, and no earlier run can be resumed.
    """

    by: StartedBy
    revision: str | None = None
    rollout: str | None = None
    noise: str | None = None
    renamed: bool = False


class RunState(msgspec.Struct, frozen=True, kw_only=True):
    """The current run of a target, and when each revision and rollout was last seen (Unix ms)."""

    now_ms: int
    run: Run | None = None
    revisions: Mapping[str, int] = {}
    rollouts: Mapping[str, int] = {}


class RunInputs(msgspec.Struct, frozen=True, kw_only=True):
    """The inputs that a target's runs depend on, from this process's configuration.

    revision_header: the name in lower case. rules: a digest of the comparison settings. latency: whether a gate needs
    the durations. controlled: whether a control shows v1's own noise. learn: the number of triples that the noise set
    is learned from. candidate: v2's address. sample: the share of requests that the control gets. allowed: the gate's
    limit of the mismatch ratio.
    """

    target: str
    revision_header: bytes
    rules: str
    latency: bool = False
    controlled: bool = False
    learn: int = 1000
    candidate: str = ""
    sample: float = 0.0
    allowed: float = 0.001


def exclusion_of(run: Run, *, revision: str | None, responded_ms: int, inputs_match: bool) -> Exclusion | None:
    """Return why a pair does not count in the run; None if it counts.

    revision: the revision in v2's response; a response without a revision, such as a failure, counts.
    inputs_match: whether this process compares with the run's rules and noise set.
    """
    if revision is not None and run.revision is not None and revision != run.revision:
        return Exclusion.REVISION
    if responded_ms < run.started_ms:
        return Exclusion.BEFORE
    return None if inputs_match else Exclusion.RULES


def inputs_match(run: Run, inputs: RunInputs, noise: str | None) -> bool:
    """Return whether a process with these inputs and this noise set version may count pairs in the run."""
    return run.rules == inputs.rules and run.noise == noise


def revision_of(headers: Headers, name: bytes) -> str | None:
    """Return the revision that a response's header names."""
    for field, value in headers:
        if field == name:
            return value[:_REVISION_CHARS].decode("utf-8", "replace") or None
    return None


def is_superseded(run: Run, rollout: str) -> bool:
    """Return whether the run belongs to another rollout or another revision."""
    return rollout not in {run.rollout, run.revision}


def due(state: RunState, revisions: Iterable[str], *, rules: str | None, noise: str | None) -> NewRun | None:
    """Return the run that new rules, a new noise set or a new revision requires; None if there is no change.

    revisions: those in v2's responses. rules: this process's digest; None if already declared.
    """
    run = state.run
    if run is None:
        return NewRun(by=StartedBy.START)
    if rules is not None and run.rules != rules:
        return NewRun(by=StartedBy.RULES, revision=run.revision)
    if run.noise != noise:
        return NewRun(by=StartedBy.NOISE, revision=run.revision)
    responding, seen = list(revisions), dict(state.revisions)
    if run.revision is not None and run.revision in responding:
        seen[run.revision] = state.now_ms
    for revision in responding:
        if revision != run.revision and _is_new(revision, seen, run.revision, state.now_ms):
            return NewRun(by=StartedBy.REVISION, revision=revision)
    return None


def due_for_rollout(state: RunState, rollout: str) -> NewRun | None:
    """Return the run to start for a rollout that is new, or that returns after another rollout."""
    run = state.run
    if run is not None and not is_superseded(run, rollout):
        return None
    is_new = _is_new(rollout, state.rollouts, run.rollout if run else None, state.now_ms)
    return NewRun(by=StartedBy.ROLLOUT, rollout=rollout) if is_new else None


def _is_new(name: str, seen: Mapping[str, int], current: str | None, now_ms: int) -> bool:
    """Return whether `name` is new, or returns after the current name has stopped sending."""
    return name not in seen or now_ms - seen.get(current or "", 0) > RETURNS_AFTER_MS
