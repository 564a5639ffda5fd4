"""YAML and `SHADOWDIFF_…` environment variables → one checked, frozen `Config`.

`load_config(path, env)` returns it or raises `ConfigError`, whose text has one line for each fault.

    config.source             Path | None
    config.store              .url (None: embedded) .prefix .shards .data_dir (Path | None)
                              .key (Secret | None) .flush_ms .queue .depth
                              .username .password (Secret | None) .ca .cert .cert_key
                              .sentinel_username .sentinel_password (Secret | None) .sentinel_tls
    config.pairing            .window_s .settle_s .id_headers .claim_idle_s
    config.listen             .host .mirror .records .web .web_host .metrics (port 0: any free port)
    config.limits             .body_bytes .in_flight .in_flight_bytes .decoded_bytes .differences
                              .compare_ms .routes .paths .records_per_source
    config.samples            .keep .max_age_s .body_bytes
    config.log                .format (json | text | auto) .level (debug | info | warning | error)
    config.telemetry          .otlp (None: nothing is pushed) .traces .metrics .sample (share | "parent")
                              .queue .every_s
    config.access             .tokens (.name .role .secret) .proxy (.peers .user_header .groups_header .read .write)
                              .anonymous (None: loopback decides) .session_s .attempts .records (secrets)
    config.webhooks           tuple of .url .events .targets (empty: all) .secret (Secret | None)
    config.tls                .mirror .records .web .metrics (None: plain HTTP), each .cert .key .client_ca
    config.drain_s            float
    config.targets            tuple of .target (model.Target), .rules (tuple[rules.Rule, ...])
                              and .protobuf (None: no descriptors)
    config.warnings           tuple[str, ...], what is allowed and cannot work, one line each

Holds: every value was checked, its unit stands in its name, and no `repr` shows a secret (`key.reveal()` gives it).
"""

from shadowdiff.config.load import load_config
from shadowdiff.config.problem import ConfigError, Problem
from shadowdiff.config.values import (
    AccessConfig,
    Config,
    LimitsConfig,
    ListenConfig,
    LogConfig,
    PairingConfig,
    ProtobufConfig,
    ProxyConfig,
    SamplesConfig,
    Secret,
    StoreConfig,
    TargetConfig,
    TelemetryConfig,
    TlsConfig,
    TokenConfig,
    WebhookConfig,
)

__all__ = [
    "AccessConfig",
    "Config",
    "ConfigError",
    "LimitsConfig",
    "ListenConfig",
    "LogConfig",
    "PairingConfig",
    "Problem",
    "ProtobufConfig",
    "ProxyConfig",
    "SamplesConfig",
    "Secret",
    "StoreConfig",
    "TargetConfig",
    "TelemetryConfig",
    "TlsConfig",
    "TokenConfig",
    "WebhookConfig",
    "load_config",
]
