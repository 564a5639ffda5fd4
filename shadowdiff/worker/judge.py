"""Compare one claimed pair: decode both sides, name the route, compare, and collect the writes of all stages.

Every claim gets a result; if a claim cannot be decoded or compared, its result contains the reason. A comparison on the
event loop takes at most a few milliseconds; a pair that needs more time goes to a comparison process.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from shadowdiff.compare import Limits, compare
from shadowdiff.compare.work import TOO_COMPLEX, UNITS_PER_MS
from shadowdiff.model import MOST_WORKERS, Comparison, Later, Observation, Pair, Result, Side, Write
from shadowdiff.pairing.claim import Claim, Judged, ledger_writes
from shadowdiff.pairing.codec import Codec, UndecodableError
from shadowdiff.rules import CompiledRules, Router, Rule, compile_rules
from shadowdiff.rules.graphql import UNKNOWN, GraphqlPaths
from shadowdiff.rules.place import COARSE
from shadowdiff.telemetry.trace_context import log_fields

if TYPE_CHECKING:
    from shadowdiff.compare.protobuf import Descriptors

log = logging.getLogger(__name__)

INLINE_MS = 5
INLINE_WORK = INLINE_MS * UNITS_PER_MS
"""The work budget of a comparison on the event loop, which it blocks."""
RECOMPILE_S = 60.0
UNREAD = "_unread"
"""The route of a pair that could not be decoded."""

Stage = Callable[[Pair, Comparison, int], tuple[Write | Later, ...]]
"""Returns what a stage stores with a pair; the last argument is the wall clock in Unix ms."""
TripleStage = Callable[[Pair, Comparison, Comparison], tuple[Write, ...]]
"""Returns what a stage stores with a pair that has a control; the last argument is the control's comparison."""


class TargetRules:
    """How one target's pairs are compared: by its routes (at most `most_routes`; 0: no limit), rules and messages."""

    __slots__ = ("_compiled", "_compiled_at_s", "graphql", "limits", "messages", "router", "rules")

    def __init__(
        self,
        routes: tuple[str, ...],
        rules: tuple[Rule, ...],
        most_routes: int = 0,
        messages: Descriptors | None = None,
        limits: Limits | None = None,
        *,
        graphql: tuple[str, ...] = (),
        hide: Callable[[str], str] = str,
    ) -> None:
        """`limits` replace the judge's.  `hide` removes the secrets from a path before it names a route.

        graphql: the paths whose routes are operations.
        """
        self.graphql = GraphqlPaths(graphql)
        named_by_rules = [route for rule in rules for route in rule.routes]
        named_by_rules += [route for route, _ in limits.body_types] if limits else []
        self.router = Router(routes, max_names=most_routes, named_by_rules=named_by_rules, hide=hide)
        self.rules = rules
        self.messages = messages
        self.limits = limits
        self._compiled_at_s = -RECOMPILE_S
        self._compiled = CompiledRules(())

    def route_of(self, request: Observation) -> str:
        """Return the route of a request; at a GraphQL path, its operation is a part of the route."""
        method, path, body = request.method, request.path, request.request_body
        if method == "POST" and not body:
            return self.router.route(method, path, UNKNOWN if self.graphql.match(method, path) else "")
        found = self.graphql.operation(method, path, request.request_headers, body)
        return self.router.route(method, path, found.name if found else "")

    def compiled(self, now_s: float) -> CompiledRules:
        """Return the current rules; every minute, check them and recompile them if a rule has expired."""
        if now_s - self._compiled_at_s >= RECOMPILE_S:
            compiled = compile_rules(self.rules, datetime.fromtimestamp(now_s, UTC))
            if compiled.rules != self._compiled.rules:
                self._compiled = compiled
            self._compiled_at_s = now_s
        return self._compiled


@dataclass(frozen=True, slots=True)
class Judgement:
    """A pair with its comparison, and the comparison with the control if there is one."""

    claim: Claim
    pair: Pair
    comparison: Comparison
    control: Comparison | None = None


def incomparable(reason: str) -> Comparison:
    """Return a result that contains only the reason why the pair cannot be compared."""
    return Comparison(result=Result.INCOMPARABLE, reason=reason)


