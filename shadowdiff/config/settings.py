"""The declarations of all settings: YAML key, type with limits, default and help text.

A field's name has the unit that its value has after parsing (`window_s`); its YAML key has none (`window`).
Environment variables, the JSON Schema, the chart's schema and docs/configuration.md are derived from this module;
`scripts/draw_settings.py` writes the files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, cast

import msgspec
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from shadowdiff.config.api_descriptions import ProtobufConfig
from shadowdiff.config.secrets import Key, Password, Token
from shadowdiff.config.value_types import (
    Distinct,
    Duration,
    Expression,
    Folder,
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
    Text,
    TraceUrl,
    Url,
    WebhookFormat,
    WebhookUrl,
    lower,
)
from shadowdiff.model import HostPolicy, Target
from shadowdiff.notify.formats import DEFAULT
from shadowdiff.rules import Rule

CLUSTER_SHARDS = 16
"""Spreads the keys evenly over the masters of a small cluster; each further shard costs a batch of its own."""
_SECRET = "an environment variable, or a file (with a / in its path)"  # noqa: S105 - a help text


def setting(default: Any, description: str, key: str | None = None, **bounds: Any) -> Any:
    """Declare a setting. default: `...` if it is required. key: in YAML, if it is not the field's name."""
    return Field(default, description=description, alias=key, **bounds)


class Section(BaseModel):
    """A part of the file. It rejects unknown keys and never changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True, validate_by_name=True)


class StoreConfig(Section):
    """Redis, where observations wait for their partners and where the counts are kept."""

    url: StoreUrl | None = setting(None, "The URL of Redis: a server, a cluster or sentinels. Unset: embedded Redis.")
    username: Text | None = setting(None, "The user in Redis' access control list.")
    password: Password | None = setting(None, f"Where the password is: {_SECRET}.")
    ca: Text | None = setting(None, "A PEM file with the CAs that sign Redis' certificate.")
    cert: Text | None = setting(None, "A PEM file with the client certificate for Redis.")
    cert_key: Text | None = setting(None, "A PEM file with the key of `store.cert`.")
    sentinel_username: Text | None = setting(None, "The user in the sentinels' access control list.")
    sentinel_password: Password | None = setting(None, f"Where the sentinels' password is: {_SECRET}.")
    sentinel_tls: bool | None = setting(
        None, "Whether sentinels use TLS. Unset: only if the URL is rediss+sentinel://."
    )
    prefix: Prefix = setting("sd", "Prefix of every key, so that several services can share one Redis.")
    shards: int = setting(
        1, "Number of hash tags: 1 on one Redis, 16 on a cluster. Fixed while the store has data.", ge=1, le=1024
    )
    data_dir: Folder | None = setting(None, "The folder of the embedded store. Unset: the user's state folder.")
    key: Key | None = setting(None, f"Where the key that encrypts observations (32 bytes, base64) is: {_SECRET}.")
    flush_ms: float = setting(
        25.0,
        "Milliseconds of batching writes; up to four times as long if workers or many shards share the load.",
        ge=0,
        le=1000,
    )
    queue: int = setting(20_000, "Observations that may wait in memory for the store; further ones are shed.", ge=1)
    depth: int = setting(
        1_000_000, "Observations and ready pairs that may be in the store, in all shards; further ones are shed.", ge=1
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

    window_s: Period = setting(30.0, "How long an observation waits for its partner.", "window")
    settle_s: Duration = setting(1.0, "How long a pair waits for a retry of its request.", "settle")
    id_headers: Distinct[HeaderName] = setting(
        ("x-diff-id", "x-request-id", "traceparent"),
        "Headers with the request's id; the first one present is used.",
        min_length=1,
    )
    claim_idle_s: Period = setting(15.0, "Time until another worker takes over unfinished work.", "claim_idle")


class ListenConfig(Section):
    """Addresses and ports. Port 0 means any free port."""

    host: Text = setting("0.0.0.0", "The address of the mirror, records and metrics ports.")
    mirror: Port = setting(8080, "The port for mirrored requests.")
    records: Port = setting(8081, "The port for recorded responses.")
    web: Port = setting(8082, "The port of pages, API and gates.")
    web_host: Text = setting(
        "127.0.0.1", "The address of the web port. If others can reach it, you must set something under `access`."
    )
    metrics: Port = setting(9090, "The port of metrics and health checks.")


class TlsConfig(Section):
    """The certificate of one port. Its files are reloaded when they change."""

    cert: Text = setting(..., "A PEM file with the certificate chain.")
    key: Text = setting(..., "A PEM file with its key.")
    client_ca: Text | None = setting(None, "A PEM file of CAs; only clients with a certificate from them may connect.")


class PortsTls(Section):
    """The ports that use TLS. Unset: plain HTTP, which a mesh or a proxy can encrypt.

    Renewed certificates are loaded within a minute; a CA that is removed from `client_ca` is trusted until a restart.
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

    name: TargetName = setting(..., "The name of the token's user, which the audit log shows.")
    role: Role = setting("read", "read, or write. Users with write may also change rules, runs and triage.")
    secret: Token = setting(..., f"Where the token (16 characters or more) is: {_SECRET}.")


