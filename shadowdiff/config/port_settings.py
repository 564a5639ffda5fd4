"""The declarations of the settings of ports: addresses, TLS, tokens, and access to the web port."""

from __future__ import annotations

from typing import Literal

from shadowdiff.config.base_section import SOURCE_HELP, Section, setting
from shadowdiff.config.secrets import Token
from shadowdiff.config.value_types import (
    Distinct,
    HeaderName,
    Network,
    Period,
    Port,
    Role,
    TargetName,
    TargetOrAll,
    Text,
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
    secret: Token = setting(..., f"The token, of 16 characters or more. {SOURCE_HELP}")


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
        (), f"The tokens that recorders may send. {SOURCE_HELP} If unset, recorders need no token."
    )
    hooks: Token | None = setting(
        None,
        f"The token that Flagger's hooks send in their metadata. {SOURCE_HELP} If unset, shadowdiff accepts hooks "
        "without a token, unless other callers need credentials: then it rejects all hooks.",
    )
