"""The configuration as the rest of the project takes it: frozen values with their units in their names.

Holds: everything here was checked; a secret never shows in a `repr`.
"""

from __future__ import annotations

import hmac
from pathlib import Path
from typing import Literal

import msgspec

from shadowdiff.model import Target
from shadowdiff.rules import Rule


class Secret:
    """Bytes that no log line, error or `repr` shows."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = value

    def reveal(self) -> bytes:
        """Return the bytes themselves."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value, other.reveal())

    def __hash__(self) -> int:
        return hash(self._value)


class StoreConfig(msgspec.Struct, frozen=True, kw_only=True):
    """url: None means the embedded store, in `data_dir` (None: its own default).

    key: 32 bytes that encrypt the buffer, or None.  ca, cert, cert_key: PEM files of a rediss:// connection.
    """

    url: str | None
    prefix: str
    shards: int
    data_dir: Path | None
    key: Secret | None
    flush_ms: float
    queue: int
    depth: int = 1_000_000
    username: str | None = None
    password: Secret | None = None
    ca: str | None = None
    cert: str | None = None
    cert_key: str | None = None
    sentinel_username: str | None = None
    sentinel_password: Secret | None = None
    sentinel_tls: bool | None = None


class PairingConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How long observations wait, and where their id is looked for (names in lower case)."""

    window_s: float
    settle_s: float
    id_headers: tuple[str, ...]
    claim_idle_s: float


class ListenConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Addresses and ports; port 0 is any free port. `web_host` is for `web` alone."""

    host: str
    mirror: int
    records: int
    web: int
    web_host: str
    metrics: int


class TlsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A port's certificate, its key, and the CAs of clients that may connect: PEM files."""

    cert: str
    key: str
    client_ca: str | None


class PortsTls(msgspec.Struct, frozen=True, kw_only=True):
    """The ports that speak TLS; None: plain HTTP."""

    mirror: TlsConfig | None = None
    records: TlsConfig | None = None
    web: TlsConfig | None = None
    metrics: TlsConfig | None = None

    def of(self, port: str) -> TlsConfig | None:
        """Return a port's, by its name."""
        found: TlsConfig | None = getattr(self, port)
        return found


class TokenConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A bearer token."""

    name: str
    role: Literal["read", "write"]
    secret: Secret


class ProxyConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A proxy that names the user in a header, and from where it asks."""

    peers: tuple[str, ...]
    user_header: str
    groups_header: str
    read: tuple[str, ...]
    write: tuple[str, ...]


class AccessConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Who may come in. `anonymous` is None where nothing was said: then loopback decides."""

    tokens: tuple[TokenConfig, ...] = ()
    proxy: ProxyConfig | None = None
    anonymous: Literal["none", "read", "write"] | None = None
    session_s: float = 43200.0
    attempts: int = 10
    records: tuple[Secret, ...] = ()
    hooks: Secret | None = None


class WebhookConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A receiver of news. `targets` is empty for all."""

    url: str
    events: tuple[str, ...]
    targets: tuple[str, ...]
    secret: Secret | None


class LimitsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The bounds."""

    body_bytes: int
    in_flight: int
    in_flight_bytes: int
    decoded_bytes: int
    differences: int
    compare_ms: float
    routes: int
    paths: int
    fingerprints: int
    records_per_source: int = 0


class SamplesConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How many differing pairs are kept per target, how long, and how much of each body."""

    keep: int
    per_fingerprint: int
    size_bytes: int
    max_age_s: float
    body_bytes: int


class RedactionConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What is taken for a secret beside what always is."""

    names: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    builtin: bool = True


class WebConfig(msgspec.Struct, frozen=True, kw_only=True):
    """url: where people find the pages.  trace_url: where traces are, with `{trace_id}` in the place of the id."""

    url: str | None = None
    trace_url: str | None = None


class LogConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What is written to standard error."""

    format: Literal["json", "text", "auto"]
    level: Literal["debug", "info", "warning", "error"]


class TelemetryConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What is pushed by OTLP; `otlp` is None where nothing is. `sample`: a share, or `parent`."""

    otlp: str | None = None
    traces: bool = True
    metrics: bool = True
    sample: float | Literal["parent"] = "parent"
    queue: int = 2048
    every_s: float = 60.0


class ProtobufConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A FileDescriptorSet that was proved, and the messages that routes without gRPC answer with."""

    descriptor_set: bytes
    answers: tuple[tuple[str, str], ...] = ()


class TargetConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A target and its compiled declarations."""

    target: Target
    rules: tuple[Rule, ...]
    protobuf: ProtobufConfig | None = None


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. `source` is the file it came from, None where only the environment spoke.

    warnings: what is allowed and cannot work, one line each; whoever starts the service logs them.
    """

    source: Path | None
    store: StoreConfig
    pairing: PairingConfig
    listen: ListenConfig
    limits: LimitsConfig
    samples: SamplesConfig
    redaction: RedactionConfig = RedactionConfig()
    web: WebConfig = WebConfig()
    log: LogConfig
    telemetry: TelemetryConfig
    drain_s: float
    targets: tuple[TargetConfig, ...]
    access: AccessConfig = AccessConfig()
    webhooks: tuple[WebhookConfig, ...] = ()
    tls: PortsTls = PortsTls()
    warnings: tuple[str, ...] = ()
