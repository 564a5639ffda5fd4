"""The declarations of all settings: YAML key, type with limits, default and help text.

A field's name has the unit that its value has after parsing (`window_s`); its YAML key has none (`window`).
Environment variables, the JSON Schema, the chart's schema and docs/configuration.md are derived from this module;
`scripts/draw_settings.py` writes the files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, cast

import msgspec
from pydantic import BeforeValidator, model_validator

from shadowdiff.config.api_descriptions import ProtobufConfig
from shadowdiff.config.base_section import Section, setting
from shadowdiff.config.conditions import MOST_CONDITIONS, ConditionSettings
from shadowdiff.config.secrets import Key, Password, Token
from shadowdiff.config.sent_settings import CandidateSettings, ControlSettings
from shadowdiff.config.value_types import (
    AnyRoute,
    BodyType,
    Distinct,
    Duration,
    Expression,
    Folder,
    GraphqlPath,
    HeaderName,
    HostName,
    Method,
    Network,
    Period,
    Port,
    Prefix,
    PublicUrl,
    Role,
    Route,
    Share,
    Size,
    StoreUrl,
    TargetName,
    TargetOrAll,
    Text,
    TraceUrl,
    Url,
    WebhookFormat,
    WebhookUrl,
    lower,
)
from shadowdiff.model import Target
from shadowdiff.notify.formats import DEFAULT
from shadowdiff.rules import Rule

CLUSTER_SHARDS = 16
"""Spreads the keys evenly over the masters of a small cluster. Each additional shard needs its own calls."""
_SECRET = "Write the name of an environment variable or the path of a file (with a /) that contains it."  # noqa: S105 - a help text


class StoreConfig(Section):
    """Redis, where observations wait for their partners and where the counts are kept."""

    url: StoreUrl | None = setting(
        None, "The URL of a Redis server, a Redis cluster or its sentinels. If unset, shadowdiff starts its own Redis."
    )
    username: Text | None = setting(None, "The user name with which shadowdiff logs in to Redis.")
    password: Password | None = setting(None, f"The password of Redis. {_SECRET}")
    ca: Text | None = setting(None, "A PEM file with the CA certificates that sign Redis' certificate.")
    cert: Text | None = setting(None, "A PEM file with the client certificate for Redis.")
    cert_key: Text | None = setting(None, "A PEM file with the private key of `store.cert`.")
    sentinel_username: Text | None = setting(None, "The user name with which shadowdiff logs in to the sentinels.")
    sentinel_password: Password | None = setting(None, f"The password of the sentinels. {_SECRET}")
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
    key: Key | None = setting(None, f"The key that encrypts observations: 32 bytes in base64. {_SECRET}")
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


class ListenConfig(Section):
    """Addresses and ports. Port 0 means any free port."""

    host: Text = setting("0.0.0.0", "The address on which the mirror, records and metrics ports listen.")
    mirror: Port = setting(8080, "The port for mirrored requests.")
    records: Port = setting(8081, "The port for recorded responses.")
    web: Port = setting(8082, "The port that serves the pages, the API and the gates.")
    web_host: Text = setting(
        "127.0.0.1",
        "The address on which the web port listens. If other machines can reach it, set `access` too, or shadowdiff "
        "does not start.",
    )
    metrics: Port = setting(9090, "The port that serves metrics and health checks.")


class TlsConfig(Section):
    """The certificate of one port. Its files are reloaded when they change."""

    cert: Text = setting(..., "A PEM file with the certificate chain.")
    key: Text = setting(..., "A PEM file with the certificate's private key.")
    client_ca: Text | None = setting(
        None, "A PEM file with CA certificates. Only clients whose certificate these CAs signed may connect."
    )


class PortsTls(Section):
    """The ports that use TLS. A port that is not listed uses plain HTTP, which a mesh or a proxy can encrypt.

    shadowdiff loads renewed certificates within a minute. After you remove a CA from `client_ca`, restart shadowdiff,
    because it trusts this CA until then.
    """

    mirror: TlsConfig | None = setting(None, "TLS on the mirror port.")
    records: TlsConfig | None = setting(None, "TLS on the records port.")
    web: TlsConfig | None = setting(None, "TLS on the web port.")
    metrics: TlsConfig | None = setting(None, "TLS on the metrics port.")

    def of(self, port: str) -> TlsConfig | None:
        """Return the TLS files of a port, by the port's name."""
        found: TlsConfig | None = getattr(self, port)
        return found