class ProxyConfig(Section):
    """A proxy in front of the web port that authenticates people."""

    peers: Distinct[Network] = setting(
        ..., "The networks of the proxy. In requests from elsewhere, its headers are ignored.", min_length=1
    )
    user_header: HeaderName = setting("x-forwarded-user", "The header with the user's name.")
    groups_header: HeaderName = setting("x-forwarded-groups", "The header with the user's groups, separated by commas.")
    read: tuple[str, ...] = setting(("*",), "Groups that may read; * means everyone.")
    write: tuple[str, ...] = setting((), "Groups that may also write; * means everyone.")


class AccessConfig(Section):
    """Who may use the web port, and who may send records; see [access](access.md)."""

    tokens: tuple[TokenConfig, ...] = setting((), "Bearer tokens, each with a name and a role.")
    proxy: ProxyConfig | None = setting(None, "A proxy that sends the user's name in a header.")
    anonymous: Literal["none", "read", "write"] | None = setting(
        None,
        "What callers without credentials may do. Unset: everything if the port is on loopback and there are no tokens "
        "and no proxy, else nothing.",
    )
    session_s: Period = setting(43200.0, "How long a login on the pages lasts.", "session")
    attempts: int = setting(
        10, "Wrong tokens allowed per minute from one address, for each of web port, hooks and records port.", ge=1
    )
    records: Distinct[Token] = setting(
        (), f"Where each token for recorders is: {_SECRET}. Unset: recorders need no token."
    )
    hooks: Token | None = setting(
        None,
        f"Where the token that Flagger's hooks send in their metadata is: {_SECRET}. Unset: hooks need no token, "
        "unless other callers do.",
    )


class LimitsConfig(Section):
    """Limits. Traffic over a limit is shed or truncated, and counted."""

    body_bytes: Size = setting(1 << 20, "Bytes kept of one body. Longer ones are truncated and never compared.", "body")
    in_flight: int = setting(2000, "Mirrored requests handled at once.", ge=1)
    in_flight_bytes: Size = setting(256 << 20, "Bytes of mirrored requests in memory at once.")
    decoded_bytes: Size = setting(16 << 20, "Bytes of one body after decompression.", "decoded")
    differences: int = setting(100, "Differences listed per pair; further ones are only counted.", ge=1, le=10_000)
    compare_ms: float = setting(2000.0, "Time limit of one comparison, in ms.", gt=0)
    records_per_source: int = setting(0, "Records per second from one address; the rest is shed. 0: no limit.", ge=0)
    routes: int = setting(200, "Routes counted separately per target; further ones count as _other.", ge=1)
    paths: int = setting(1000, "Differing paths counted separately per target; further ones count as _other.", ge=1)
    fingerprints: int = setting(1000, "Fingerprints kept separately per target; further ones count as _other.", ge=1)


class SamplesConfig(Section):
    """Differing pairs that are stored so that people can read them."""

    keep: int = setting(
        1000, "Samples per target. Over this limit, the fingerprint with the most loses its oldest.", ge=0
    )
    per_fingerprint: int = setting(20, "Samples per fingerprint.", ge=1)
    size_bytes: Size = setting(64 << 20, "Bytes of all samples of a target, compressed.", "size")
    max_age_s: Period = setting(86400.0, "How long a sample is kept.", "max_age")
    body_bytes: Size = setting(64 << 10, "Bytes kept of each body in a sample.", "body")


