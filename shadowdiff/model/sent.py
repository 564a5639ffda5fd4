"""How requests are sent to one side: its address, what is changed in a request, TLS, and limits."""

from __future__ import annotations

import msgspec

from shadowdiff.model.secret import Secret


class Edits(msgspec.Struct, frozen=True, kw_only=True):
    """Changes of header fields or query parameters. A name in `remove` that ends in `*` is a prefix.

    set: values that every request gets. replace: values for the names that the request has.
    """

    set: dict[str, Secret] = {}
    replace: dict[str, Secret] = {}
    remove: tuple[str, ...] = ()

    def secret_names(self) -> list[str]:
        """Return the names whose values contain a secret."""
        return [name for values in (self.set, self.replace) for name in values if values[name].reveal_parts()]

    def without_secrets(self) -> Edits:
        """Return the changes, but remove the values that contain a secret."""
        names = self.secret_names()
        kept = [{name: value for name, value in each.items() if name not in names} for each in (self.set, self.replace)]
        return Edits(set=kept[0], replace=kept[1], remove=(*self.remove, *names))


class SendLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits that protect a side. rate: requests per second of all processes. concurrency: at once, per process."""

    rate: float | None = None
    concurrency: int | None = None


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """Where requests to one side are sent, and what is changed in them.

    url: a scheme, an authority and an optional path prefix. path_prefix: v1's prefixes of paths, and what replaces
    them. ca, cert, cert_key: PEM files. server_name: the name in the side's certificate, if it is not the URL's host.
    """

    url: str
    timeout_s: float = 10.0
    headers: Edits = Edits()
    query: Edits = Edits()
    path_prefix: dict[str, str] = {}
    ca: str | None = None
    cert: str | None = None
    cert_key: str | None = None
    server_name: str | None = None
    limits: SendLimits = SendLimits()

    def secrets(self) -> list[bytes]:
        """Return the secrets that requests to this side contain."""
        edited = (self.headers.set, self.headers.replace, self.query.set, self.query.replace)
        return [part for values in edited for value in values.values() for part in value.reveal_parts()]
