"""Identify the caller of a request: by bearer token, login cookie, or the headers of a trusted proxy.

Each role of a caller is limited to some targets, or applies to all. A proxy's headers are accepted only from its own
networks, and only if each header occurs once. A login is signed with a key derived from its token, so every replica
accepts the login until the token is removed.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from itsdangerous import BadData, URLSafeTimedSerializer

from shadowdiff.config import AccessConfig
from shadowdiff.intake.admission import TokenChecker
from shadowdiff.queries.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from starlette.requests import Request

    from shadowdiff.config import ProxyConfig, TokenConfig
    from shadowdiff.queries.visible import Targets

Role = Literal["read", "write", "export"]
ROLES: Final[Mapping[str, tuple[Role, ...]]] = {
    "none": (),
    "hook": (),
    "read": ("read",),
    "write": ("read", "write"),
    "export": ("read", "export"),
    "all": ("read", "write", "export"),
}
"""The roles that each value of a `role` setting grants."""
NAME_CHARACTERS: Final = 200
ANYONE: Final = "*"
EVERY_TARGET: Final = "*"


@dataclass(frozen=True, slots=True)
class Caller:
    """The sender of a request.

    roles: the targets of each role; None means all targets.
    nonce: the CSRF token of this login; empty if there is no login.
    """

    name: str
    by: Literal["token", "login", "proxy", "anonymous"]
    roles: Mapping[Role, Targets] = field(default_factory=dict[Role, "Targets"])
    nonce: str = ""


class Access:
    """The configured access control of the web port."""

    def __init__(
        self, config: AccessConfig, *, is_loopback: bool, has_client_ca: bool = False, hook_token: bytes | None = None
    ) -> None:
        self._tokens = {token.name: token for token in config.tokens}
        self._checker = TokenChecker((token.secret.reveal() for token in config.tokens), config.attempts, trusts=False)
        hooks = {one.secret.reveal(): _limit(one.targets) for one in config.tokens if one.role == "hook"}
        hooks |= {} if hook_token is None else {hook_token: None}
        self._hook_checker, self._hook_targets = TokenChecker(hooks, config.attempts), [*hooks.values()]
        self._proxy = config.proxy
        self._proxy_networks = [ip_network(peer) for peer in config.proxy.peers] if config.proxy else []
        self.session_s = int(config.session_s)
        self.has_tokens = bool(config.tokens)
        self.is_required = bool(config.tokens or config.proxy) or config.anonymous == "none"
        """Whether callers need credentials."""
        default = "all" if not self.is_required and (is_loopback or has_client_ca) else "none"
        self.anonymous = Caller("", "anonymous", dict.fromkeys(ROLES[config.anonymous or default]))
        self.is_explicit = config.anonymous is not None or has_client_ca
        """Whether the configuration defines what callers without credentials may do."""

    def check_token(self, token: str, source: str, now_s: float) -> Caller | None:
        """Return a token's caller. Raises: RequestError 429 if the source has sent too many wrong tokens."""
        found = _find(self._checker, token, source, now_s)
        if found is None:
            return None
        return _caller([*self._tokens.values()][found], "token")

    def was_wrong(self, source: str, now_s: float) -> None:
        """Count a wrong token."""
        self._checker.attempts.take(source, now_s)

    def hook_targets(self, token: str, source: str, now_s: float) -> Targets:
        """Return the targets that a rollout hook may use. Count a wrong token. Raises: RequestError."""
        if not self._hook_checker:
            if self.is_required:
                raise RequestError(
                    403, "this service requires credentials, but no token for hooks is configured: set `access.hooks`"
                )
            return None
        found = _find(self._hook_checker, token, source, now_s)
        if found is None:
            if token:
                self._hook_checker.attempts.take(source, now_s)
            raise RequestError(403, "metadata.token is not the configured token")
        return self._hook_targets[found]

    def login(self, caller: Caller) -> str:
        """Return the login cookie of a caller that sent a token."""
        return f"{caller.name}~{_signer(self._tokens[caller.name]).dumps(secrets.token_urlsafe(16))}"

    def of_login(self, cookie: str) -> Caller | None:
        """Return the caller of a login cookie; None if the cookie is invalid or its token is not configured."""
        name, _, sealed = cookie.partition("~")
        token = self._tokens.get(name)
        try:
            nonce: object = _signer(token).loads(sealed, max_age=self.session_s) if token else None
        except BadData:
            return None
        return _caller(token, "login", nonce) if token and isinstance(nonce, str) else None

    def of_proxy(self, request: Request) -> Caller | None:
        """Return the user that a trusted proxy names; None if a header occurs twice, because a client can add one."""
        config = self._proxy
        if config is None or not self.is_proxied(request):
            return None
        users, groups = request.headers.getlist(config.user_header), request.headers.getlist(config.groups_header)
        if len(users) != 1 or not users[0].strip() or len(groups) > 1:
            return None
        named = {ANYONE, *(group.strip() for line in groups for group in line.split(","))}
        return Caller(users[0].strip()[:NAME_CHARACTERS], "proxy", _roles_of_groups(named, config))

    def source(self, request: Request) -> str:
        """Return the client's address that a trusted proxy reports, or the peer's address."""
        forwarded = request.headers.get("x-forwarded-for", "") if self.is_proxied(request) else ""
        return forwarded.rpartition(",")[2].strip()[:64] or peer_of(request)

    def is_proxied(self, request: Request) -> bool:
        """Return whether the trusted proxy sent a request."""
        address = parse_address(peer_of(request))
        return any(address in cast("Any", network) for network in self._proxy_networks) if address else False


