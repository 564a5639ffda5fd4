"""Build every stage of the service, in the order in which requests pass through the stages.

Only this module connects the stages. `Service` starts, reloads and drains them.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from shadowdiff import __version__
from shadowdiff.compare import Limits, proposed_type
from shadowdiff.compare.work import UNITS_PER_MS
from shadowdiff.doctor.evidence_collector import DiagnosedSettings, EvidenceCollector, PairingFunctions
from shadowdiff.erasure.erasure import Eraser
from shadowdiff.erasure.stored import StoredData
from shadowdiff.intake.admission import Admission
from shadowdiff.intake.counters import Examples, IntakeCounters, RouteLosses
from shadowdiff.intake.dispatch import Dispatcher
from shadowdiff.intake.mirror_port import MirrorApp
from shadowdiff.intake.overload import LoadShedder, OverloadDetector
from shadowdiff.intake.records_port import RecordsApp
from shadowdiff.intake.routing import HostIndex
from shadowdiff.intake.upstream import Upstream
from shadowdiff.model import Side, Target
from shadowdiff.notify.event_detector import EventDetector
from shadowdiff.notify.webhook import Webhook
from shadowdiff.pairing import names
from shadowdiff.pairing.claim import Claimer
from shadowdiff.pairing.codec import Codec, Dictionaries
from shadowdiff.pairing.ledger import LedgerSync, read_ledger
from shadowdiff.pairing.observation_writer import ObservationWriter, PairingSettings
from shadowdiff.pairing.request_id import SPAN, fnv1a32, identifier, is_sampled
from shadowdiff.pairing.sweep import Sweeper
from shadowdiff.queries.targets import Queries, TargetView
from shadowdiff.report import FingerprintQuery, Order, Patterns, Redactor, Retention, TriageWriter, redaction_key
from shadowdiff.rule_changes.added_rules import RuleBook
from shadowdiff.rule_changes.changes import RuleChanges
from shadowdiff.service.comparison_pipeline import ComparisonPipeline
from shadowdiff.service.metric_sources import LedgerGauges, ledger_growth, thresholds
from shadowdiff.service.otlp_export import OtlpExport
from shadowdiff.service.web_jobs import WebJobs
from shadowdiff.telemetry.clock_jumps import ClockJumpDetector
from shadowdiff.telemetry.exposition import Exposition
from shadowdiff.telemetry.logs import redact_logs
from shadowdiff.telemetry.metrics import ReloadState, Sources, StoreState
from shadowdiff.verdict import read_run_starts
from shadowdiff.web import WebParts
from shadowdiff.web.access import Access
from shadowdiff.web.audit import AuditLog
from shadowdiff.worker import ComparisonPool, PairCounters, ShardWorker

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from shadowdiff.config import Config
    from shadowdiff.config.settings import WebhookConfig
    from shadowdiff.model import Observation, Pair
    from shadowdiff.report import Fingerprint
    from shadowdiff.service.open_store import StoreHandle
    from shadowdiff.service.ports import Ports

POOL_PROCESSES: Final = 2
_PROBE: Final = Limits(decoded_bytes=4 << 10, work=UNITS_PER_MS)
"""The limits of finding out, on the event loop, whether bodies are JSON under another type."""
LOOPBACK_NAMES: Final = ("localhost", "127.0.0.1", "[::1]")


def now_ms() -> int:
    """Return the wall clock in Unix milliseconds."""
    return time.time_ns() // 1_000_000


@dataclass(slots=True)
class LiveState:
    """State that changes while the service runs: the configuration, and why the service is not ready (None: ready)."""

    config: Config
    access: Access
    phase: str | None = "starting"
    reload: ReloadState = field(default_factory=lambda: ReloadState(successful=True, at_s=time.time()))

    def target_names(self) -> list[str]:
        """Return the names of the configured targets."""
        return [target.target.name for target in self.config.targets]


class Stages:
    """The stages of one process, and its background tasks by name. Create it on the event loop; this starts no task."""

    def __init__(self, config: Config, handle: StoreHandle, ports: Ports) -> None:  # noqa: PLR0915 - read from top to bottom
        store, limits = handle.store, config.limits
        process = f"{socket.gethostname()}-{os.getpid()}-{os.urandom(3).hex()}"
        self.live = live = LiveState(config, access_of(config, ports))
        self.closing = closing = asyncio.Event()
        hidden = config.redaction
        self.redactor = redactor = Redactor(
            redaction_key(handle.key or os.urandom(32)),
            names=hidden.names,
            paths=hidden.paths,
            allow=hidden.allow,
            headers=hidden.headers,
            patterns=Patterns(hidden.patterns, builtin=hidden.builtin),
        )
        redactor.hide_texts(sent_secrets(config))
        redact_logs(path=redactor.path, text=redactor.text)

        # Pairing: writes observations to the store; the ledger accounts for each of them.
        codec = Codec(handle.key, limits.body_bytes)
        dictionaries = Dictionaries(store, codec)
        pairing = PairingSettings(
            window_s=config.pairing.window_s,
            settle_s=config.pairing.settle_s,
            gather_s=config.store.flush_ms / 1000,
            queue=config.store.queue,
            queue_bytes=limits.in_flight_bytes,
            store_depth=config.store.depth,
        )
        self.writer = writer = ObservationWriter(store, codec, pairing, process, redact=redactor.path)

        def lost_route(target: str, method: str, path: str) -> str:
            return comparison.lost_route(target, method, path)

        intake = IntakeCounters(losses=RouteLosses(lost_route, limits.routes))
        self.ledger_sync = ledger_sync = LedgerSync(store, process, lambda: ledger_growth(intake))

        async def ledger(target: str) -> dict[str, Any]:
            """Return a target's ledger with this process's latest counts."""
            await ledger_sync.sync()
            return cast("dict[str, Any]", await read_ledger(store, target))

        # Intake: sends mirrored requests to v2, and receives v1's recorded responses.
        self.overload = overload = OverloadDetector(next_turn=asyncio.get_running_loop().call_soon)
        self.requests = requests = asyncio.TaskGroup()
        self.upstream = upstream = Upstream(now_ms, limits.body_bytes)
        self.dispatcher = dispatcher = Dispatcher(
            group=requests,
            upstream=upstream,
            counters=intake,
            sink=writer.sink("mirrored"),
            in_sample=is_sampled,
            most_items=limits.in_flight,
            most_bytes=limits.in_flight_bytes,
            was_busy=overload.was_overloaded,
            processes=lambda: ledger_sync.processes,
        )
        load_shedder = LoadShedder(lambda target: max(writer.fill, dispatcher.fill_of(target)))
        targets = [target.target for target in config.targets]
        self.mirror = MirrorApp(
            dispatcher=dispatcher,
            counters=intake,
            identify=identifier(config.pairing.id_headers),
            in_sample=is_sampled,
            targets=targets,
            load_shedder=load_shedder,
        )
        self.records = RecordsApp(
            sink=writer.sink("recorded"),
            counters=intake,
            in_sample=is_sampled,
            targets=targets,
            now_ms=now_ms,
            max_record_bytes=limits.body_bytes,
            admission=admission_of(config),
            load_shedder=load_shedder,
        )

        async def by_route(target: str) -> dict[str, int]:
            return await queries.by_route(target)

        # Comparison: turns claimed pairs into results. Rules from the pages take effect like configured rules.
        rule_book = RuleBook(store, now_ms, lambda: comparison.use_rules())  # noqa: PLW0108 - made below
        self.doctor = doctor = EvidenceCollector(
            settings=diagnosed_settings(config),
            store=store,
            process=process,
            examples=lambda: {name: found.newest() for name, found in _intake_examples(intake).items()},
            forget_examples=lambda: _forget_examples(intake),
            redact=redactor.text,
            redact_path=redactor.path,
            pairing=PairingFunctions(ledger, identifier, _sample_draw, _host_lookup, by_route, _proposed_type),
            backend=handle.backend,
            durable=handle.durable,
        )
        work = int(limits.compare_ms * UNITS_PER_MS)
        compare_limits = Limits(work=work, decoded_bytes=limits.decoded_bytes, differences=limits.differences)
        self.comparison = comparison = ComparisonPipeline(
            config,
            store,
            codec,
            compare_limits,
            redactor=redactor,
            ledger=ledger,
            made_rules=rule_book.rules,
            pair_notes=doctor.pair_facts.writes,
        )
        self.pool = pool = ComparisonPool(POOL_PROCESSES, limits.compare_ms / 1000)
        counters = PairCounters(limits.routes)
        self.otlp = otlp = OtlpExport(config.telemetry, process)
        self.workers = [
            ShardWorker(
                store=store,
                shard=shard,
                claimer=Claimer(store, shard, process, live.target_names(), dictionaries),
                judge=comparison.judge,
                pool=pool,
                limits=compare_limits,
                counters=counters,
                claim_idle_s=config.pairing.claim_idle_s,
                trace=otlp.trace,
            )
            for shard in range(store.shards)
        ]

        async def keep_runs() -> None:
            await rule_book.is_read.wait()  # else a start would open a run with configured rules only
            await comparison.runs.run()

        # Maintenance of the store.
        def count_orphan(orphan: Observation) -> None:
            if orphan.side is not Side.CONTROL:
                intake.losses.add(orphan.target, f"{orphan.side}.orphaned", orphan.method, orphan.path)

        def note_depth(depth: int) -> None:
            writer.store_depth = depth

        sweeper = Sweeper(
            store,
            codec,
            pairing,
            targets=live.target_names,
            on_orphans=doctor.keep,
            on_depth=note_depth,
            on_read=count_orphan,
            processes=lambda: ledger_sync.processes,
        )

        async def newest_runs(target: str) -> list[int]:
            return [one.id for one in reversed(await read_run_starts(store, target))]

        retention = Retention(store, live.target_names, now_ms, int(config.samples.max_age_s), newest_runs)

        # Stages that only read results: web port, metrics, webhooks.
        self.web_jobs = web_jobs = WebJobs()
        version = store.version or handle.version
        queries = Queries(
            targets=lambda: [
                TargetView(
                    merged.target,
                    tuple(f"{rule.label} ({rule.reason})" if rule.reason else rule.label for rule in merged.rules),
                    configured.rules,
                )
                for merged, configured in zip(comparison.targets(), live.config.targets, strict=True)
            ],
            reader=store,
            ledger=ledger,
            now_ms=now_ms,
            runs=comparison.runs,
            diagnosis=doctor.diagnosis,
            lost=lambda target: store.counts(names.ledger(names.routes(target))),
            current_route=comparison.current_name,
            current_place=comparison.current_place,
            offload=web_jobs,
            public_url=config.web.url,
            sample_ttl_s=int(config.samples.max_age_s),
        )
        self.web = WebParts(
            queries=queries,
            rules=RuleChanges(queries, rule_book, redactor.text),
            access=lambda: live.access,
            triage=TriageWriter(store, now_ms, redactor.text),
            audit=AuditLog(store, now_ms, redactor.text),
            eraser=Eraser(
                queries,
                StoredData(store, codec, pairing.times_ms()[0], now_ms, int(config.samples.max_age_s)),
                redactor,
                lambda: rule_book.added,
            ),
            closing=closing,
            version=__version__,
            store=f"{handle.backend} {version} ({'durable' if handle.durable else 'not durable'})",
            settings=config.web,
            mirror_port=ports.mirror.port,
            record_port=ports.records.port,
            hosts=LOOPBACK_NAMES if ports.web.is_loopback and not live.access.is_required else (),
        )
        gauges = LedgerGauges(store, now_ms)
        self.exposition = Exposition(
            Sources(
                mirrored=lambda: {target: row.as_dict() for target, row in intake.mirrored.items()},
                recorded=lambda: {(name, str(side)): row.as_dict() for (name, side), row in intake.recorded.items()},
                pairs=counters,
                shed=lambda: intake.shed_reasons,
                store=lambda: StoreState(store.up, handle.backend, store.version or handle.version, handle.durable),
                gauges=gauges.by_target,
                thresholds=lambda: thresholds(live.config.targets),
                config_reload=lambda: live.reload,
                spans=otlp.outcomes,
            )
        )

        async def newest_fingerprints(target: str, most: int) -> Sequence[Fingerprint]:
            query = FingerprintQuery(order=Order.FIRST_SEEN, limit=most)
            return (await queries.fingerprints.page(target, query)).fingerprints

        events = EventDetector(
            [_webhook(hook) for hook in config.webhooks],
            store=store,
            verdicts=gauges.verdicts,
            newest_fingerprints=newest_fingerprints,
            targets=live.target_names,
            redact=redactor.text,
            public_url=config.web.url,
            now_ms=now_ms,
        )
        self.background: dict[str, Callable[[], Awaitable[None]]] = {
            "ledger-sync": ledger_sync.run,
            "sweep": sweeper.run,
            "retention": retention.run,
            "dictionaries": dictionaries.run,
            "route-names": comparison.route_names.run,
            "place-names": comparison.place_names.run,
            "rules": rule_book.run,
            "runs": keep_runs,
            "gauges": lambda: gauges.run(queries),
            "doctor": doctor.run,
            "webhooks": events.run,
            "fingerprints": lambda: queries.fingerprints.run(live.target_names),
            "clock-jumps": ClockJumpDetector(store.clocks_s).run,
        }


def access_of(config: Config, ports: Ports) -> Access:
    """Return who may use the web port, according to a configuration."""
    has_client_ca = config.tls.web is not None and config.tls.web.client_ca is not None
    token = config.access.hooks.reveal() if config.access.hooks else None
    return Access(config.access, is_loopback=ports.web.is_loopback, has_client_ca=has_client_ca, hook_token=token)


def admission_of(config: Config) -> Admission:
    """Return who may post records, according to a configuration."""
    tokens = [secret.reveal() for secret in config.access.records]
    return Admission(tokens, config.limits.records_per_source, time.monotonic, config.access.attempts)


def sent_secrets(config: Config) -> list[str]:
    """Return the secrets in the requests to candidates and controls, which their responses may repeat."""
    sides = [side for each in config.targets for side in (each.target.candidate, each.target.control) if side]
    return [secret.decode() for side in sides for secret in side.secrets()]


def diagnosed_settings(config: Config) -> DiagnosedSettings:
    """Return the settings that a diagnosis depends on."""
    targets = [target.target for target in config.targets]
    return DiagnosedSettings(targets, config.pairing.id_headers, config.pairing.window_s)


def _webhook(hook: WebhookConfig) -> Webhook:
    secret = hook.secret.reveal() if hook.secret else None
    return Webhook(hook.url, events=hook.events, targets=hook.targets, secret=secret, format_name=hook.format)


def _intake_examples(intake: IntakeCounters) -> dict[str, Examples]:
    """Return examples of rejected requests and records, by field of `doctor.Process`."""
    return {
        "unknown_mirrored": intake.unknown_mirrored,
        "unknown_recorded": intake.unknown_recorded,
        "unidentified": intake.unidentified,
        "looped": intake.loops,
        "blocked": intake.blocked,
        "refused": intake.refusals,
    }


def _forget_examples(intake: IntakeCounters) -> None:
    """Delete the examples of rejected requests and records from memory."""
    for examples in _intake_examples(intake).values():
        examples.forget()


def _sample_draw(request_id: str) -> float:
    return fnv1a32(request_id) / SPAN


def _host_lookup(targets: Sequence[Target]) -> Callable[[str], str | None]:
    hosts = HostIndex([(host, target.name) for target in targets for host in target.hosts])
    return lambda host: hosts.find_text(host).entry


def _proposed_type(pair: Pair, body_types: tuple[tuple[str, str], ...]) -> str:
    return proposed_type(pair, msgspec.structs.replace(_PROBE, body_types=body_types))
