"""Compare pairs with the current rules, and collect what each stage writes for a pair.

New settings and rules all take effect at the same time, between two pairs.
"""

from __future__ import annotations

import hashlib
import time
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from shadowdiff.compare import headers_of, limits_of
from shadowdiff.model import OTHER
from shadowdiff.report import CauseWrites, CountedRun, ReportStage, SafeParameters, SampleSettings, hides_lines
from shadowdiff.report.attribute_sample import OF_GROUP, AttributeSettings, AttributeStage
from shadowdiff.rules.place import VERSION as PLACE_VERSION
from shadowdiff.verdict import CountCaps, RunInputs, Runs, StartedBy, count_writes, history_writes
from shadowdiff.worker import Judge, TargetRules
from shadowdiff.worker.decode_protobuf import encoder_of, messages_of
from shadowdiff.worker.place_names import SharedPlaceNames
from shadowdiff.worker.route_names import RouteNames

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from shadowdiff.compare import Limits
    from shadowdiff.compare.protobuf import Descriptors
    from shadowdiff.config import Config, TargetConfig
    from shadowdiff.model import Pair, Target
    from shadowdiff.pairing.codec import Codec
    from shadowdiff.report import Redactor
    from shadowdiff.rules import Router, Rule
    from shadowdiff.store import Store
    from shadowdiff.worker import Stage

_DIGEST_BYTES = 6


class ComparisonPipeline:
    """The judge of one process, with the rules, runs and routes of that process.

    made_rules: a target's rules that users created on its pages.  pair_notes: the doctor's stage.
    """

    def __init__(
        self,
        config: Config,
        store: Store,
        codec: Codec,
        limits: Limits,
        *,
        redactor: Redactor,
        ledger: Callable[[str], Awaitable[Mapping[str, Any]]],
        made_rules: Callable[[str], Sequence[Rule]],
        pair_notes: Stage,
    ) -> None:
        self._config = config
        self._made_rules = made_rules
        self._limits = limits
        self._hide = redactor.route_path
        bounds = config.limits
        caps = CountCaps(routes=bounds.routes, paths=bounds.paths, differences=bounds.differences)
        self.runs = Runs(store, lambda: run_inputs_of(self.targets(), time.time()), ledger, caps)
        # Create the writes for each compared pair, in this order. One commit contains all writes of a pair.
        stages: tuple[Stage, ...] = (
            lambda pair, comparison, _at_ms: count_writes(pair, comparison, caps),
            lambda pair, comparison, at_ms: history_writes(pair, comparison, at_ms, caps),
            self.runs.writes,
            self._report_stage(store, redactor),
            CauseWrites(self._counted_run, self._counts_causes, SafeParameters(redactor), caps.differences),
            self._attribute_stage(store, redactor),
            pair_notes,
        )
        self.place_names = SharedPlaceNames(
            store,
            lambda: list(self.judge.rules_by_target),
            lambda target: self.runs.start(target, StartedBy.RULES, renamed=True),
        )
        self.judge = Judge(
            codec,
            limits,
            stages,
            (self.runs.triple_writes,),
            redactor.place,
            rename=self.place_names.renamed,
            hides_lines=partial(hides_lines, redactor),
        )
        self.judge.rules_by_target = self._rules_by_target()
        self._with_causes = self._targets_with_causes()
        self.route_names = RouteNames(store, self._routers, bounds.routes)

    def _report_stage(self, store: Store, redactor: Redactor) -> ReportStage:
        samples = self._config.samples
        settings = SampleSettings(
            redactor=redactor,
            close=store.value_codec.encode,
            keep=samples.keep,
            per_fingerprint=samples.per_fingerprint,
            size_bytes=samples.size_bytes,
            body_bytes=samples.body_bytes,
            ttl_s=int(samples.max_age_s),
        )
        most = self._config.limits.fingerprints
        return ReportStage(
            settings,
            lambda pair: encoder_of(pair, self._messages, self._limits_of(pair.target)),
            most_fingerprints=most,
        )

    def _attribute_stage(self, store: Store, redactor: Redactor) -> AttributeStage:
        samples = self._config.samples
        settings = AttributeSettings(
            redactor=redactor,
            close=store.value_codec.encode,
            of_group=OF_GROUP if samples.keep else 0,
            shards=store.shards,
            ttl_s=int(samples.max_age_s),
            headers=samples.headers,
            most_differences=self._config.limits.differences,
        )
        return AttributeStage(settings, self._counted_run, self._counts_causes, self._revision_header)

    def serve(self, config: Config) -> None:
        """Use a new configuration's targets and rules."""
        self._config = config
        self.use_rules()

    def use_rules(self) -> None:
        """Use the current rules from now on."""
        self.judge.rules_by_target = self._rules_by_target()
        self._with_causes = self._targets_with_causes()
        self.route_names.furnish(self._routers())
        self.runs.reload()

    def targets(self) -> list[TargetConfig]:
        """Return the targets with all current rules: configured rules, and rules that users created."""
        return [
            msgspec.structs.replace(one, rules=(*one.rules, *self._made_rules(one.target.name)))
            for one in self._config.targets
        ]

    def lost_route(self, target: str, method: str, path: str) -> str:
        """Return the route of a request that never became a pair."""
        rules = self.judge.rules_by_target.get(target)
        return rules.router.peek(method, path) if rules else OTHER

    def current_name(self, target: str, route: str) -> str:
        """Return the current name of a route."""
        rules = self.judge.rules_by_target.get(target)
        return rules.router.current_name(route) if rules else route

    def current_place(self, target: str, place: str) -> str:
        """Return the current name of a place."""
        return self.place_names.of(target).current(place)

    def _targets_with_causes(self) -> frozenset[str]:
        return frozenset([one.target.name for one in self._config.targets if one.target.causes])

    def _counts_causes(self, target: str) -> bool:
        return target in self._with_causes

    def _counted_run(self, pair: Pair) -> CountedRun | None:
        found = self.runs.counted(pair)
        return CountedRun(*found) if found else None

    def _revision_header(self, target: str) -> bytes:
        names = [one.target.candidate.revision_header for one in self._config.targets if one.target.name == target]
        return names[0].encode() if names else b""

    def _messages(self, target: str) -> Descriptors | None:
        rules = self.judge.rules_by_target.get(target)
        return rules.messages if rules else None

    def _limits_of(self, target: str) -> Limits:
        rules = self.judge.rules_by_target.get(target)
        return (rules.limits if rules else None) or self._limits

    def _rules_by_target(self) -> dict[str, TargetRules]:
        most = self._config.limits.routes
        return {
            one.target.name: TargetRules(
                one.target.routes,
                one.rules,
                most,
                messages_of(one),
                limits_of(one.target, self._limits),
                graphql=one.target.graphql,
                hide=self._hide,
            )
            for one in self.targets()
        }

    def _routers(self) -> dict[str, Router]:
        return {name: rules.router for name, rules in self.judge.rules_by_target.items()}


