"""Who is asking, and what they may do.

In: a request's credentials: a bearer token, the cookie of a login, or the headers of a trusted proxy.
Out: a `Caller` with a name for the audit log and a role, or none.
Holds: a token is compared as a digest, with every one there is, in constant time; a proxy's headers count
from its own networks alone, and only where each comes once. A login is signed with a key made of its token, so that
every replica knows it, and it ends when the token is taken away.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from itsdangerous import BadData, URLSafeTimedSerializer

from shadowdiff.intake.attempts import Attempts
from shadowdiff.intake.rate import SourceRate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request

    from shadowdiff.config import AccessConfig, ProxyConfig, TokenConfig

Role = Literal["none", "read", "write"]
By = Literal["token", "login", "proxy", "anonymous"]
RANK: Final[dict[Role, int]] = {"none": 0, "read": 1, "write": 2}
NAME_CHARACTERS: Final = 200
ANYONE: Final = "*"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.  nonce: what the forms of this login bear, empty where there is none."""

    name: str
    role: Role
    by: By
    nonce: str = ""

    def may(self, role: Role) -> bool:
        """Return whether this caller's role is enough."""
        return RANK[self.role] >= RANK[role]


@dataclass(frozen=True, slots=True)
class _Token:
    """One token as it is compared: by its digest."""

    name: str
    role: Role
    digest: bytes
    logins: URLSafeTimedSerializer


class Access:
    """Who may come in, as configured."""

    def __init__(self, config: AccessConfig, *, is_loopback: bool, has_client_ca: bool = False) -> None:
        self._salt = secrets.token_bytes(32)
        self._tokens = tuple(self._kept(token) for token in config.tokens)
        self._proxy = _Proxy(config.proxy) if config.proxy else None
        self._session_s = int(config.session_s)
        self._attempts = SourceRate(config.attempts / 60, config.attempts)
        self.hooks = Attempts(config.attempts)
        """Wrong tokens of hooks, apart from those of callers: who cannot log in keeps no rollout waiting."""
        self.asks = bool(self._tokens or self._proxy) or config.anonymous == "none"
        """Whether callers are asked who they are."""
        unsaid: Role = "write" if not self.asks and (is_loopback or has_client_ca) else "none"
        self.anonymous: Role = config.anonymous or unsaid
        self.said = config.anonymous is not None or has_client_ca
        """Whether it was said in so many words what callers without credentials may do."""

    @property
    def has_tokens(self) -> bool:
        """Whether somebody can log in."""
        return bool(self._tokens)

    @property
    def session_s(self) -> int:
        """How long a login lasts."""
        return self._session_s

    def _kept(self, token: TokenConfig) -> _Token:
        key = hashlib.blake2b(b"shadowdiff login", key=hashlib.sha256(token.secret.reveal()).digest()).digest()
        return _Token(token.name, token.role, self._digest(token.secret.reveal()), _signed_with(key))

    def _digest(self, token: bytes) -> bytes:
        return hmac.digest(self._salt, token, "sha256")

    def may_try(self, source: str, now_s: float) -> bool:
        """Return whether an address may bring a token: not after too many wrong ones."""
        return self._attempts.has_room(source, now_s)

    def failed(self, source: str, now_s: float) -> None:
        """Note a wrong token."""
        self._attempts.take(source, now_s)

    def of_token(self, token: str) -> Caller | None:
        """Return who bears a token. Every token is compared, whichever fits."""
        given = self._digest(token.encode("utf-8", "surrogateescape"))
        found = [one for one in self._tokens if hmac.compare_digest(one.digest, given)]
        return Caller(found[0].name, found[0].role, "token") if found else None

    def login(self, caller: Caller) -> str:
        """Return the cookie of a caller that brought a token."""
        token = next(one for one in self._tokens if one.name == caller.name)
        return f"{token.name}~{token.logins.dumps(secrets.token_urlsafe(16))}"

    def of_login(self, cookie: str) -> Caller | None:
        """Return whose login a cookie is, while it lasts and its token stands."""
        name, _, sealed = cookie.partition("~")
        token = next((one for one in self._tokens if one.name == name), None)
        try:
            nonce: object = token.logins.loads(sealed, max_age=self._session_s) if token else None
        except BadData:
            return None
        return Caller(name, token.role, "login", nonce) if token and isinstance(nonce, str) else None

    def of_proxy(self, request: Request) -> Caller | None:
        """Return whom a trusted proxy names."""
        return self._proxy.caller(request) if self._proxy else None

    def source(self, request: Request) -> str:
        """Return the address that asks: the one that a trusted proxy saw, else the peer's own."""
        peer = request.client.host if request.client else ""
        if self._proxy is None or not self._proxy.trusts(peer):
            return peer
        return request.headers.get("x-forwarded-for", "").rpartition(",")[2].strip()[:64] or peer

    def trusts(self, peer: str) -> bool:
        """Return whether an address is the proxy's."""
        return self._proxy is not None and self._proxy.trusts(peer)


def _signed_with(key: bytes) -> URLSafeTimedSerializer:
    how = {"digest_method": hashlib.sha256, "key_derivation": "hmac"}
    return URLSafeTimedSerializer(key, salt="login", signer_kwargs=how)


class _Proxy:
    """A proxy that has asked people who they are."""

    def __init__(self, config: ProxyConfig) -> None:
        self._config = config
        self._peers = tuple(ip_network(peer) for peer in config.peers)

    def trusts(self, peer: str) -> bool:
        """Return whether an address is in the proxy's networks."""
        try:
            address = ip_address(peer.partition("%")[0])
        except ValueError:
            return False
        if isinstance(address, IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        return any(address in cast("Any", network) for network in self._peers)

    def caller(self, request: Request) -> Caller | None:
        """Return whom the headers name; a header that comes twice was added by somebody else, and names nobody."""
        if not self.trusts(request.client.host if request.client else ""):
            return None
        users = request.headers.getlist(self._config.user_header)
        groups = request.headers.getlist(self._config.groups_header)
        if len(users) != 1 or not users[0].strip() or len(groups) > 1:
            return None
        role = self._role({group.strip() for line in groups for group in line.split(",")})
        return Caller(users[0].strip()[:NAME_CHARACTERS], role, "proxy")

    def _role(self, groups: set[str]) -> Role:
        if _any_of(self._config.write, groups):
            return "write"
        return "read" if _any_of(self._config.read, groups) else "none"


def _any_of(wanted: Sequence[str], groups: set[str]) -> bool:
    return ANYONE in wanted or not groups.isdisjoint(wanted)