class RedactionConfig(Section):
    """What is redacted before anything is stored, in addition to the [built-in list](reports.md)."""

    names: tuple[str, ...] = setting((), "Names of fields, parameters, elements and headers whose values are secrets.")
    headers: tuple[HeaderName, ...] = setting((), "Headers whose values are secrets.")
    allow: tuple[str, ...] = setting(
        (),
        "Names of fields, parameters, elements and headers that are shown although a word in them suggests a secret, "
        "such as page_token. Case and punctuation are ignored.",
    )
    paths: tuple[str, ...] = setting(
        (),
        "RFC 9535 paths such as $.user.ssn or $..ssn. In JSON, every value there is a secret; in other formats, every "
        "value under the path's last name.",
    )
    patterns: tuple[Expression, ...] = setting(
        (), "Regular expressions (RE2) of secrets in any text, such as CUST-[0-9]{8}."
    )
    builtin: bool = setting(
        default=True, description="Find cards, IBANs, e-mail addresses, tokens and private keys by their format."
    )


class WebConfig(Section):
    """The pages."""

    url: PublicUrl | None = setting(
        None,
        "The public URL of the pages, such as https://shadowdiff.example, for links in verdicts, gates and webhooks. "
        "Unset: links use the URL of the request, and webhooks have no links.",
    )
    trace_url: TraceUrl | None = setting(None, "The URL of a trace, such as https://jaeger.example/trace/{trace_id}.")


class LogConfig(Section):
    """What is written to standard error."""

    format: Literal["json", "text", "auto"] = setting("auto", "json, text, or auto (text on a terminal, else json).")
    level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(lower)] = setting(
        "info", "The lowest level that is written."
    )


class TelemetryConfig(Section):
    """What is pushed to an OpenTelemetry collector. If `otlp` is unset, nothing is pushed."""

    otlp: Url | None = setting(None, "The collector's OTLP/HTTP endpoint, such as http://collector:4318.")
    traces: bool = setting(
        default=True, description="Push a span for each comparison, linked to the spans of v1 and v2."
    )
    metrics: bool = setting(default=True, description="Push the metrics of /metrics.")
    sample: Literal["parent"] | Share = setting(
        "parent", "Which comparisons get a span: parent (only if the request was sampled), or a share of all."
    )
    queue: int = setting(2048, "Spans that may wait for the collector; further ones are dropped and counted.", ge=1)
    interval_s: Period = setting(60.0, "How often metrics are pushed.", "interval")


class WebhookConfig(Section):
    """A receiver of [webhook notifications](webhooks.md)."""

    url: WebhookUrl = setting(..., "The URL that receives each event, as a POST of JSON.")
    format: WebhookFormat = setting(DEFAULT, "The format of an event.")
    events: Distinct[Literal["fingerprint.new", "verdict.changed"]] = setting(
        ("fingerprint.new", "verdict.changed"), "The events to send.", min_length=1
    )
    targets: tuple[TargetName, ...] = setting((), "The targets whose events are sent. Unset: all.")
    secret: Token | None = setting(None, f"Where the secret that signs each post is: {_SECRET}.")


class CandidateSettings(Section):
    """v2."""

    url: Url = setting(..., "Scheme and authority of v2, with an optional path prefix.")
    timeout_s: Period = setting(10.0, "How long v2 may take; a slower response counts as a difference.", "timeout")
    queue_timeout_s: Period = setting(5.0, "How long a request may wait before it is sent to v2.", "queue_timeout")
    concurrency: int = setting(128, "Requests sent to v2 at once.", ge=1)
    queue: int = setting(1024, "Requests that may wait to be sent to v2.", ge=0)
    host: HostPolicy = setting(
        HostPolicy.CANDIDATE, "The Host header that v2 receives: its own (candidate), or the user's (preserve)."
    )
    revision_header: HeaderName = setting("x-version", "The response header with v2's revision.")
    revalidate: Share = setting(
        0.1,
        "Share of the requests with a validator that v2 receives again with its own ETag, because users only have v1's "
        "ETags; see [304](comparing.md#not-modified).",
    )


