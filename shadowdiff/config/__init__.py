"""Load YAML and `SHADOWDIFF_…` environment variables into one checked, frozen `Config`.

`load_config(path, env)` returns it or raises `ConfigError`, whose text has one line per problem.
`settings.py`, `port_settings.py`, `target_settings.py` and `sent_settings.py` declare every value, with its unit in its
name.
"""

from shadowdiff.config.api_descriptions import ProtobufConfig
from shadowdiff.config.load import load_config
from shadowdiff.config.port_settings import AccessConfig, ProxyConfig, TlsConfig, TokenConfig
from shadowdiff.config.problem import ConfigError
from shadowdiff.config.settings import Config, StoreConfig, TargetConfig, TelemetryConfig, WebConfig
from shadowdiff.model.secret import Secret

__all__ = [
    "AccessConfig", "Config", "ConfigError", "ProtobufConfig", "ProxyConfig", "Secret", "StoreConfig", "TargetConfig",
    "TelemetryConfig", "TlsConfig", "TokenConfig", "WebConfig", "load_config",
]  # fmt: skip
