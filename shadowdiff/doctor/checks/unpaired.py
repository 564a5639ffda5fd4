"""Check halves without a partner: they arrive too late, share an id, or were sampled on only one side.

A share of orphans below the gate's limit lowers the coverage, but is not reported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from shadowdiff.doctor.evidence import NOTABLE
from shadowdiff.doctor.finding import Example, Finding, Row, error, percent, plural, side_by_side, warning
from shadowdiff.doctor.registry import target_check
from shadowdiff.model import Side

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from shadowdiff.doctor.evidence import Evidence, Orphan, TargetEvidence

_SHOWN: Final = 2
ENOUGH: Final = 20
"""With fewer paired or expired halves, the sample rate cannot be estimated."""
_ENOUGH_DRAWS: Final = 10
_FIRST_DRAW: Final = 0.05
"""If the sampling hash of ten or more orphans is never below this, the other side sampled by the same hash."""
_OTHER_SIDE: Final = {Side.PRIMARY: Side.CANDIDATE, Side.CANDIDATE: Side.PRIMARY}


class Outcomes(NamedTuple):
    """How many halves of one side were paired, and how many had no partner at all, not even a late partner."""

    paired: int
    alone: int

    @property
    def decided(self) -> int:
        """The number of paired halves and halves without a partner."""
        return self.paired + self.alone

    @property
    def share(self) -> float:
        """The share of halves without a partner."""
        return self.alone / self.decided if self.decided else 0.0


def allowed(target: TargetEvidence) -> float:
    """Return the share of v1's responses that may lack a partner under the gate's coverage limit."""
    return max(NOTABLE, 1 - target.config.gate.min_coverage)


def outcomes(target: TargetEvidence, side: Side) -> Outcomes:
    """Return one side's outcomes; an orphan with a late partner is not counted as unpaired."""
    alone = target.count(f"{side}.orphaned")
    return Outcomes(target.count(f"{side}.paired"), alone - min(alone, target.count(f"{_OTHER_SIDE[side]}.late")))


@target_check(100)
def too_late(evidence: Evidence, target: TargetEvidence) -> Iterator[Finding]:
    """Find halves that arrive after the pairing window of their partner."""
    window = seconds(evidence.window_s)
    for side, what in ((Side.CANDIDATE, "v2 responses"), (Side.PRIMARY, "records of v1 responses")):
        other, parked = _OTHER_SIDE[side], target.count(f"{side}.parked")
        late = min(target.count(f"{side}.late"), target.count(f"{other}.orphaned"))
        if late / max(1, parked) < NOTABLE:
            continue
        candidate = target.config.candidate
        longest_s = candidate.timeout_s + candidate.queue_timeout_s
        is_v2 = side is Side.CANDIDATE
        yield (error if late > parked * (1 - NOTABLE) else warning)(
            code="too_late",
            title=f"{late:,} of {parked:,} {what} arrived after the window of {window}.",
            explanation=f"v2 may take {seconds(longest_s)} ({seconds(candidate.queue_timeout_s)} in the queue and "
            f"{seconds(candidate.timeout_s)} to respond); a half waits {window}."
            if is_v2
            else f"The sender holds records back for longer than {window}.",
            fix="Make `pairing.window` longer than v2 may take, or `candidate.timeout` shorter:"
            if is_v2
            else "Send records at once, or make `pairing.window` longer:",
            lines=(f"pairing: {{window: {max(30, round(longest_s * 1.5))}s}}",),
            examples=tuple(_waited(half, window) for half in target.side(other)[:1]),
        )


@target_check(110)
def shared_ids(_evidence: Evidence, target: TargetEvidence) -> Iterator[Finding]:
    """Find ids that several requests have, so that no response can be assigned to its request."""
    ambiguous = sum(target.count(f"{side}.ambiguous") + _used_again(target, side) for side in _OTHER_SIDE)
    share = ambiguous / max(1, target.count("primary.parked") + target.count("candidate.parked"))
    if share < NOTABLE:
        return
    yield warning(
        code="ids_shared",
        title=f"{plural(ambiguous, 'response')} ({percent(share)}) share id, method and path with another response.",
        explanation="x-request-id and traceparent are the same for all calls of one trace. If a trace sends the same "
        "request twice, shadowdiff cannot know which responses belong together, so it compares neither.",
        fix="Let the mesh set a separate id for each request, `x-diff-id`, on the mirrored route:",
        lines=('  - header: { key: x-diff-id, value: "%UNIQUE_ID%" }', "    append_action: OVERWRITE_IF_EXISTS_OR_ADD"),
    )


