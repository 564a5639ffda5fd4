"""The configuration as the rest of the project takes it: frozen values with their units in their names.

Holds: everything here was checked; a secret never shows in a `repr`.
"""

from __future__ import annotations

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


class StoreConfig(msgspec.Struct, frozen=True, kw_only=True):
    """url: None means the embedded store, in `data_dir` (None: its own default).

    key: 32 bytes that encrypt the buffer, or None.
    """

    url: str | None
    prefix: str
    shards: int
    data_dir: Path | None
    key: Secret | None
    flush_ms: float
    queue: int


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


class SamplesConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How many differing pairs are kept per target, how long, and how much of each body."""

    keep: int
    max_age_s: float
    body_bytes: int


class WebConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Where traces are shown, with `{trace_id}` in the place of the id."""

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


class TargetConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A target and its compiled declarations."""

    target: Target
    rules: tuple[Rule, ...]


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
    web: WebConfig = WebConfig()
    log: LogConfig
    telemetry: TelemetryConfig
    drain_s: float
    targets: tuple[TargetConfig, ...]
    warnings: tuple[str, ...] = ()