class TokenConfig(Section):
    """A bearer token."""

    name: TargetName = setting(..., "The name that the audit log shows for the user of this token.")
    role: Role = setting(
        "read",
        "What the user may do: `read`; `write` (also change rules, runs and triage, and erase); `export` (read, and "
        "export samples); `all` of these; or `hook` (only call Flagger's hooks).",
    )
    targets: Distinct[TargetOrAll] = setting(("*",), "The targets that the user may use. * means all.", min_length=1)
    secret: Token = setting(..., f"The token, of 16 characters or more. {_SECRET}")


class ProxyConfig(Section):
    """A proxy in front of the web port that authenticates people."""

    peers: Distinct[Network] = setting(
        ...,
        "The networks from which the proxy connects. shadowdiff ignores the headers below in requests from elsewhere.",
        min_length=1,
    )
    user_header: HeaderName = setting("x-forwarded-user", "The header in which the proxy sends the user's name.")
    groups_header: HeaderName = setting(
        "x-forwarded-groups", "The header in which the proxy sends the user's groups, separated by commas."
    )
    read: tuple[str, ...] = setting(("*",), "The groups whose members may read. * allows everyone.")
    write: tuple[str, ...] = setting((), "The groups whose members may also write. * allows everyone.")
    export: tuple[str, ...] = setting((), "The groups whose members may also export samples. * allows everyone.")
    targets: dict[str, Distinct[TargetOrAll]] = setting(
        {},
        "The targets that the members of each group may use. * means all. If unset, they may use all targets; if set, "
        "groups that are not listed may use none.",
    )


