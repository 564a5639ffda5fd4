"""Diagnose halves that arrive and stay alone: too late, not to be told apart, or not chosen alike on both sides.

In: evidence.  Out: findings, none where what stays alone is explained by what else was found.
Holds: pure.  A share below what the gate allows is coverage, and no fault.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from shadowdiff.doctor.evidence import NOTABLE
from shadowdiff.doctor.finding import Example, Finding, Gravity, Row, beside, percent, plural
from shadowdiff.model import Side

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from shadowdiff.doctor.evidence import Evidence, Orphan, Patient

_SHOWN: Final = 2
_ENOUGH: Final = 20
"""Fewer decided halves say nothing of how they were chosen."""
_ENOUGH_DRAWS: Final = 10
_FIRST_DRAW: Final = 0.05
"""Where no orphan's id is drawn below this, of ten or more, the other side chose by the same draw."""


class Fates(NamedTuple):
    """What became of one side's halves: those that met, and those that stayed alone and were not met too late."""

    paired: int
    alone: int

    @property
    def decided(self) -> int:
        """How many there are of both."""
        return self.paired + self.alone

    @property
    def share(self) -> float:
        """The share that stayed alone."""
        return self.alone / self.decided if self.decided else 0.0


def allowed(patient: Patient) -> float:
    """Return the share of v1's answers that may stay alone: what the gate's coverage leaves."""
    return max(NOTABLE, 1 - patient.target.gate.min_coverage)


def fates(patient: Patient, side: Side) -> Fates:
    """Return one side's fates; an orphan whose half came too late is not counted as alone."""
    other = Side.CANDIDATE if side is Side.PRIMARY else Side.PRIMARY
    alone = patient.count(f"{side}.orphaned")
    return Fates(patient.count(f"{side}.paired"), alone - min(alone, patient.count(f"{other}.late")))


def too_late(evidence: Evidence, patient: Patient) -> Iterator[Finding]:
    """Find halves that arrive after the window of their partner ended."""
    for side, who in ((Side.CANDIDATE, "v2's answers"), (Side.PRIMARY, "records of v1's answers")):
        other = Side.PRIMARY if side is Side.CANDIDATE else Side.CANDIDATE
        late, parked = patient.count(f"{side}.late"), patient.count(f"{side}.parked")
        late = min(late, patient.count(f"{other}.orphaned"))
        if late / max(1, parked) < NOTABLE:
            continue
        candidate = patient.target.candidate
        longest_s = candidate.timeout_s + candidate.queue_timeout_s
        waited = patient.side(other)[:1]
        yield Finding(
            code="too_late",
            gravity=Gravity.ERROR if late > parked * (1 - NOTABLE) else Gravity.WARNING,
            target=patient.target.name,
            title=f"{late:,} of {parked:,} {who} came after the window of {seconds(evidence.window_s)} had ended.",
            explanation=(
                f"v2 may take {seconds(longest_s)} ({seconds(candidate.queue_timeout_s)} in the queue and "
                f"{seconds(candidate.timeout_s)} to answer); a half waits {seconds(evidence.window_s)}."
                if side is Side.CANDIDATE
                else f"Whatever sends the records holds them for longer than {seconds(evidence.window_s)}."
            ),
            way_out=(
                "Make `pairing.window` longer than v2 may take, or `candidate.timeout` shorter:"
                if side is Side.CANDIDATE
                else "Send records at once, or make `pairing.window` longer:"
            ),
            lines=(f"pairing: {{window: {max(30, round(longest_s * 1.5))}s}}",),
            examples=tuple(_waited(half, evidence.window_s) for half in waited),
        )


def shared_ids(_evidence: Evidence, patient: Patient) -> Iterator[Finding]:
    """Find ids that several requests share, so that nobody can tell whose answer is whose."""
    ambiguous = patient.count("primary.ambiguous") + patient.count("candidate.ambiguous")
    ambiguous += _used_again(patient, Side.PRIMARY) + _used_again(patient, Side.CANDIDATE)
    share = ambiguous / max(1, patient.count("primary.parked") + patient.count("candidate.parked"))
    if share < NOTABLE:
        return
    yield Finding(
        code="ids_shared",
        gravity=Gravity.WARNING,
        target=patient.target.name,
        title=f"{plural(ambiguous, 'answer')} ({percent(share)}) share id, method and path with another one.",
        explanation="x-request-id and traceparent are the same for all calls of one trace. Where a trace asks the same "
        "twice, nobody can tell which answer belongs to which copy, so none is compared.",
        way_out="Let the mesh set an id of its own for each request, `x-diff-id`, on the mirrored route:",
        lines=('  - header: { key: x-diff-id, value: "%UNIQUE_ID%" }', "    append_action: OVERWRITE_IF_EXISTS_OR_ADD"),
    )