def run_inputs_of(targets: Sequence[TargetConfig], now_s: float) -> list[RunInputs]:
    """Return the inputs that identify each target's run: v2's revision header and the digest of comparison settings."""
    now = datetime.fromtimestamp(now_s, UTC)
    return [
        RunInputs(
            target=one.target.name,
            revision_header=one.target.candidate.revision_header.encode(),
            rules=_digest(one, now),
            latency=one.target.gate.max_p99_increase_s is not None,
            controlled=one.target.control is not None,
            learn=one.target.learn,
            candidate=one.target.candidate.url,
            sample=one.target.control.sample if one.target.control else 0.0,
            allowed=one.target.gate.max_mismatch_ratio,
        )
        for one in targets
    ]


def _changes_of(target: Target) -> Sequence[object]:
    """Return what is changed in the requests to v2; of values, the text in the configuration and never a secret."""
    sent = target.candidate
    edits = [
        {name: value.source for name, value in sorted(values.items())}
        for each in (sent.headers, sent.query)
        for values in (each.set, each.replace)
    ]
    changes = [*edits, sorted(sent.headers.remove), sorted(sent.query.remove), sorted(sent.path_prefix.items())]
    return changes if any(changes) else []


def _digest(one: TargetConfig, now: datetime) -> str:
    """Return a digest of the comparison settings: equal if and only if two configurations compare pairs alike.

    A change of a gate limit or of a rule's reason does not start a new run, but the expiry of a rule does.
    """
    target, headers = one.target, headers_of(one.target)
    rules = [repr(msgspec.structs.replace(rule, reason="")) for rule in one.rules if not rule.expired(now)]
    how = (
        PLACE_VERSION,
        *(rules, target.routes, sorted(target.methods), target.sample, target.candidate.url),
        *(([*map(repr, target.include)], [*map(repr, target.exclude)]) if target.include or target.exclude else ()),
        *(headers.compare, headers.exclude, *target.body_types, target.graphql),
    )
    if target.built_in_off:
        how = (*how, ["built-in rules that are off", *target.built_in_off])
    if sent := _changes_of(target):
        how = (*how, sent)
    with_messages = b"" if one.protobuf is None else msgspec.json.encode(one.protobuf)
    return hashlib.blake2b(msgspec.json.encode(how) + with_messages, digest_size=_DIGEST_BYTES).hexdigest()
