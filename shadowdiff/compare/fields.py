"""What a header field says, in the grammar of that field.

In: a field's values in order.  Out: its reading, by part (`set-cookie` has one part per cookie, others one, "").
Holds: equal meaning gives equal readings; what is new on every response (a cookie's value, a validator) is read by
its presence and form alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shadowdiff.compare.media import media_of, split_parameters

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def readings(name: bytes, values: Sequence[bytes], hosts: frozenset[str]) -> dict[str, str]:
    """Return what a field says by part; empty where the field is absent.

    hosts: lower-case names that stand for the service itself.
    """
    if not values:
        return {}
    texts = [value.decode("latin-1").strip() for value in values]
    if name == b"set-cookie":
        return _cookies(texts)
    if name in {b"location", b"content-location"}:
        return {"": _location(texts[0], hosts)}
    read = _READERS.get(name, _joined)
    return {"": read(texts)}


def _joined(texts: Sequence[str]) -> str:
    return ", ".join(texts)


def _tokens(texts: Sequence[str]) -> str:
    """Read a list whose order and case say nothing (RFC 9110 section 5.6.1)."""
    found = {token.strip().lower() for text in texts for token in split_parameters(text, ",")}
    return ", ".join(sorted(found - {""}))


def _presence(_texts: Sequence[str]) -> str:
    return "present"


def _media(texts: Sequence[str]) -> str:
    media = media_of(texts[0].encode("latin-1"))
    shown = [f"{name}={value.lower() if name == 'charset' else value}" for name, value in sorted(media.parameters)]
    shown = ["boundary=…" if part.startswith("boundary=") else part for part in shown]
    return "; ".join([media.name, *shown])


def _validator(texts: Sequence[str]) -> str:
    return "weak" if texts[0].startswith("W/") else "strong"


def _cookies(texts: Sequence[str]) -> dict[str, str]:
    """Read each cookie by its name and attributes (RFC 6265 section 4.1); values and dates change every time."""
    read: dict[str, str] = {}
    for text in texts:
        head, *attributes = text.split(";")
        name, equals, _ = head.partition("=")
        name = name.strip() if equals else ""  # RFC 6265bis section 5.6: without `=` it is all value
        said = sorted(_attribute(attribute) for attribute in attributes if attribute.strip())
        read[name] = "; ".join(said) or "no attributes"
    return read


def _attribute(text: str) -> str:
    name, _, value = (part.strip() for part in text.partition("="))
    name = name.lower()
    if name == "expires":
        return "expires"
    if name in {"domain", "samesite"}:
        value = value.lower().lstrip(".")
    return f"{name}={value}" if value else name


def _location(text: str, hosts: frozenset[str]) -> str:
    """Read a reference to the service's own origin as a path, since v2 may name itself by another host."""
    for scheme in ("https://", "http://"):
        if text.lower().startswith(scheme):
            authority, slash, path = text[len(scheme) :].partition("/")
            if authority.lower() in hosts:
                return slash + path or "/"
    return text


_READERS: Final[dict[bytes, Callable[[Sequence[str]], str]]] = {
    b"access-control-allow-headers": _tokens,
    b"access-control-allow-methods": _tokens,
    b"access-control-expose-headers": _tokens,
    b"allow": _tokens,
    b"cache-control": _tokens,
    b"content-type": _media,
    b"etag": _validator,
    b"last-modified": _presence,
    b"retry-after": _presence,
    b"vary": _tokens,
}