def missing_records(evidence: Evidence, patient: Patient) -> Iterator[Finding]:
    """Find copies whose answer by v1 was not recorded, where v1's own halves do find their partners."""
    del evidence
    primary, candidate = fates(patient, Side.PRIMARY), fates(patient, Side.CANDIDATE)
    if primary.share >= allowed(patient) or candidate.share < allowed(patient) or not primary.decided:
        return
    if candidate.decided < _ENOUGH:
        return
    theirs = patient.side(Side.CANDIDATE)
    rate = _drawn_above(theirs)
    example = tuple(_with_draw(None, half) for half in theirs[:_SHOWN])
    share = candidate.paired / candidate.decided
    if rate:
        yield Finding(
            code="sampling_disagrees",
            gravity=Gravity.WARNING,
            target=patient.target.name,
            title=f"The recorder keeps about {percent(rate)} of v1's answers, {percent(patient.target.sample)} of the "
            "copies are put to v2.",
            explanation="Both sides draw by the id, so they choose the same requests only at the same rate. Every copy "
            f"without a record has an id that is drawn above {rate:.2f}.",
            way_out="Give both the same rate: SAMPLE in record.lua (or `sample` of the middleware), and here:",
            lines=("targets:", f"  - name: {patient.target.name}", f"    sample: {rate:.2f}"),
            examples=example,
        )
        return
    yield Finding(
        code="records_missing",
        gravity=Gravity.WARNING,
        target=patient.target.name,
        title=f"Only {percent(share)} of the copies have a record of v1's answer.",
        explanation="v1's recorded answers do find their partners, so ids and paths are right. Some answers are not "
        "recorded: a pod of v1 has no recorder, or its circuit breaker turned posts away.",
        way_out="See that every pod of v1 has the recorder; look at upstream_rq_pending_overflow of its cluster.",
        examples=example,
    )


def still_waiting(evidence: Evidence, patient: Patient) -> Iterator[Finding]:
    """Find halves on both sides that wait, where nothing was ever decided: too early to say why."""
    waiting = patient.count("primary.waiting"), patient.count("candidate.waiting")
    decided = sum(patient.count(f"{side}.{fate}") for side in ("primary", "candidate") for fate in _DECIDED)
    if decided or not all(waiting):
        return
    yield Finding(
        code="still_waiting",
        gravity=Gravity.WARNING,
        target=patient.target.name,
        title=f"Nothing has paired yet: {waiting[0]:,} of v1's answers and {waiting[1]:,} of v2's wait for a partner.",
        explanation=f"A half waits {seconds(evidence.window_s)}. Why it stays alone can be told from those whose time "
        "is up.",
        way_out=f"Ask again in {seconds(evidence.window_s)}.",
    )


_DECIDED: Final = ("paired", "orphaned", "late", "ambiguous")


def chosen_otherwise(patient: Patient, primary: Fates, candidate: Fates) -> Iterator[Finding]:
    """Say that the sides chose different requests: v1's are alone, and some do pair."""
    if primary.decided < _ENOUGH:
        return
    ours, theirs = patient.side(Side.PRIMARY), patient.side(Side.CANDIDATE)
    share = primary.paired / primary.decided
    rate = _drawn_above(ours)
    both = candidate.share >= allowed(patient)
    title = f"Only {percent(share)} of v1's answers have a copy"
    title += f", and {percent(1 - candidate.share)} of the copies a record: each side draws its own." if both else "."
    yield Finding(
        code="sampling_disagrees",
        gravity=Gravity.WARNING,
        target=patient.target.name,
        title=title,
        explanation=(
            f"Every answer without a copy has an id that is drawn above {rate:.2f}: the mirrored side keeps about "
            f"{percent(rate)}, by the same draw."
            if rate
            else "A percentage that the mesh draws leaves no mark on v1's half, so the recorder cannot know which "
            "requests were mirrored. (A copy is also dropped where its body is larger than the proxy's buffer, or by "
            "the circuit breaker of the mirror's cluster.)"
        ),
        way_out="Mirror 100 %, and draw by id on both sides at one rate: SAMPLE in record.lua, and here:",
        lines=("targets:", f"  - name: {patient.target.name}", f"    sample: {max(share, 0.01):.2f}"),
        examples=tuple(
            _with_draw(half, theirs[at] if both and at < len(theirs) else None) for at, half in enumerate(ours[:_SHOWN])
        ),
    )


def _used_again(patient: Patient, side: Side) -> int:
    """Return how many halves came under a key that had its pair already: late, and no orphan waited for them."""
    other = Side.CANDIDATE if side is Side.PRIMARY else Side.PRIMARY
    return max(0, patient.count(f"{side}.late") - patient.count(f"{other}.orphaned"))


def _drawn_above(orphans: Sequence[Orphan]) -> float:
    """Return the rate at which the other side seems to choose by the common draw; 0 where it does not."""
    lowest = min((orphan.draw for orphan in orphans), default=0.0)
    return lowest if len(orphans) >= _ENOUGH_DRAWS and lowest >= _FIRST_DRAW else 0.0


def _with_draw(primary: Orphan | None, candidate: Orphan | None) -> Example:
    example = beside(primary, candidate)
    draw = Row("draw", f"{primary.draw:.3f}" if primary else "–", f"{candidate.draw:.3f}" if candidate else "–")
    return Example(rows=(*example.rows, draw))


def _waited(half: Orphan, window_s: float) -> Example:
    example = beside(half, None) if half.side is Side.PRIMARY else beside(None, half)
    said = f"waited {seconds(window_s)}", f"came after {seconds(window_s)}"
    return Example(rows=(*example.rows, Row("time", *(said if half.side is Side.PRIMARY else said[::-1]))))


def seconds(number: float) -> str:
    """Return a duration as people write it."""
    return f"{number:g} s"
