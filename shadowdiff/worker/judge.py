"""Judge one claimed pair: read both sides, name the route, compare, and gather every stage's writes.

In: a claim as it lay in the stream. Out: the pair, its comparison, and the writes to commit with it.
Holds: whatever lies in the stream gives a result; what cannot be read or compared says why.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from shadowdiff.compare import Limits, Messages, compare
from shadowdiff.model import Comparison, Observation, Pair, Result, Side, Write
from shadowdiff.pairing import Claim, Codec, Judged, UndecodableError, ledger_write
from shadowdiff.rules import CompiledRules, Router, Rule, compile_rules
from shadowdiff.telemetry.context import log_fields

log = logging.getLogger(__name__)

POISONED_AT = 3
"""A third delivery means that two workers died over this entry."""

RECOMPILE_S = 60.0
UNREAD = "_unread"
"""The route of what could not be read."""

Stage = Callable[[Pair, Comparison, int], tuple[Write, ...]]
"""What a stage wants stored with a pair; the last argument is the wall clock in Unix ms."""
TripleStage = Callable[[Pair, Comparison, Comparison], tuple[Write, ...]]
"""What a stage wants stored with a pair that the control saw too; the last argument is the control's comparison."""


class Lens:
    """How one target's pairs are looked at: its routes (`most_routes` apart, 0: all), its rules, its messages."""

    __slots__ = ("_compiled", "_compiled_at_s", "messages", "router", "rules")

    def __init__(
        self,
        routes: tuple[str, ...],
        rules: tuple[Rule, ...],
        most_routes: int = 0,
        messages: Messages | None = None,
    ) -> None:
        spoken_of = (route for rule in rules for route in rule.routes)
        self.router = Router(routes, most=most_routes, spoken_of=spoken_of)
        self.rules = rules
        self.messages = messages
        self._compiled_at_s = -RECOMPILE_S
        self._compiled: CompiledRules

    def compiled(self, now_s: float) -> CompiledRules:
        """Return the rules in force; they may expire, so they are compiled anew every minute."""
        if now_s - self._compiled_at_s >= RECOMPILE_S:
            self._compiled = compile_rules(self.rules, datetime.fromtimestamp(now_s, UTC))
            self._compiled_at_s = now_s
        return self._compiled


@dataclass(frozen=True, slots=True)
class Judgement:
    """A pair with its comparison, and with that of the control where it joined."""

    claim: Claim
    pair: Pair
    comparison: Comparison
    control: Comparison | None = None


def incomparable(reason: str) -> Comparison:
    """Return a result that says nothing but why nothing can be said."""
    return Comparison(result=Result.INCOMPARABLE, reason=reason)


def said_of(pair: Pair) -> dict[str, str]:
    """Return what a log line about one pair says of it: where it belongs, and the trace that it is found by."""
    found = log_fields(pair.candidate.request_headers, pair.primary.request_headers)
    return {"target": pair.target, "route": pair.route, **found}


def with_control(pair: Pair) -> Pair | None:
    """Return the pair of the primary and the control; None where the control gave no answer, and shows nothing."""
    control = pair.control
    if control is None or control.failure is not None:
        return None
    return Pair(key=pair.key, target=pair.target, route=pair.route, primary=pair.primary, candidate=control)


def _unread(claim: Claim) -> Pair:
    """Return the pair of a claim whose sides cannot be read."""

    def side(which: Side) -> Observation:
        return Observation(side=which, target=claim.target, id="", id_source="", method="", path="", host="", status=0)

    return Pair(
        key=claim.key,
        target=claim.target,
        route=UNREAD,
        primary=side(Side.PRIMARY),
        candidate=side(Side.CANDIDATE),
    )


class Judge:
    """Judges claims under the lenses of the targets."""

    def __init__(
        self,
        codec: Codec,
        limits: Limits,
        stages: tuple[Stage, ...],
        triple_stages: tuple[TripleStage, ...] = (),
        place: Callable[[str], str] = str,
    ) -> None:
        """`place` takes the secrets out of a path pattern, which every stage writes down."""
        self._codec = codec
        self._limits = limits
        self._stages = stages
        self._triple_stages = triple_stages
        self._place = place
        self.lenses: dict[str, Lens] = {}

    def read(self, claim: Claim) -> Pair | Judgement:
        """Return the pair of a claim, or its judgement where it cannot be read or killed two workers."""
        if claim.deliveries >= POISONED_AT:
            return Judgement(claim, _unread(claim), incomparable("poison"))
        try:
            decode, key = self._codec.decode, claim.key
            primary, candidate = decode(key, claim.primary), decode(key, claim.candidate)
            control = decode(key, claim.control) if claim.control is not None else None
        except UndecodableError as error:
            log.warning("a stored pair cannot be read", extra={"target": claim.target, "error": str(error)})
            return Judgement(claim, _unread(claim), incomparable("undecodable_observation"))
        lens = self.lenses.get(claim.target)
        route = lens.router.route(candidate.method, candidate.path) if lens else UNREAD
        return Pair(
            key=claim.key, target=claim.target, route=route, primary=primary, candidate=candidate, control=control
        )

    def compare(self, claim: Claim, pair: Pair, now_s: float) -> Judgement:
        """Return the judgement of a pair that was read."""
        lens = self.lenses.get(pair.target)
        if lens is None:
            return Judgement(claim, pair, incomparable("unknown_target"))
        control: Comparison | None = None
        try:
            compiled, messages = lens.compiled(now_s), lens.messages
            comparison = compare(pair, compiled, self._limits, messages)
            if pair.control is not None and (against := with_control(pair)):
                control = compare(against, compiled, self._limits, messages)
        except Exception:  # the worker's outer edge: one pair must not stop the others
            log.exception("comparing a pair failed", extra=said_of(pair))
            comparison = incomparable("comparison_failed")
        return Judgement(claim, pair, comparison, control)

    def judged(self, judgement: Judgement, now_ms: int) -> Judged:
        """Return the judgement with everything that is to be stored with it."""
        pair, comparison = judgement.pair, self._without_secrets(judgement.comparison)
        writes: list[Write] = [ledger_write(pair.target, comparison.result)]
        for stage in self._stages:
            writes += stage(pair, comparison, now_ms)
        if judgement.control is not None:
            control = self._without_secrets(judgement.control)
            for triple_stage in self._triple_stages:
                writes += triple_stage(pair, comparison, control)
        return Judged(judgement.claim, tuple(writes))

    def _without_secrets(self, comparison: Comparison) -> Comparison:
        """Return a comparison whose path patterns hold no secret; nearly always it is the same."""
        place, found = self._place, comparison.differences
        if all(place(one.pattern) == one.pattern for one in found):
            return comparison
        plain = tuple(msgspec.structs.replace(one, pattern=place(one.pattern)) for one in found)
        return msgspec.structs.replace(comparison, differences=plain)
