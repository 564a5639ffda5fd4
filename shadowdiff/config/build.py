"""Settings in the words of the file → values with units in their names. Nothing is checked here any more."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from shadowdiff.config.values import (
    AccessConfig,
    Config,
    LimitsConfig,
    ListenConfig,
    LogConfig,
    PairingConfig,
    PortsTls,
    ProxyConfig,
    RedactionConfig,
    SamplesConfig,
    StoreConfig,
    TargetConfig,
    TelemetryConfig,
    TlsConfig,
    TokenConfig,
    WebConfig,
    WebhookConfig,
)
from shadowdiff.model import Candidate, Control, Gate, Target

if TYPE_CHECKING:
    from shadowdiff.config import settings
    from shadowdiff.config.secrets import Secrets
    from shadowdiff.config.values import ProtobufConfig
    from shadowdiff.rules import Rule


def build(
    root: settings.Root,
    source: Path | None,
    secrets: Secrets,
    rules: list[tuple[Rule, ...]],
    routes: list[tuple[str, ...]],
    *,
    protobuf: list[ProtobufConfig | None],
) -> Config:
    """Return the values: the same settings, with units in their names."""
    store, pairing, limits = root.store, root.pairing, root.limits
    sections = StoreConfig(
        url=store.url,
        prefix=store.prefix,
        shards=store.shards,
        data_dir=Path(store.data_dir) if store.data_dir else None,
        key=secrets.store_key,
        flush_ms=store.flush_ms,
        queue=store.queue,
        depth=store.depth,
        username=store.username,
        password=secrets.store_password,
        ca=store.ca,
        cert=store.cert,
        cert_key=store.cert_key,
        sentinel_username=store.sentinel_username,
        sentinel_password=secrets.sentinel_password,
        sentinel_tls=store.sentinel_tls,
    )
    return Config(
        source=source,
        store=sections,
        pairing=PairingConfig(
            window_s=pairing.window,
            settle_s=pairing.settle,
            id_headers=pairing.id_headers,
            claim_idle_s=pairing.claim_idle,
        ),
        listen=ListenConfig(**root.listen.model_dump()),
        limits=LimitsConfig(
            body_bytes=limits.body,
            in_flight=limits.in_flight,
            in_flight_bytes=limits.in_flight_bytes,
            decoded_bytes=limits.decoded,
            differences=limits.differences,
            compare_ms=limits.compare_ms,
            routes=limits.routes,
            paths=limits.paths,
            fingerprints=limits.fingerprints,
            records_per_source=limits.records_per_source,
        ),
        samples=SamplesConfig(
            keep=root.samples.keep,
            per_fingerprint=root.samples.per_fingerprint,
            size_bytes=root.samples.size,
            max_age_s=root.samples.max_age,
            body_bytes=root.samples.body,
        ),
        redaction=RedactionConfig(**root.redaction.model_dump()),
        web=WebConfig(url=root.web.url, trace_url=root.web.trace_url),
        log=LogConfig(format=root.log.format, level=root.log.level),
        telemetry=_telemetry(root.telemetry),
        drain_s=root.drain,
        access=_access(root.access, secrets),
        webhooks=tuple(
            WebhookConfig(url=hook.url, events=hook.events, targets=hook.targets, secret=secret)
            for hook, secret in zip(root.webhooks, secrets.webhooks, strict=True)
        ),
        tls=PortsTls(
            mirror=_tls(root.tls.mirror),
            records=_tls(root.tls.records),
            web=_tls(root.tls.web),
            metrics=_tls(root.tls.metrics),
        ),
        targets=tuple(
            TargetConfig(target=_target(target, declared), rules=own, protobuf=messages)
            for target, own, declared, messages in zip(root.targets, rules, routes, protobuf, strict=True)
        ),
    )


def _telemetry(telemetry: settings.Telemetry) -> TelemetryConfig:
    return TelemetryConfig(
        otlp=telemetry.otlp,
        traces=telemetry.traces,
        metrics=telemetry.metrics,
        sample=telemetry.sample,
        queue=telemetry.queue,
        every_s=telemetry.every,
    )


def _access(access: settings.Access, secrets: Secrets) -> AccessConfig:
    return AccessConfig(
        tokens=tuple(
            TokenConfig(name=token.name, role=token.role, secret=secret)
            for token, secret in zip(access.tokens, secrets.tokens, strict=True)
        ),
        proxy=ProxyConfig(**access.proxy.model_dump()) if access.proxy else None,
        anonymous=access.anonymous,
        session_s=access.session,
        attempts=access.attempts,
        records=secrets.records,
        hooks=secrets.hooks,
    )


def _tls(port: settings.TlsSettings | None) -> TlsConfig | None:
    return TlsConfig(**port.model_dump()) if port else None


def _target(target: settings.TargetSettings, declared: tuple[str, ...]) -> Target:
    """Return the target; `declared` are the routes of its OpenAPI file."""
    candidate, control = target.candidate, target.control
    return Target(
        name=target.name,
        hosts=target.hosts,
        candidate=Candidate(
            url=candidate.url,
            timeout_s=candidate.timeout,
            queue_timeout_s=candidate.queue_timeout,
            concurrency=candidate.concurrency,
            queue=candidate.queue,
            host=candidate.host,
            revision_header=candidate.revision_header,
        ),
        control=Control(url=control.url, sample=control.sample, timeout_s=control.timeout) if control else None,
        sample=target.sample,
        learn=target.noise.learn,
        methods=target.methods,
        routes=target.routes or declared,
        gate=Gate(
            max_mismatch_ratio=target.gate.max_mismatch_ratio,
            min_coverage=target.gate.min_coverage,
            max_p99_increase_s=target.gate.max_p99_increase,
        ),
    )
