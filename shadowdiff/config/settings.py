"""The declarations of the settings: YAML key, type with limits, default and help text.

`port_settings.py`, `target_settings.py` and `sent_settings.py` declare the settings of ports and targets. A field's
name has the unit that its value has after parsing (`window_s`); its YAML key has none (`window`). Environment
variables, the JSON Schema, the chart's schema and docs/configuration.md are derived from the declarations;
`scripts/draw_settings.py` writes the files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, cast

import msgspec
from pydantic import BeforeValidator, model_validator

from shadowdiff.config.api_descriptions import ProtobufConfig
from shadowdiff.config.base_section import SOURCE_HELP, Section, setting
from shadowdiff.config.port_settings import AccessConfig, ListenConfig, PortsTls
from shadowdiff.config.secrets import Key, Password, Token
from shadowdiff.config.target_settings import TargetSettings
from shadowdiff.config.value_types import (
    Distinct,
    Duration,
    Expression,
    Folder,
    HeaderName,
    Period,
    Prefix,
    PublicUrl,
    Share,
    Size,
    StoreUrl,
    TargetName,
    Text,
    TraceUrl,
    Url,
    WebhookFormat,
    WebhookUrl,
    lower,
)
from shadowdiff.model import Target
from shadowdiff.notify.formats import DEFAULT
from shadowdiff.report.attributes import DEFAULT_HEADERS
from shadowdiff.rules import Rule

CLUSTER_SHARDS = 16
"""Spreads the keys evenly over the masters of a small cluster. Each additional shard needs its own calls."""


class StoreConfig(Section):
    """Redis, where observations wait for their partners and where the counts are kept."""

    url: StoreUrl | None = setting(
        None, "The URL of a Redis server, a Redis cluster or its sentinels. If unset, shadowdiff starts its own Redis."
    )
    username: Text | None = setting(None, "The user name with which shadowdiff logs in to Redis.")
    password: Password | None = setting(None, f"The password of Redis. {SOURCE_HELP}")
    ca: Text | None = setting(None, "A PEM file with the CA certificates that sign Redis' certificate.")
    cert: Text | None = setting(None, "A PEM file with the client certificate for Redis.")
    cert_key: Text | None = setting(None, "A PEM file with the private key of `store.cert`.")
    sentinel_username: Text | None = setting(None, "The user name with which shadowdiff logs in to the sentinels.")
    sentinel_password: Password | None = setting(None, f"The password of the sentinels. {SOURCE_HELP}")
    sentinel_tls: bool | None = setting(
        None,
        "Whether shadowdiff connects to the sentinels with TLS. If unset, it does so only if the URL starts with "
        "rediss+sentinel://.",
    )
    prefix: Prefix = setting("sd", "The prefix of every key. Services that share one Redis need different prefixes.")
    shards: int = setting(
        1,
        "How many hash tags the keys use. The default on a cluster is 16. You cannot change it while the store has "
        "data.",
        ge=1,
        le=1024,
    )
    data_dir: Folder | None = setting(
        None, "The folder in which the embedded Redis stores its data. If unset, it is in the user's state folder."
    )
    key: Key | None = setting(None, f"The key that encrypts observations: 32 bytes in base64. {SOURCE_HELP}")
    flush_ms: float = setting(
        25.0,
        "How many milliseconds shadowdiff collects writes before it sends them to Redis. With several workers or many "
        "shards, it collects up to four times as long.",
        ge=0,
        le=1000,
    )
    queue: int = setting(
        20_000, "How many observations may wait in memory until Redis accepts them. shadowdiff sheds the excess.", ge=1
    )
    depth: int = setting(
        1_000_000,
        "How many observations and ready pairs may wait in Redis, in all shards together. shadowdiff sheds the excess.",
        ge=1,
    )

    @model_validator(mode="before")
    @classmethod
    def _shards_of_a_cluster(cls, data: Any) -> Any:
        """Spread a cluster's keys over its masters, unless the file sets the number."""
        if isinstance(data, dict) and "+cluster://" in str(cast("dict[str, Any]", data).get("url", "")):
            return {"shards": CLUSTER_SHARDS} | cast("dict[str, Any]", data)
        return cast("Any", data)


