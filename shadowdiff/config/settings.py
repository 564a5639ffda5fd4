"""The shape of the YAML: every setting, its type, its default and what it means.

In: plain data.  Out: checked settings, still in the words of the file (`window`, not `window_s`).
Holds: unknown keys are refused; each value's check says what would be right; the JSON Schema for editors and the
reference in docs/configuration.md are held against this module.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from shadowdiff.config.kinds import (
    Duration,
    Expression,
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
    SecretName,
    Share,
    Size,
    StoreUrl,
    TargetName,
    Url,
    WebhookUrl,
    distinct,
    lower,
)
from shadowdiff.model import HostPolicy

CLUSTER_SHARDS = 16
"""Three masters hold 6, 5 and 5 of them; each shard is a batch of its own, so that more of them cost more."""


class Settings(BaseModel):
    """What all parts of the file hold to: no unknown key, no later change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Store(Settings):
    """Where observations wait for their partners, and where the counts are kept."""

    url: StoreUrl | None = Field(
        default=None, description="Redis, one or a cluster. Left out: an embedded one serves this machine."
    )
    username: str | None = Field(default=None, min_length=1, description="The user of Redis' access list.")
    password: SecretName | None = Field(
        default=None, description="Where the password is: an environment variable, or a file (with a / in it)."
    )
    ca: str | None = Field(default=None, min_length=1, description="The file of the CAs of Redis' certificate.")
    cert: str | None = Field(default=None, min_length=1, description="The file of the certificate shown to Redis.")
    cert_key: str | None = Field(default=None, min_length=1, description="The file of that certificate's key.")
    sentinel_username: str | None = Field(
        default=None, min_length=1, description="The user of the sentinels' own access list."
    )
    sentinel_password: SecretName | None = Field(
        default=None,
        description="Where the sentinels' own password is: an environment variable, or a file (with a / in it).",
    )
    sentinel_tls: bool | None = Field(
        default=None, description="Whether the sentinels speak TLS. Left out: as the URL says, which is of the servers."
    )
    prefix: Prefix = Field(default="sd", description="Begins every key, so that several services can share one Redis.")
    shards: int = Field(
        default=1,
        ge=1,
        le=1024,
        description="Hash tags: 1 on a single Redis, 16 on a cluster. Fixed for a store's life.",
    )
    data_dir: str | None = Field(
        default=None, min_length=1, description="The embedded store's folder. Left out: the user's state folder."
    )
    key: str | None = Field(
        default=None,
        min_length=1,
        description="Where the key that encrypts waiting observations is (32 bytes as base64): "
        "the name of an environment variable, or of a file (with a / in it).",
    )
    flush_ms: float = Field(
        default=25.0,
        ge=0,
        le=1000,
        description="How long calls are gathered into one script call; up to four times as long where workers or many "
        "shards share the load.",
    )
    queue: int = Field(default=20_000, ge=1, description="Observations that may wait for the store; more are shed.")
    depth: int = Field(
        default=1_000_000,
        ge=1,
        description="Observations and ready pairs that may lie in the store, over all its shards; more are shed.",
    )

    @model_validator(mode="before")
    @classmethod
    def _shards_of_a_cluster(cls, stated: Any) -> Any:
        """Spread a cluster's keys over its masters, unless the file says how far."""
        if isinstance(stated, dict) and "+cluster://" in str(cast("dict[str, Any]", stated).get("url", "")):
            return {"shards": CLUSTER_SHARDS} | cast("dict[str, Any]", stated)
        return cast("Any", stated)


class Pairing(Settings):
    """How two answers to one request find each other."""

    window: Period = Field(default=30.0, description="How long an observation waits for its partner.")
    settle: Duration = Field(default=1.0, description="How long an answer that may be retried waits to be the last.")
    id_headers: Annotated[tuple[HeaderName, ...], AfterValidator(distinct)] = Field(
        default=("x-diff-id", "x-request-id", "traceparent"),
        min_length=1,
        description="Where a request's id is looked for; the first one present counts.",
    )
    claim_idle: Period = Field(default=15.0, description="After this, another worker takes over what one left undone.")


class Listen(Settings):
    """The addresses; port 0 is any free port."""

    host: str = Field(default="0.0.0.0", min_length=1, description="The address of mirror, records and metrics.")
    mirror: Port = Field(default=8080, description="Mirrored requests.")
    records: Port = Field(default=8081, description="Recorded responses.")
    web: Port = Field(default=8082, description="Pages, API and gates.")
    web_host: str = Field(default="127.0.0.1", min_length=1, description="The address of pages, API and gates.")
    metrics: Port = Field(default=9090, description="Metrics and health.")