@target_check(130)
def missing_records(_evidence: Evidence, target: TargetEvidence) -> Iterator[Finding]:
    """Find mirrored requests whose v1 response was not recorded, although v1's recorded halves have partners."""
    primary, candidate = outcomes(target, Side.PRIMARY), outcomes(target, Side.CANDIDATE)
    if primary.share >= allowed(target) or candidate.share < allowed(target) or not primary.decided:
        return
    if candidate.decided < ENOUGH:
        return
    alone = target.side(Side.CANDIDATE)
    rate = _sample_rate(alone)
    examples = tuple(_with_draw(None, half) for half in alone[:_SHOWN])
    if rate:
        yield warning(
            code="sampling_disagrees",
            title=f"The recorder keeps about {percent(rate)} of v1's responses, but {percent(target.config.sample)} of "
            "the mirrored requests go to v2.",
            explanation="Both sides compute a number from 0 to 1 from the id, and select the requests whose number is "
            "below their rate. So both need the same rate. The number of every mirrored request without a record is "
            f"above {rate:.2f}.",
            fix="Set the same rate in the recorder (SAMPLE in record.lua, `sample` of the middleware) and shadowdiff:",
            lines=("targets:", f"  - name: {target.name}", f"    sample: {rate:.2f}"),
            examples=examples,
        )
        return
    yield warning(
        code="records_missing",
        title=f"Only {percent(candidate.paired / candidate.decided)} of the mirrored requests have a record of v1's "
        "response.",
        explanation="v1's recorded responses do find their partners, so ids and paths are right. Some responses are "
        "not recorded: a pod of v1 has no recorder, or its circuit breaker rejected records.",
        fix="Check that every pod of v1 has the recorder, and check upstream_rq_pending_overflow of its cluster.",
        examples=examples,
    )


@target_check(140)
def still_waiting(evidence: Evidence, target: TargetEvidence) -> Iterator[Finding]:
    """Find a target that has waiting halves on both sides, but no paired or unpaired halves yet."""
    primary, candidate = (target.count(f"{side}.waiting") for side in _OTHER_SIDE)
    decided = (f"{side}.{fate}" for side in _OTHER_SIDE for fate in ("paired", "orphaned", "late", "ambiguous"))
    if any(map(target.count, decided)) or not (primary and candidate):
        return
    yield warning(
        code="still_waiting",
        title=f"Nothing has paired yet: {primary:,} v1 responses and {candidate:,} v2 responses wait for a partner.",
        explanation=f"A half waits {seconds(evidence.window_s)}. When the first halves expire, doctor can show why "
        "they have no partner.",
        fix=f"Run doctor again in {seconds(evidence.window_s)}.",
    )


def disagreeing_sample(target: TargetEvidence, primary: Outcomes, candidate: Outcomes) -> Finding | None:
    """Return the finding that the two sides sampled different requests: some of v1's halves pair, but others do not."""
    if primary.decided < ENOUGH:
        return None
    ours, theirs = target.side(Side.PRIMARY), target.side(Side.CANDIDATE)
    share = primary.paired / primary.decided
    rate = _sample_rate(ours)
    both = candidate.share >= allowed(target)
    title = f"Only {percent(share)} of v1's responses have a mirrored request"
    if both:
        title += f", and {percent(1 - candidate.share)} of the mirrored requests have a record: the samples differ"
    title += "."
    return warning(
        code="sampling_disagrees",
        title=title,
        explanation="Both sides compute a number from 0 to 1 from the id. The number of every response without a "
        f"mirrored request is above {rate:.2f}, so the mirrored side samples about {percent(rate)}."
        if rate
        else "If the mesh mirrors only a percentage, v1's recorder cannot know which requests were mirrored. (The "
        "proxy also drops a copy if its body exceeds the buffer, or if the circuit breaker of the mirror's cluster "
        "is open.)",
        fix="Mirror 100 %, and set the same sample rate in the recorder (SAMPLE in record.lua) and in shadowdiff:",
        lines=("targets:", f"  - name: {target.name}", f"    sample: {max(share, 0.01):.2f}"),
        examples=tuple(
            _with_draw(half, theirs[at] if both and at < len(theirs) else None) for at, half in enumerate(ours[:_SHOWN])
        ),
    )


def _used_again(target: TargetEvidence, side: Side) -> int:
    """Return how many late halves had a key that was already paired, so that they have no orphan."""
    return max(0, target.count(f"{side}.late") - target.count(f"{_OTHER_SIDE[side]}.orphaned"))


def _sample_rate(orphans: Sequence[Orphan]) -> float:
    """Return the rate at which the other side seems to sample by the common hash; 0 if it seems not to sample."""
    lowest = min((orphan.draw for orphan in orphans), default=0.0)
    return lowest if len(orphans) >= _ENOUGH_DRAWS and lowest >= _FIRST_DRAW else 0.0


def _with_draw(primary: Orphan | None, candidate: Orphan | None) -> Example:
    draw = Row("draw", *(f"{half.draw:.3f}" if half else "–" for half in (primary, candidate)))
    return Example(rows=(*side_by_side(primary, candidate).rows, draw))


def _waited(half: Orphan, window: str) -> Example:
    is_primary = half.side is Side.PRIMARY
    times = [f"waited {window}", f"arrived after {window}"]
    example = side_by_side(half, None) if is_primary else side_by_side(None, half)
    return Example(rows=(*example.rows, Row("time", *(times if is_primary else reversed(times)))))


def seconds(number: float) -> str:
    """Return a duration as readable text."""
    return f"{number:g} s"