class PairingConfig(Section):
    """How two responses to one request find each other."""

    window_s: Period = setting(
        30.0, "How long a response waits for the other version's response to the same request.", "window"
    )
    settle_s: Duration = setting(
        1.0, "How long a complete pair waits, because the client or the mesh may retry its request.", "settle"
    )
    id_headers: Distinct[HeaderName] = setting(
        ("x-diff-id", "x-request-id", "traceparent"),
        "The headers that may contain the request's id. shadowdiff uses the first header that a request has.",
        min_length=1,
    )
    claim_idle_s: Period = setting(
        15.0, "How long a worker may stay silent before another worker takes over its unfinished pairs.", "claim_idle"
    )


class LimitsConfig(Section):
    """Limits. shadowdiff sheds or truncates what exceeds a limit, and counts it."""

    body_bytes: Size = setting(
        1 << 20,
        "The maximum size of a body. shadowdiff truncates longer bodies; a truncated body is never a match.",
        "body",
    )
    in_flight: int = setting(2000, "How many mirrored requests shadowdiff handles at the same time.", ge=1)
    in_flight_bytes: Size = setting(256 << 20, "The maximum size of all mirrored requests in memory.")
    decoded_bytes: Size = setting(16 << 20, "The maximum size of one body after decompression.", "decoded")
    differences: int = setting(
        100, "How many differences a sample lists. shadowdiff only counts the others.", ge=1, le=10_000
    )
    compare_ms: float = setting(2000.0, "The maximum time of one comparison, in milliseconds.", gt=0)
    records_per_source: int = setting(
        0, "How many records per second one address may send. shadowdiff sheds the excess. 0 means no limit.", ge=0
    )
    routes: int = setting(
        200, "How many routes per target have counts of their own. All other routes count as `_other`.", ge=1
    )
    paths: int = setting(
        1000, "How many differing paths per target have counts of their own. All other paths count as `_other`.", ge=1
    )
    fingerprints: int = setting(
        1000, "How many fingerprints per target are stored. All other fingerprints count as `_other`.", ge=1
    )


class SamplesConfig(Section):
    """Samples: pairs that differ, stored for people to read."""

    keep: int = setting(
        1000,
        "How many samples per target are stored. Beyond this limit, shadowdiff removes the oldest sample of the "
        "fingerprint with the most samples.",
        ge=0,
    )
    per_fingerprint: int = setting(20, "How many samples per fingerprint are stored.", ge=1)
    size_bytes: Size = setting(64 << 20, "The maximum size of all samples of a target, compressed.", "size")
    max_age_s: Period = setting(86400.0, "How long a sample is stored.", "max_age")
    body_bytes: Size = setting(64 << 10, "How many bytes of each body a sample contains.", "body")
    headers: Distinct[HeaderName] = setting(
        DEFAULT_HEADERS,
        "The request headers that may show [what the pairs of a cause have in common](reports.md). shadowdiff compares "
        "the first six that a request has. Redaction applies to their values.",
    )


class RedactionConfig(Section):
    """What shadowdiff redacts before it stores anything, in addition to the [built-in list](reports.md)."""

    names: tuple[str, ...] = setting(
        (), "The names of fields, parameters, elements and headers whose values are secrets."
    )
    headers: tuple[HeaderName, ...] = setting((), "The headers whose values are secrets.")
    allow: tuple[str, ...] = setting(
        (),
        "The names of fields, parameters, elements and headers whose values are not secrets, although the name "
        "contains a word such as token (page_token). Upper and lower case and punctuation do not matter.",
    )
    paths: tuple[str, ...] = setting(
        (),
        "JSONPaths (RFC 9535) of secrets, such as $.user.ssn or $..ssn. In bodies that are not JSON, every value with "
        "the path's last name is a secret.",
    )
    patterns: tuple[Expression, ...] = setting(
        (), "Regular expressions (RE2). Every text that matches one is a secret, for example CUST-[0-9]{8}."
    )
    builtin: bool = setting(
        default=True,
        description="Whether to redact everything that looks like a card number, an IBAN, an e-mail address, a token "
        "or a private key.",
    )


