"""Ports that others can reach, and who may then come in: what must be said in so many words.

In: checked settings.  Out: a problem for each port that would stand open, and for each file of TLS that is not there.
"""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shadowdiff.config.problem import Problem
    from shadowdiff.config.refusal import Place
    from shadowdiff.config.settings import Root


def exposed(root: Root, place: Place) -> Iterator[Problem]:
    """Yield what stands open without having been said, or cannot be locked."""
    access, tls = root.access, root.tls
    guarded = access.tokens or access.proxy or access.anonymous or (tls.web and tls.web.client_ca)
    if not guarded and not is_loopback(root.listen.web_host):
        message = (
            "can be reached from elsewhere, and nothing says who may come in: name `access.tokens` or `access.proxy`, "
            "or let everyone in by `access.anonymous: read` (or write)"
        )
        yield place.problem(("listen", "web_host"), message, root.listen.web_host)
    names = [token.name for token in access.tokens]
    for number, name in enumerate(names):
        if name in names[:number]:
            yield place.problem(("access", "tokens", number, "name"), "is another token's; give each its own", name)
    for port, files in tls.model_dump(exclude_none=True).items():
        for setting, name in files.items():
            yield from _unreadable(("tls", port, setting), name, place)
    yield from _unreachable(root, place)


def _unreachable(root: Root, place: Place) -> Iterator[Problem]:
    """Yield what is said of the way to the store, and does not go with its URL."""
    store, url = root.store, root.store.url or ""
    for setting in ("ca", "cert", "cert_key"):
        name = getattr(store, setting)
        if name is not None:
            yield from _unreadable(("store", setting), name, place)
            if not (url.startswith("rediss") or store.sentinel_tls):
                yield place.problem(("store", setting), "is for TLS: begin store.url with rediss://", name)
    if (store.cert is None) != (store.cert_key is None):
        yield place.problem(("store", "cert"), "and store.cert_key belong together: name both files, or neither")
    if "+sentinel://" not in url:
        for setting in ("sentinel_username", "sentinel_password", "sentinel_tls"):
            if getattr(store, setting) is not None:
                message = "is for sentinels: begin store.url with redis+sentinel://"
                yield place.problem(("store", setting), message, getattr(store, setting))


def is_loopback(host: str) -> bool:
    """Return whether an address to listen on is this machine's own; a name other than localhost is not taken for it."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _unreadable(path: tuple[str, ...], name: str, place: Place) -> Iterator[Problem]:
    try:
        with Path(name).open("rb"):
            return
    except OSError as error:
        yield place.problem(path, f"names a file that cannot be read: {error.strerror}", name)