class TlsSettings(Settings):
    """A port's certificate. Its files are read anew when they change."""

    cert: str = Field(min_length=1, description="The file of the certificate chain, PEM.")
    key: str = Field(min_length=1, description="The file of its key, PEM.")
    client_ca: str | None = Field(
        default=None,
        min_length=1,
        description="A file of CAs, PEM: only clients with a certificate of theirs may connect.",
    )


class Tls(Settings):
    """Ports that speak TLS. Left out: plain HTTP, for a mesh or a proxy to wrap."""

    mirror: TlsSettings | None = Field(default=None, description="The mirror port.")
    records: TlsSettings | None = Field(default=None, description="The records port.")
    web: TlsSettings | None = Field(default=None, description="The port of pages, API and gates.")
    metrics: TlsSettings | None = Field(default=None, description="The port of metrics and health.")


class AccessToken(Settings):
    """A bearer token."""

    name: TargetName = Field(description="Who bears it, for the audit log.")
    role: Role = Field(default="read", description="read, or write: may also change rules, epochs and the like.")
    secret: SecretName = Field(
        description="Where the token is (16 characters or more): an environment variable, or a file (with a / in it)."
    )


class ProxySettings(Settings):
    """A proxy in front that has asked people who they are."""

    peers: Annotated[tuple[Network, ...], AfterValidator(distinct)] = Field(
        min_length=1, description="The networks that it asks from; from elsewhere its headers count for nothing."
    )
    user_header: HeaderName = Field(default="x-forwarded-user", description="The header that names the user.")
    groups_header: HeaderName = Field(
        default="x-forwarded-groups", description="The header that lists the user's groups, between commas."
    )
    read: tuple[str, ...] = Field(default=("*",), description="Groups that may read; * is everyone.")
    write: tuple[str, ...] = Field(default=(), description="Groups that may write as well; * is everyone.")


class Access(Settings):
    """Who may read and change what the web port shows, and who may record; see docs/access.md."""

    tokens: tuple[AccessToken, ...] = Field(default=(), description="Bearer tokens, each with a name and a role.")
    proxy: ProxySettings | None = Field(default=None, description="A proxy that names the user in a header.")
    anonymous: Literal["none", "read", "write"] | None = Field(
        default=None,
        description="What callers without credentials may do. Left out: all on a loopback port without tokens and "
        "proxy, else nothing.",
    )
    session: Period = Field(default=43200.0, description="How long a login by the pages lasts.")
    attempts: int = Field(
        default=10,
        ge=1,
        description="Wrong tokens a minute that one source may bring, to each of web port, hooks and records port.",
    )
    records: Annotated[tuple[SecretName, ...], AfterValidator(distinct)] = Field(
        default=(), description="Where the tokens are of which recorders must bring one. Left out: none is needed."
    )
    hooks: SecretName | None = Field(
        default=None,
        description="Where the token is that Flagger's hooks must bring in their metadata, since they send no headers. "
        "Left out: none is needed, unless others need credentials.",
    )


class WebhookSettings(Settings):
    """A receiver of news; see docs/webhooks.md."""

    url: WebhookUrl = Field(description="Where news is posted, as JSON.")
    events: Annotated[tuple[Literal["fingerprint.new", "verdict.changed"], ...], AfterValidator(distinct)] = Field(
        default=("fingerprint.new", "verdict.changed"), min_length=1, description="What it is told."
    )
    targets: tuple[TargetName, ...] = Field(default=(), description="Of these targets alone. Left out: of all.")
    secret: SecretName | None = Field(
        default=None, description="Where the secret is that signs each post: an environment variable, or a file."
    )