class WebConfig(Section):
    """The pages."""

    url: PublicUrl | None = setting(
        None,
        "The public URL of the pages, such as https://shadowdiff.example. Links in verdicts, gates and webhooks use "
        "it. If unset, links use the host of the request, and webhooks contain no links.",
    )
    trace_url: TraceUrl | None = setting(
        None,
        "The URL of a trace in your tracing tool, such as https://jaeger.example/trace/{trace_id}. Pages link to it.",
    )


class LogConfig(Section):
    """The log, which is written to standard error."""

    format: Literal["json", "text", "auto"] = setting(
        "auto", "The format of log lines. `auto` means text on a terminal, and JSON otherwise."
    )
    level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(lower)] = setting(
        "info", "The lowest level that is logged."
    )


class TelemetryConfig(Section):
    """What shadowdiff pushes to an OpenTelemetry collector. If `otlp` is unset, it pushes nothing."""

    otlp: Url | None = setting(None, "The collector's OTLP/HTTP endpoint, such as http://collector:4318.")
    traces: bool = setting(
        default=True, description="Whether to push a span for each comparison, with links to the spans of v1 and v2."
    )
    metrics: bool = setting(default=True, description="Whether to push the metrics that /metrics serves.")
    sample: Literal["parent"] | Share = setting(
        "parent",
        "Which comparisons have a span. `parent`: those whose request was sampled by its tracer. A number: this "
        "share of all comparisons.",
    )
    queue: int = setting(
        2048, "How many spans may wait for the collector. shadowdiff drops the excess and counts it.", ge=1
    )
    interval_s: Period = setting(60.0, "How often shadowdiff pushes metrics.", "interval")


class WebhookConfig(Section):
    """A receiver of [webhook notifications](webhooks.md)."""

    url: WebhookUrl = setting(..., "The URL to which shadowdiff sends each event, as JSON in a POST request.")
    format: WebhookFormat = setting(DEFAULT, "The format in which events are sent.")
    events: Distinct[Literal["fingerprint.new", "verdict.changed"]] = setting(
        ("fingerprint.new", "verdict.changed"), "The events to send.", min_length=1
    )
    targets: tuple[TargetName, ...] = setting(
        (), "The targets whose events are sent. If unset, events of all targets are sent."
    )
    secret: Token | None = setting(None, f"The secret that signs each request. {SOURCE_HELP}")


class Sections(Section):
    """All settings that are not a target's."""

    store: StoreConfig = StoreConfig()
    pairing: PairingConfig = PairingConfig()
    listen: ListenConfig = ListenConfig()
    tls: PortsTls = PortsTls()
    access: AccessConfig = AccessConfig()
    webhooks: tuple[WebhookConfig, ...] = setting((), "Receivers of webhook notifications.")
    limits: LimitsConfig = LimitsConfig()
    samples: SamplesConfig = SamplesConfig()
    redaction: RedactionConfig = RedactionConfig()
    web: WebConfig = WebConfig()
    log: LogConfig = LogConfig()
    telemetry: TelemetryConfig = TelemetryConfig()
    drain_s: Duration = setting(10.0, "How long shadowdiff may take to finish its work when it stops.", "drain")


class Root(Sections):
    """The whole file."""

    targets: tuple[TargetSettings, ...] = setting((), "The services under comparison.")


class TargetConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A target with its compiled rules and descriptors."""

    target: Target
    rules: tuple[Rule, ...]
    protobuf: ProtobufConfig | None = None


class Config(Sections):
    """All settings, checked. `source` is the file, None if only the environment was read.

    warnings: settings that are valid but cannot work, one line each; the caller logs them.
    """

    source: Path | None
    targets: tuple[TargetConfig, ...]
    warnings: tuple[str, ...] = ()