LOCAL: Final = Access(AccessConfig(), is_loopback=True)
"""Access control of a loopback port that has no configuration."""


def peer_of(request: Request) -> str:
    """Return the peer's address; empty for a unix socket."""
    return request.client.host if request.client else ""


def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """Return a text as an address, with IPv4-mapped IPv6 as IPv4; None if the text is not an address."""
    try:
        found = ip_address(text)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def _caller(token: TokenConfig, by: Literal["token", "login"], nonce: str = "") -> Caller:
    return Caller(token.name, by, dict.fromkeys(ROLES[token.role], _limit(token.targets)), nonce)


def _limit(targets: Iterable[str]) -> Targets:
    found = frozenset(targets)
    return None if EVERY_TARGET in found else found


def _roles_of_groups(named: set[str], config: ProxyConfig) -> dict[Role, Targets]:
    """Return the roles of a user in these groups. A role applies to the targets of the groups that grant it."""
    groups: dict[Role, tuple[str, ...]] = {"read": config.read, "write": config.write, "export": config.export}
    granting: dict[Role, set[str]] = {
        role: named if ANYONE in those else named.intersection(those) for role, those in groups.items()
    }
    granting["read"] = set[str]().union(*granting.values())  # who may write or export may also read
    limits = config.targets or dict.fromkeys(named, (EVERY_TARGET,))
    return {
        role: _limit(target for group in those for target in limits.get(group, ()))
        for role, those in granting.items()
        if those
    }


def _find(checker: TokenChecker, token: str, source: str, now_s: float) -> int | None:
    if not checker.attempts.has_room(source, now_s):
        raise RequestError(429, "this address sent too many wrong tokens: wait a minute")
    return checker.find(token.encode("utf-8", "surrogateescape"), source, now_s)


def _signer(token: TokenConfig) -> URLSafeTimedSerializer:
    key = hashlib.blake2b(b"shadowdiff login", key=hashlib.sha256(token.secret.reveal()).digest()).digest()
    how = {"digest_method": hashlib.sha256, "key_derivation": "hmac"}
    return URLSafeTimedSerializer(key, salt="login", signer_kwargs=how)