class Limits(Settings):
    """The bounds. What goes past them is shed, or cut short, and counted."""

    body: Size = Field(
        default=1 << 20, description="Bytes kept of one body; a longer one is truncated, never compared."
    )
    in_flight: int = Field(default=2000, ge=1, description="Mirrored requests at work at once.")
    in_flight_bytes: Size = Field(default=256 << 20, description="Bytes of mirrored requests held in memory at once.")
    decoded: Size = Field(default=16 << 20, description="Bytes of one body after decompression.")
    differences: int = Field(
        default=100, ge=1, le=10_000, description="Differences listed of one pair; more are counted."
    )
    compare_ms: float = Field(default=2000.0, gt=0, description="Time for one comparison.")
    records_per_source: int = Field(
        default=0, ge=0, description="Records a second that one address may send; more are shed. 0: any number."
    )
    routes: int = Field(default=200, ge=1, description="Routes counted apart per target; more count as _other.")
    paths: int = Field(
        default=1000, ge=1, description="Differing paths counted apart per target; more count as _other."
    )
    fingerprints: int = Field(
        default=1000, ge=1, description="Fingerprints kept apart per target; more count as _other."
    )


class Samples(Settings):
    """Differing pairs, kept to be looked at."""

    keep: int = Field(
        default=1000, ge=0, description="Samples per target; what is too much goes from the fault with most."
    )
    per_fingerprint: int = Field(default=20, ge=1, description="Samples per fingerprint.")
    size: Size = Field(default=64 << 20, description="Bytes of a target's samples together, compressed.")
    max_age: Period = Field(default=86400.0, description="How long a sample is kept.")
    body: Size = Field(default=64 << 10, description="Bytes kept of each body in a sample.")


def _trace_url(value: str) -> str:
    if not re.fullmatch(r"https?://[^\s{}]+\{trace_id\}[^\s{}]*", value):
        raise ValueError("write http:// or https://, and {trace_id} once where the id belongs")
    if "@" in value.split("/")[2]:
        raise ValueError("write the URL without user and password: it stands on pages")
    return value


class Redaction(Settings):
    """What is taken for a secret beside what always is, and replaced before anything is stored."""

    names: tuple[str, ...] = Field(
        default=(), description="Names of fields, parameters, elements and headers under which secrets stand."
    )
    headers: tuple[HeaderName, ...] = Field(default=(), description="Headers whose values are secrets.")
    paths: tuple[str, ...] = Field(
        default=(),
        description="RFC 9535 paths such as $.user.ssn or $..ssn: all that stands there in JSON is a secret; "
        "elsewhere, all under their last name.",
    )
    patterns: tuple[Expression, ...] = Field(
        default=(), description="Regular expressions (RE2) of secrets in any text, such as CUST-[0-9]{8}."
    )
    builtin: bool = Field(
        default=True, description="Find cards, IBANs, e-mail addresses, tokens, keys and private keys by their look."
    )


class Web(Settings):
    """The pages."""

    url: PublicUrl | None = Field(
        default=None,
        description="Where people find the pages, such as https://shadowdiff.example, for the links in verdicts, gates "
        "and webhooks. Left out: the address that was asked, and in webhooks none.",
    )
    trace_url: Annotated[str, AfterValidator(_trace_url)] | None = Field(
        default=None,
        description="Where traces are shown, with {trace_id} in the place of the id, such as "
        "https://jaeger.example/trace/{trace_id}.",
    )


class Log(Settings):
    """What is written to standard error."""

    format: Literal["json", "text", "auto"] = Field(
        default="auto", description="json, text, or auto: text on a terminal, else json."
    )
    level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(lower)] = Field(
        default="info", description="The least that is written."
    )


class Telemetry(Settings):
    """What is pushed to an OpenTelemetry collector. Without `otlp` nothing is, and nothing of it is loaded."""

    otlp: Url | None = Field(
        default=None, description="Where the collector takes OTLP over HTTP, such as http://collector:4318."
    )
    traces: bool = Field(default=True, description="Push a span for each comparison, linked to v1's and v2's.")
    metrics: bool = Field(default=True, description="Push what /metrics shows.")
    sample: Literal["parent"] | Share = Field(
        default="parent", description="Comparisons that get a span: parent (whose request was sampled), or a share."
    )
    queue: int = Field(default=2048, ge=1, description="Spans held for the collector; more are dropped and counted.")
    every: Period = Field(default=60.0, description="How often metrics are pushed.")


class CandidateSettings(Settings):
    """v2."""

    url: Url = Field(description="Scheme and authority of v2, with an optional path prefix.")
    timeout: Period = Field(default=10.0, description="How long v2 may take; more is a difference.")
    queue_timeout: Period = Field(default=5.0, description="How long a request may wait for its turn to ask v2.")
    concurrency: int = Field(default=128, ge=1, description="Requests to v2 at once.")
    queue: int = Field(default=1024, ge=0, description="Requests that may wait for their turn.")
    host: HostPolicy = Field(default=HostPolicy.CANDIDATE, description="The Host that v2 sees: its own, or the user's.")
    revision_header: HeaderName = Field(
        default="x-version", description="The response header that names v2's revision."
    )


