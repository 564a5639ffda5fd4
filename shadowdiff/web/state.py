"""What the web port reads: values and callables that the service wires."""

from __future__ import annotations

import asyncio
import functools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from shadowdiff.config import AccessConfig
from shadowdiff.report import Fingerprints
from shadowdiff.web.access import Access
from shadowdiff.web.trend import Trends

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from shadowdiff.doctor import Diagnosis
    from shadowdiff.model import Target
    from shadowdiff.model.reader import StoreReader
    from shadowdiff.report import Remarks
    from shadowdiff.rules import Rule
    from shadowdiff.verdict import Epochs
    from shadowdiff.web.audit import Audit
    from shadowdiff.web.rule_book import RuleBook


LOCAL: Final = Access(AccessConfig(), is_loopback=True)
"""What holds on a loopback port of which nothing was said."""


@dataclass(frozen=True, slots=True)
class TargetView:
    """A target as configured, and its rules as the user wrote them, one line each.

    rules: all that hold, those made by the API or on the pages included.  declared: the configuration's.
    """

    target: Target
    rules: tuple[str, ...] = ()
    declared: tuple[Rule, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WebState:
    """Everything that the API and the pages show.

    targets: as configured now (a reload changes them).
    reader: the counts and samples.
    ledger: the JSON of one target's ledger, and of `_unknown`.
    diagnosis: why nothing pairs, of one target or of all; None where nobody gathers evidence.
    epochs: what a verdict rests on; None where none are kept: then on everything ever counted.
    rule_book: the rules that people make here; None where none are kept.
    remarks: what people say of fingerprints; None where nobody may.
    previews: how many changed sets of rules are tried at a time, since each may compare a thousand pairs.
    now_ms: the wall clock, Unix milliseconds.
    closing: set when the port is about to close, so that streams end.
    sample_ttl_s: older samples are not shown.
    public_url: where browsers find these pages, for links in verdicts; else the address that was asked.
    trace_url: where traces are shown, with `{trace_id}` in the place of the id; None where nothing was said.
    named_now: what a route of a target, as it was named earlier, is called by now.
    lost: what a target lost before its pairs were judged, by `route row.disposition`; None where nobody counts it.
    gate_token: what a rollout's hook must bring, where one is configured.
    hosts: names that a request may ask for, () for any; a port bound to loopback is asked under loopback's names
        alone, so that no web page elsewhere can read it by pointing its own name here.
    access: who may come in, as configured now.
    audit: where changes are noted; None where nowhere.
    redact: takes secrets out of what people write, before it is kept.
    store: one line on the store in use, such as "embedded redis 7.0.15 (durable)".
    """

    targets: Callable[[], Sequence[TargetView]]
    reader: StoreReader
    ledger: Callable[[str], Awaitable[dict[str, Any]]]
    now_ms: Callable[[], int]
    epochs: Epochs | None = None
    rule_book: RuleBook | None = None
    remarks: Remarks | None = None
    previews: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(2))
    diagnosis: Callable[[str | None], Awaitable[Diagnosis]] | None = None
    sample_ttl_s: int = 24 * 3600
    public_url: str | None = None
    trace_url: str | None = None
    named_now: Callable[[str, str], str] = lambda _target, route: route
    lost: Callable[[str], Awaitable[dict[str, int]]] | None = None
    gate_token: Callable[[], bytes | None] = lambda: None
    hosts: tuple[str, ...] = ()
    access: Callable[[], Access] = lambda: LOCAL
    audit: Audit | None = None
    version: str = ""
    store: str = ""
    redact: Callable[[str], str] = lambda text: text
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    fingerprints: Fingerprints = field(init=False)
    trends: Trends = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "fingerprints", Fingerprints(self.reader, self.now_ms))
        object.__setattr__(self, "trends", Trends(self.reader))

    def target(self, name: str) -> TargetView | None:
        """Return a target by name."""
        return next((view for view in self.targets() if view.target.name == name), None)

    def fold(self, target: str) -> Callable[[str], str]:
        """Return what tells the present names of a target's routes, for one reading of its counts."""
        return functools.cache(functools.partial(self.named_now, target))

    @property
    def names(self) -> list[str]:
        """The names of the targets, as configured."""
        return [view.target.name for view in self.targets()]

    @property
    def since_ms(self) -> int:
        """The time before which a sample is too old to show."""
        return self.now_ms() - self.sample_ttl_s * 1000
