"""What a pair is judged by, and what is written of it: lenses of the rules that hold, and the stages after judging.

In: the configuration, and the rules that people made.  Out: the judge, the epochs, and the routes that it knows.
Holds: a new configuration and a new rule take effect between two pairs, all of it at once.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from shadowdiff.report import FingerprintSettings, ReportStage, SampleSettings
from shadowdiff.rules.routes import OTHER
from shadowdiff.service.opening import messages_of, opening
from shadowdiff.service.route_names import RouteNames
from shadowdiff.service.watching import watched
from shadowdiff.verdict import CountCaps, Epochs, TripleBounds, Watched, bucket_writes, count_writes
from shadowdiff.worker import Judge, Lens

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from typing import Any

    from shadowdiff.compare import Limits, Messages
    from shadowdiff.config import Config, TargetConfig
    from shadowdiff.model import Comparison, Pair, Write
    from shadowdiff.pairing import Codec
    from shadowdiff.report import Redactor
    from shadowdiff.rules import Router, Rule
    from shadowdiff.store import Store
    from shadowdiff.worker import Stage


class Judging:
    """The judge of one process, and what it needs.

    made: the rules of a target that people made on its pages.  notes: the doctor's stage.
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
        made: Callable[[str], Sequence[Rule]],
        notes: Stage,
    ) -> None:
        self._config = config
        self._made = made
        self._limits = limits
        bounds = config.limits
        caps = CountCaps(routes=bounds.routes, paths=bounds.paths)
        triples = TripleBounds(bounds.routes, bounds.paths, bounds.differences)
        self.epochs = Epochs(store, self._watched, ledger, triples, caps=caps)
        stages = (*_counts(caps), self.epochs.writes, self._report(store, redactor), notes)
        self.judge = Judge(codec, limits, stages, (self.epochs.triple_writes,), redactor.place)
        self.judge.lenses = self._lenses()
        self.route_names = RouteNames(store, self._routers, bounds.routes)

    def serve(self, config: Config) -> None:
        """Take a new configuration's targets and rules."""
        self._config = config
        self.take_rules()

    def take_rules(self) -> None:
        """Judge by the rules as they are now."""
        self.judge.lenses = self._lenses()
        self.route_names.furnish(self._routers())
        self.epochs.reload()

    def targets(self) -> list[TargetConfig]:
        """Return the targets with every rule that holds: the configuration's, and those that people made."""
        return [
            msgspec.structs.replace(one, rules=(*one.rules, *self._made(one.target.name)))
            for one in self._config.targets
        ]

    def route_told(self, target: str, method: str, path: str) -> str:
        """Return the route of a request of which no pair was made."""
        lens = self.judge.lenses.get(target)
        return lens.router.told(method, path) if lens else OTHER

    def named_now(self, target: str, route: str) -> str:
        """Return what a route is called today."""
        lens = self.judge.lenses.get(target)
        return lens.router.named_now(route) if lens else route

    def _messages(self, target: str) -> Messages | None:
        lens = self.judge.lenses.get(target)
        return lens.messages if lens else None

    def _watched(self) -> list[Watched]:
        return watched(self.targets(), time.time())

    def _lenses(self) -> dict[str, Lens]:
        most = self._config.limits.routes
        return {one.target.name: Lens(one.target.routes, one.rules, most, messages_of(one)) for one in self.targets()}

    def _routers(self) -> dict[str, Router]:
        return {name: lens.router for name, lens in self.judge.lenses.items()}

    def _report(self, store: Store, redactor: Redactor) -> Stage:
        samples = self._config.samples
        kept = SampleSettings(
            redactor=redactor,
            close=store.vault.close,
            keep=samples.keep,
            per_fingerprint=samples.per_fingerprint,
            size_bytes=samples.size_bytes,
            body_bytes=samples.body_bytes,
            ttl_s=int(samples.max_age_s),
        )
        stage = ReportStage(FingerprintSettings(most=self._config.limits.fingerprints), kept)
        return opening(stage, self._messages, self._limits)


def _counts(caps: CountCaps) -> tuple[Stage, Stage]:
    """Return what counts a pair since the store began, and in its minute and hour."""

    def writes(pair: Pair, comparison: Comparison, _at_ms: int) -> tuple[Write, ...]:
        return count_writes(pair, comparison, caps)

    def over_time(pair: Pair, comparison: Comparison, at_ms: int) -> tuple[Write, ...]:
        return bucket_writes(pair, comparison, at_ms, caps)

    return writes, over_time