class AccessConfig(Section):
    """Who may use the web port, and who may send records; see [access](access.md)."""

    tokens: tuple[TokenConfig, ...] = setting((), "The bearer tokens, each with a name and a role.")
    proxy: ProxyConfig | None = setting(None, "A proxy that sends the user's name in a header.")
    anonymous: Literal["none", "read", "write", "export", "all"] | None = setting(
        None,
        "What callers without credentials may do. If unset: everything if there are no tokens and no proxy, and the "
        "web port listens on loopback or requires client certificates; in all other cases nothing.",
    )
    session_s: Period = setting(43200.0, "How long users stay logged in to the pages.", "session")
    attempts: int = setting(
        10,
        "How many wrong tokens one address may send per minute. The web port, the hooks and the records port count "
        "separately.",
        ge=1,
    )
    records: Distinct[Token] = setting(
        (), f"The tokens that recorders may send. {_SECRET} If unset, recorders need no token."
    )
    hooks: Token | None = setting(
        None,
        f"The token that Flagger's hooks send in their metadata. {_SECRET} If unset, shadowdiff accepts hooks "
        "without a token, unless other callers need credentials: then it rejects all hooks.",
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
    secret: Token | None = setting(None, f"The secret that signs each request. {_SECRET}")


class GateSettings(Section):
    """The limits for a `pass`."""

    max_mismatch_ratio: Share = setting(0.001, "The share of compared pairs that may differ.")
    min_coverage: Share = setting(0.95, "The minimum share of v1's responses that must be compared.")
    max_p99_increase_s: Duration | None = setting(
        None,
        "How much longer v2's p99 latency may be than v1's. If unset, the verdict ignores latency.",
        "max_p99_increase",
    )


class NoiseSettings(Section):
    """How shadowdiff learns v1's own noise: values that differ between two instances of v1."""

    learn: int = setting(
        1000,
        "How many of the control's responses shadowdiff compares with v1's before it gives a verdict. It is also the "
        "minimum number of pairs for a calibration.",
        ge=20,
        le=1_000_000,
    )


class HeaderSettings(Section):
    """Which response headers are compared; see docs/comparing.md for the defaults."""

    compare: Distinct[HeaderName] = setting(
        (),
        "Headers to compare although they are excluded by default. x-foo-* means every header that starts with x-foo-.",
    )
    exclude: Distinct[HeaderName] = setting(
        (), "Headers to exclude, in addition to the default. x-foo-* means every header that starts with x-foo-."
    )

    @model_validator(mode="after")
    def _disjoint(self) -> HeaderSettings:
        both = sorted(set(self.compare) & set(self.exclude))
        if both:
            raise ValueError(f"{both[0]} is in both compare and exclude; remove it from one of them")
        return self


class ProtobufSettings(Section):
    """The descriptors with which shadowdiff decodes Protocol Buffers. Without them, it compares the bytes."""

    descriptor_set: Text = setting(
        ...,
        "The file that `protoc --include_imports --descriptor_set_out` writes. The path is relative to the "
        "configuration file.",
    )
    answers: dict[Route, str] = setting(
        {},
        "For Protocol Buffers in responses that are not gRPC: a map from routes, such as GET /products/{id}, to "
        "message names; see docs/grpc.md.",
    )


class TargetSettings(Section):
    """One service under comparison."""

    name: TargetName = setting(..., "The name of the target in metrics, pages and gates.")
    hosts: Distinct[HostName] = setting(
        ...,
        "The hosts of the target. A mirrored request belongs to the target if its Host header is one of them. "
        "`*.shop.example` means every name below shop.example.",
        min_length=1,
    )
    sample: Share = setting(
        1.0, "The share of requests to compare. shadowdiff and the recorders select the same requests, by their ids."
    )
    methods: Distinct[Method] = setting(
        ("GET", "HEAD", "OPTIONS"),
        "What shadowdiff sends to v2 and compares: methods, such as GET, or methods of one route, such as POST "
        "/orders/{id}. It only counts other requests.",
        min_length=1,
    )
    include: tuple[ConditionSettings, ...] = setting(
        (),
        "The conditions of the requests to compare: a template, such as GET /products/{id}, the start of a path, such "
        "as /api/*, or a map with route, path, header and users; see docs/routes.md. If unset, all are compared.",
        max_length=MOST_CONDITIONS,
    )
    exclude: tuple[ConditionSettings, ...] = setting(
        (),
        "The conditions of the requests that shadowdiff does not compare, in the same form as in `include`.",
        max_length=MOST_CONDITIONS,
    )
    routes: Distinct[Route] = setting(
        (),
        "The path templates of the service, such as /products/{id}. If unset, shadowdiff infers them from the traffic.",
    )
    graphql: Distinct[GraphqlPath] = setting(
        (),
        "The paths of GraphQL endpoints, such as /graphql. Each operation there is a route. Of these operations, "
        "shadowdiff sends only queries to v2, also with POST; see docs/graphql.md.",
    )
    openapi: Text | None = setting(
        None,
        "An OpenAPI file that contains the routes, instead of `routes`. The path is relative to the configuration "
        "file.",
    )
    body_types: dict[AnyRoute, BodyType] = setting(
        {},
        "The types of response bodies, which replace the Content-Type: a map from routes, such as GET /feed, /feed, or "
        "* for every route, to types, such as application/json; see docs/comparing.md.",
    )
    rules: tuple[dict[str, Any], ...] = setting((), "The rules: differences that you accept; see docs/rules.md.")
    headers: HeaderSettings = HeaderSettings()
    candidate: CandidateSettings = setting(..., "v2.")
    control: ControlSettings | None = setting(None, "A second v1 that serves no users.")
    noise: NoiseSettings = NoiseSettings()
    protobuf: ProtobufSettings | None = setting(None, "The descriptors of gRPC and Protocol Buffers.")
    gate: GateSettings = GateSettings()

    def target(self, routes_of_openapi: tuple[str, ...]) -> Target:
        """Return the target as the stages use it."""
        values = {name: getattr(self, name) for name in Target.__struct_fields__ if hasattr(self, name)}
        values |= {
            "routes": self.routes or routes_of_openapi,
            "include": tuple(each.condition() for each in self.include),
            "exclude": tuple(each.condition() for each in self.exclude),
            "learn": self.noise.learn,
            "compare_headers": self.headers.compare,
            "exclude_headers": self.headers.exclude,
            "body_types": tuple(self.body_types.items()),
        }
        return msgspec.convert(values, Target, from_attributes=True)


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