class ControlSettings(Settings):
    """A second v1 that no user reaches: it shows v1's own noise."""

    url: Url = Field(description="Scheme and authority of the control, with an optional path prefix.")
    sample: Share = Field(default=0.05, description="Share of the pairs that ask the control too.")
    timeout: Period = Field(default=10.0, description="How long the control may take.")


class GateSettings(Settings):
    """What a verdict allows."""

    max_mismatch_ratio: Share = Field(default=0.001, description="The share of pairs that may differ.")
    min_coverage: Share = Field(default=0.95, description="The share of v1's traffic that the numbers must speak for.")
    max_p99_increase: Duration | None = Field(
        default=None, description="How much longer v2's p99 may take than v1's. Left out: latency decides nothing."
    )


class NoiseSettings(Settings):
    """How v1's own noise is learned."""

    learn: int = Field(
        default=1000,
        ge=20,
        le=1_000_000,
        description="Answers of the control that the noise is learned from, before any verdict; "
        "while calibrating, the least number of pairs.",
    )


class ProtobufSettings(Settings):
    """What reads messages of Protocol Buffers; without it their bytes are compared."""

    descriptor_set: str = Field(
        min_length=1, description="A file of protoc --include_imports --descriptor_set_out, beside the configuration's."
    )
    answers: dict[Route, str] = Field(
        default={},
        description="Of answers without gRPC: the route, such as GET /products/{id}, and its message's name.",
    )


class TargetSettings(Settings):
    """One service under comparison."""

    name: TargetName = Field(description="Names the target in metrics, pages and gates.")
    hosts: Annotated[tuple[HostName, ...], AfterValidator(distinct)] = Field(
        min_length=1, description="The hosts that it is mirrored under."
    )
    candidate: CandidateSettings = Field(description="v2.")
    control: ControlSettings | None = Field(default=None, description="A second v1 without users.")
    noise: NoiseSettings = Field(default=NoiseSettings(), description="How v1's own noise is learned.")
    sample: Share = Field(default=1.0, description="Share of the requests compared, drawn by id on both sides.")
    methods: Annotated[tuple[Method, ...], AfterValidator(distinct)] = Field(
        default=("GET", "HEAD", "OPTIONS"), min_length=1, description="Others are acknowledged and not forwarded."
    )
    routes: Annotated[tuple[Route, ...], AfterValidator(distinct)] = Field(
        default=(), description="Templates of paths, such as /products/{id}. Left out: inferred."
    )
    openapi: str | None = Field(
        default=None, min_length=1, description="A file that names the routes instead, beside the configuration's own."
    )
    protobuf: ProtobufSettings | None = Field(default=None, description="Descriptors of gRPC and Protocol Buffers.")
    gate: GateSettings = Field(default=GateSettings(), description="What a verdict allows.")
    rules: tuple[dict[str, Any], ...] = Field(
        default=(), description="What is declared not to matter, or to matter less; see docs/rules.md."
    )


class Root(Settings):
    """The whole file."""

    store: Store = Field(default=Store(), description="Where observations wait.")
    pairing: Pairing = Field(default=Pairing(), description="How answers find each other.")
    listen: Listen = Field(default=Listen(), description="Addresses and ports.")
    tls: Tls = Field(default=Tls(), description="Ports that speak TLS.")
    access: Access = Field(default=Access(), description="Who may read, change and record.")
    limits: Limits = Field(default=Limits(), description="The bounds.")
    samples: Samples = Field(default=Samples(), description="Differing pairs kept to be looked at.")
    redaction: Redaction = Field(default=Redaction(), description="What is taken for a secret.")
    web: Web = Field(default=Web(), description="The pages.")
    log: Log = Field(default=Log(), description="What is written to standard error.")
    telemetry: Telemetry = Field(default=Telemetry(), description="What is pushed to an OpenTelemetry collector.")
    drain: Duration = Field(default=10.0, description="How long a stop may take to finish what was accepted.")
    webhooks: tuple[WebhookSettings, ...] = Field(default=(), description="Who is told what is new.")
    targets: tuple[TargetSettings, ...] = Field(default=(), description="The services under comparison.")