class ControlSettings(Section):
    """A second v1 that serves no users and shows v1's own noise."""

    url: Url = setting(..., "Scheme and authority of the control, with an optional path prefix.")
    sample: Share = setting(0.05, "Share of the pairs for which the request is also sent to the control.")
    timeout_s: Period = setting(10.0, "How long the control may take.", "timeout")


class GateSettings(Section):
    """The limits for a `pass`."""

    max_mismatch_ratio: Share = setting(0.001, "The share of pairs that may differ.")
    min_coverage: Share = setting(0.95, "The share of v1's traffic that must be compared.")
    max_p99_increase_s: Duration | None = setting(
        None, "How much v2's p99 latency may exceed v1's. Unset: latency does not count.", "max_p99_increase"
    )


class NoiseSettings(Section):
    """How v1's own noise is learned."""

    learn: int = setting(
        1000,
        "Responses of the control from which noise is learned before a verdict; also the minimum number of pairs for "
        "a calibration.",
        ge=20,
        le=1_000_000,
    )


class HeaderSettings(Section):
    """Which response headers are compared; see docs/comparing.md for the defaults."""

    compare: Distinct[HeaderName] = setting(
        (), "Headers that are compared although they are excluded by default. A trailing * matches a prefix."
    )
    exclude: Distinct[HeaderName] = setting((), "More headers that are not compared. A trailing * matches a prefix.")

    @model_validator(mode="after")
    def _disjoint(self) -> HeaderSettings:
        both = sorted(set(self.compare) & set(self.exclude))
        if both:
            raise ValueError(f"{both[0]} is in both compare and exclude; remove it from one of them")
        return self


class ProtobufSettings(Section):
    """Descriptors to decode Protocol Buffers with; without them the bytes are compared."""

    descriptor_set: Text = setting(
        ..., "A file from protoc --include_imports --descriptor_set_out, relative to the configuration file."
    )
    answers: dict[Route, str] = setting(
        {}, "For responses without gRPC: the message name of each route, such as GET /products/{id}; see docs/grpc.md."
    )


class TargetSettings(Section):
    """One service under comparison."""

    name: TargetName = setting(..., "The target's name in metrics, pages and gates.")
    hosts: Distinct[HostName] = setting(..., "The Host headers of the target's mirrored requests.", min_length=1)
    sample: Share = setting(1.0, "Share of the requests that are compared, selected by id so that both sides agree.")
    methods: Distinct[Method] = setting(
        ("GET", "HEAD", "OPTIONS"),
        "What is sent to v2 and compared: methods, such as GET, or methods of one route, such as POST /orders/{id}. "
        "Other requests are counted, and not sent.",
        min_length=1,
    )
    routes: Distinct[Route] = setting((), "Path templates such as /products/{id}. Unset: routes are inferred.")
    openapi: Text | None = setting(
        None, "An OpenAPI file with the routes, instead of `routes`. Relative to the configuration file."
    )
    rules: tuple[dict[str, Any], ...] = setting((), "Differences that are accepted; see docs/rules.md.")
    headers: HeaderSettings = HeaderSettings()
    candidate: CandidateSettings = setting(..., "v2.")
    control: ControlSettings | None = setting(None, "A second v1 without users.")
    noise: NoiseSettings = NoiseSettings()
    protobuf: ProtobufSettings | None = setting(None, "Descriptors of gRPC and Protocol Buffers.")
    gate: GateSettings = GateSettings()

    def target(self, routes_of_openapi: tuple[str, ...]) -> Target:
        """Return the target as the stages use it."""
        values = {name: getattr(self, name) for name in Target.__struct_fields__ if hasattr(self, name)}
        values |= {
            "routes": self.routes or routes_of_openapi,
            "learn": self.noise.learn,
            "compare_headers": self.headers.compare,
            "exclude_headers": self.headers.exclude,
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
    drain_s: Duration = setting(10.0, "How long shadowdiff may take to finish accepted work when it stops.", "drain")


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
