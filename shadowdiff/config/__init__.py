"""YAML and `SHADOWDIFF_…` environment variables → one checked, frozen `Config`.

`load_config(path, env)` returns it or raises `ConfigError`, whose text has one line for each fault.

    config.source             Path | None
    config.store              .url (None: embedded) .prefix .shards .data_dir (Path | None)
                              .key (Secret | None) .flush_ms .queue
    config.pairing            .window_s .settle_s .id_headers .claim_idle_s
    config.listen             .host .mirror .records .web .web_host .metrics (port 0: any free port)
    config.limits             .body_bytes .in_flight .in_flight_bytes .decoded_bytes .differences
                              .compare_ms .routes .paths
    config.samples            .keep .max_age_s .body_bytes
    config.log                .format (json | text | auto) .level (debug | info | warning | error)
    config.telemetry          .otlp (None: nothing is pushed) .traces .metrics .sample (share | "parent")
                              .queue .every_s
    config.drain_s            float
    config.targets            tuple of .target (model.Target) and .rules (tuple[rules.Rule, ...])
    config.warnings           tuple[str, ...], what is allowed and cannot work, one line each

Holds: every value was checked, its unit stands in its name, and no `repr` shows a secret (`key.reveal()` gives it).
"""

from shadowdiff.config.load import load_config
from shadowdiff.config.problem import ConfigError, Problem
from shadowdiff.config.values import (
    Config,
    LimitsConfig,
    ListenConfig,
    LogConfig,
    PairingConfig,
    SamplesConfig,
    Secret,
    StoreConfig,
    TargetConfig,
    TelemetryConfig,
)

__all__ = [
    "Config",
    "ConfigError",
    "LimitsConfig",
    "ListenConfig",
    "LogConfig",
    "PairingConfig",
    "Problem",
    "SamplesConfig",
    "Secret",
    "StoreConfig",
    "TargetConfig",
    "TelemetryConfig",
    "load_config",
]