def inline_limits(limits: Limits, comparisons: int) -> Limits:
    """Return the limits of one comparison if `comparisons` comparisons run on the event loop without a break."""
    return msgspec.structs.replace(limits, work=min(limits.work, INLINE_WORK // comparisons), on_event_loop=True)


def pair_log_fields(pair: Pair) -> dict[str, str]:
    """Return the fields of a log line about one pair: target, route and trace."""
    found = log_fields(pair.candidate.request_headers, pair.primary.request_headers)
    return {"target": pair.target, "route": pair.route, **found}


def control_pair(pair: Pair) -> Pair | None:
    """Return the pair of the primary and the control; None if there is no response of the control."""
    control = pair.control
    if control is None or control.failure is not None:
        return None
    return Pair(key=pair.key, target=pair.target, route=pair.route, primary=pair.primary, candidate=control)


def _unread(claim: Claim) -> Pair:
    """Return the pair of a claim that cannot be decoded."""

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
    """Compares claims with the rules of their targets."""

    def __init__(
        self,
        codec: Codec,
        limits: Limits,
        stages: tuple[Stage, ...],
        triple_stages: tuple[TripleStage, ...] = (),
        place: Callable[[str], str] = str,
        *,
        rename: Callable[[Pair, Comparison], Comparison] = lambda _, comparison: comparison,
        hides_lines: Callable[[Pair, Comparison], Sequence[bool]] | None = None,
    ) -> None:
        """`place` removes secrets from a path pattern; `rename` uses learned names. Every stage stores the result.

        hides_lines: returns for each difference whether its place is a line that has a secret.
        """
        self._codec = codec
        self._limits = limits
        self._stages = stages
        self._triple_stages = triple_stages
        self._place = place
        self._rename = rename
        self._hides_lines = hides_lines
        self.rules_by_target: dict[str, TargetRules] = {}

    def read(self, claim: Claim) -> Pair | Judgement:
        """Return a claim's pair; if it cannot be decoded or several workers failed on it, return its judgement."""
        if claim.deliveries > MOST_WORKERS:
            return Judgement(claim, _unread(claim), incomparable("poison"))
        try:
            decode, key = self._codec.decode, claim.key
            primary, candidate = decode(key, claim.primary), decode(key, claim.candidate)
            control = decode(key, claim.control) if claim.control is not None else None
        except UndecodableError as error:
            log.warning("stored pair cannot be decoded", extra={"target": claim.target, "error": str(error)})
            return Judgement(claim, _unread(claim), incomparable("undecodable_observation"))
        target_rules = self.rules_by_target.get(claim.target)
        route = target_rules.route_of(candidate) if target_rules else UNREAD
        return Pair(
            key=claim.key, target=claim.target, route=route, primary=primary, candidate=candidate, control=control
        )

    def compare(self, claim: Claim, pair: Pair, now_s: float) -> Judgement | None:
        """Return the judgement of a pair; None if it needs more work than the event loop has time for."""
        target_rules = self.rules_by_target.get(pair.target)
        if target_rules is None:
            return self.of_unknown_target(claim, pair)
        against = control_pair(pair) if pair.control is not None else None
        limits = inline_limits(target_rules.limits or self._limits, 1 if against is None else 2)
        control: Comparison | None = None
        try:
            compiled, messages = target_rules.compiled(now_s), target_rules.messages
            comparison = compare(pair, compiled, limits, messages)
            if against is not None and comparison.reason != TOO_COMPLEX:
                control = compare(against, compiled, limits, messages)
        except Exception:  # outermost handler: a failed pair must not stop other pairs
            log.exception("comparison failed", extra=pair_log_fields(pair))
            comparison = incomparable("comparison_failed")
        if comparison.reason == TOO_COMPLEX or (control is not None and control.reason == TOO_COMPLEX):
            return None
        return Judgement(claim, pair, comparison, control)

    def of_unknown_target(self, claim: Claim, pair: Pair) -> Judgement:
        """Return the judgement of a pair whose target is not configured."""
        return Judgement(claim, pair, incomparable("unknown_target"))

    def refused(self, claim: Claim) -> Judgement:
        """Return the judgement of a pair that is not compared because too many pairs are waiting."""
        read = self.read(claim)
        return read if isinstance(read, Judgement) else Judgement(claim, read, incomparable("too_many_waiting"))

    def patterns(self, judgement: Judgement) -> Iterator[str]:
        """Yield the path patterns that `judged` stores; removing secrets from each may take milliseconds."""
        for comparison in (judgement.comparison, judgement.control):
            for found in comparison.differences if comparison else ():
                yield found.pattern

    def remember(self, pattern: str) -> None:
        """Remove the secrets from a pattern now, so that `judged` finds the result in the cache."""
        self._place(pattern)

    def judged(self, judgement: Judgement, now_ms: int) -> tuple[Judged, list[Later]]:
        """Return the judgement with its writes, and separately the writes that take long to create."""
        pair = judgement.pair
        comparison = self._rename(pair, self._without_secrets(pair, judgement.comparison))
        writes: list[Write] = [*ledger_writes(pair.target, comparison)]
        later: list[Later] = []
        for stage in self._stages:
            for write in stage(pair, comparison, now_ms):
                if isinstance(write, Later):
                    later.append(write)
                else:
                    writes.append(write)
        if judgement.control is not None:
            control = self._rename(pair, self._without_secrets(control_pair(pair) or pair, judgement.control))
            for triple_stage in self._triple_stages:
                writes += triple_stage(pair, comparison, control)
        return Judged(judgement.claim, tuple(writes)), later

    def _without_secrets(self, pair: Pair, comparison: Comparison) -> Comparison:
        """Return the comparison without secrets in its path patterns and reason; usually this is the same object."""
        place, found = self._place, comparison.differences
        if comparison.reason and (reason := place(comparison.reason)) != comparison.reason:
            comparison = msgspec.structs.replace(comparison, reason=reason)
        hidden = self._hides_lines(pair, comparison) if self._hides_lines and found else [False] * len(found)
        places = [COARSE if hides else place(one.pattern) for one, hides in zip(found, hidden, strict=True)]
        if all(name == one.pattern for name, one in zip(places, found, strict=True)):
            return comparison
        both = zip(found, places, strict=True)
        plain = tuple(msgspec.structs.replace(one, pattern=name) for one, name in both)
        return msgspec.structs.replace(comparison, differences=plain)
