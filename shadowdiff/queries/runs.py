"""A target's current run and its noise set: read them, start a run, and learn noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import msgspec

from shadowdiff.queries.errors import RequestError
from shadowdiff.verdict import Evidence, PlaceFinding, RunInfo, Source, judge_places, read_evidence, run_info
from shadowdiff.verdict.verdict import iso

if TYPE_CHECKING:
    from collections.abc import Callable

    from shadowdiff.queries.targets import Queries
    from shadowdiff.verdict import Noise, Runs

Phase = Literal["off", "learning", "calibrating", "in force"]


class CurrentRun(msgspec.Struct, frozen=True):
    """The current run; null if no run has started."""

    run: RunInfo | None


class StartRun(msgspec.Struct, frozen=True, kw_only=True):
    """The author and the reason of a new run, for the audit log."""

    author: str = ""
    reason: str = ""


class NoiseReport(msgspec.Struct, frozen=True, kw_only=True):
    """A target's noise.

    phase: `off` without a control or calibration; `learning` or `calibrating` until `learned` reaches `learn` pairs.
    version, source, candidate, frozen_at, learned_from: properties of the set in force.
    checked: triples that were not used to choose the set.  missed: checked triples with noise outside of the set.
    excluded: pairs of the run that differ only in noise.  overflow: counts beyond the limit of stored counts.
    """

    target: str
    phase: Phase
    learned: int
    learn: int
    version: int | None = None
    source: Source | None = None
    candidate: str = ""
    frozen_at: str | None = None
    learned_from: int = 0
    checked: int = 0
    missed: int = 0
    excluded: int = 0
    triples: int = 0
    overflow: int = 0
    changed_by: str = ""
    places: list[PlaceFinding] = []


class NoiseAction(msgspec.Struct, frozen=True, kw_only=True):
    """An action on the noise set, with its author and reason.

    action: `learn` from the control again; `calibrate` while v2's address points to a v1; `stop` calibrating and use
    the result; `forget` the set.
    """

    action: Literal["learn", "calibrate", "stop", "forget"]
    author: str = ""
    reason: str = ""


async def current_run(queries: Queries, target: str) -> CurrentRun:
    """Return the run that a target's verdict rests on. Raises: RequestError."""
    name = queries.target(target).target.name
    run = await queries.runs.current(name) if queries.runs else None
    return CurrentRun(run_info(run) if run else None)


async def noise_report(queries: Queries, target: str) -> NoiseReport:
    """Return a target's noise with its evidence. Raises: RequestError."""
    config = queries.target(target).target
    name = config.name
    if queries.runs is None:
        return NoiseReport(target=name, phase="off", learned=0, learn=0)
    noise = await queries.runs.noise(name)
    run, frozen = await queries.runs.current(name), noise.state.known
    report = NoiseReport(
        target=name, phase=_phase(noise), learned=noise.learned, learn=noise.learn, changed_by=noise.state.by
    )
    if frozen is None:
        return report
    is_of_run = run is not None and run.noise == noise.state.version
    evidence = await read_evidence(queries.reader, name, run) if run and is_of_run else Evidence(target=name)
    return msgspec.structs.replace(
        report,
        version=frozen.version,
        source=frozen.source,
        candidate=frozen.candidate,
        frozen_at=iso(frozen.frozen_ms),
        learned_from=frozen.triples,
        checked=frozen.checked,
        missed=frozen.missed,
        excluded=evidence.left_out,
        triples=sum(route.triples.all for route in evidence.routes),
        overflow=evidence.overflow,
        places=judge_places(evidence, frozen, config.gate.max_mismatch_ratio),
    )


def _phase(noise: Noise) -> Phase:
    if noise.state.learning is not None:
        return "calibrating" if noise.state.source is Source.CALIBRATION else "learning"
    if noise.state.known is not None:
        return "in force"
    return "learning" if noise.controlled else "off"


@dataclass(frozen=True, slots=True)
class RunControl:
    """Starts runs and changes noise sets.  redact: removes secrets from reasons before they are stored."""

    queries: Queries
    redact: Callable[[str], str] = lambda text: text

    async def start(self, target: str) -> RunInfo:
        """Start a run. Raises: RequestError."""
        name = self.queries.target(target).target.name
        return run_info(await self._runs().start(name))

    async def change_noise(self, target: str, action: NoiseAction, author: str) -> NoiseReport:
        """Learn, calibrate, stop or forget. Raises: RequestError if the action is not possible now."""
        name = self.queries.target(target).target.name
        reason = self.redact(action.reason.strip())
        if not author or not reason:
            raise RequestError(400, "author or reason is missing: a change of the noise set needs both")
        runs = self._runs()
        _check(action, await runs.noise(name), name)
        by = f"{author}: {reason[:1000]}"
        match action.action:
            case "learn":
                done = await runs.learn(name, Source.CONTROL, by)
            case "calibrate":
                done = await runs.learn(name, Source.CALIBRATION, by)
            case "stop":
                done = await runs.freeze(name)
            case "forget":
                done = await runs.forget(name)
        if not done:
            raise RequestError(409, "somebody else changed the noise set at the same time; check it, and retry")
        return await noise_report(self.queries, name)

    def _runs(self) -> Runs:
        if self.queries.runs is None:
            raise RequestError(501, "this service has no runs and no noise set")
        return self.queries.runs


def _check(action: NoiseAction, noise: Noise, name: str) -> None:
    is_calibrating = noise.state.learning is not None and noise.state.source is Source.CALIBRATION
    if action.action == "learn" and not noise.controlled:
        raise RequestError(409, f"{name} has no control to learn from: configure a control, or calibrate")
    if action.action == "stop" and not is_calibrating:
        raise RequestError(409, f"{name} is not calibrating")
    if action.action == "stop" and noise.learned < noise.learn:
        raise RequestError(
            409,
            f"only {noise.learned:,} of {noise.learn:,} pairs learned: wait, lower noise.learn or forget the noise set",
        )
