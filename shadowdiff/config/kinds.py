"""The kinds of value that the YAML holds: durations, sizes, addresses, names, expressions.

In: one value as it was written.  Out: the value, checked and normalized.  Holds: each check says what would be right.
"""

from __future__ import annotations

import re
from ipaddress import ip_network
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema

from shadowdiff.config.units import (
    DURATION_PATTERN,
    SIZE_PATTERN,
    duration_text,
    parse_duration,
    parse_size,
    size_text,
)
from shadowdiff.report.patterns import PatternError, compiled

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?")
_HOST = re.compile(r"(?:[a-z0-9_](?:[a-z0-9._-]{0,251}[a-z0-9])?|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_ROUTE = re.compile(r"(?:[A-Z]+ )?/[^\s?#]*")
_WHERE = re.compile(r"[A-Z_][A-Z0-9_]*|.*/.*")
_STORE = re.compile(
    r"(?:rediss?://[^\s/]+(?:/\d*)?(?:\?\S*)?|rediss?\+cluster://[^\s/?]+/?|rediss?\+sentinel://[^\s/?]+/[^\s/?]+(?:/\d+)?"
    r"|unix://\S+)"
)


def _positive(seconds: float) -> float:
    if seconds <= 0:
        raise ValueError("write a duration of more than 0")
    return seconds


def _http_url(value: str) -> str:
    """Return the URL of a service, checked, without a trailing slash."""
    try:
        parts = urlsplit(value)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable, parts = False, urlsplit("")
    if not usable or re.search(r"\s", value):
        raise ValueError("write a URL such as http://recommendation-v2:8080, with http or https")
    if parts.username is not None or parts.password is not None:
        raise ValueError("write the URL without user and password")
    if parts.query or parts.fragment or value.endswith(("?", "#")):
        raise ValueError("write the URL without query and fragment; the mirrored request brings its own")
    return value.rstrip("/")


def _public_url(value: str) -> str:
    plain = _http_url(value)
    if urlsplit(plain).path:
        raise ValueError("write the URL without a path, such as https://shadowdiff.example: pages lie at its root")
    return plain


def _matches(pattern: re.Pattern[str], right: str) -> AfterValidator:
    """Return a check that a text is wholly of `pattern`, whose failure says what is `right`."""

    def check(value: str) -> str:
        if not pattern.fullmatch(value):
            raise ValueError(right)
        return value

    return AfterValidator(check)


def _expression(value: str) -> str:
    """Return a regular expression that RE2 takes."""
    try:
        compiled(value)
    except PatternError as error:
        raise ValueError(f"write a regular expression of RE2's: {error}") from error
    return value


def lower(value: object) -> object:
    """Return a text in lower case, and anything else as it is."""
    return value.lower() if isinstance(value, str) else value


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def distinct(values: tuple[str, ...]) -> tuple[str, ...]:
    """Return the values, each of which is there once."""
    again = next((value for index, value in enumerate(values) if value in values[:index]), None)
    if again is not None:
        raise ValueError(f"write {again} once")
    return values


Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    PlainSerializer(duration_text),
    WithJsonSchema({"type": ["string", "integer"], "pattern": DURATION_PATTERN, "minimum": 0, "maximum": 0}),
]
Period = Annotated[Duration, AfterValidator(_positive), WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN})]
Size = Annotated[
    int,
    BeforeValidator(parse_size),
    Field(ge=1),
    PlainSerializer(size_text),
    WithJsonSchema({"type": ["string", "integer"], "pattern": SIZE_PATTERN, "minimum": 1}),
]
Port = Annotated[int, Field(ge=0, le=65535)]
Share = Annotated[float, Field(ge=0, le=1)]
Url = Annotated[str, AfterValidator(_http_url), WithJsonSchema({"type": "string", "pattern": r"^https?://[^\s?#@]+$"})]
PublicUrl = Annotated[
    str, AfterValidator(_public_url), WithJsonSchema({"type": "string", "pattern": r"^https?://[^\s/?#@]+/?$"})
]
StoreUrl = Annotated[
    str,
    _matches(
        _STORE,
        "write redis://HOST:6379/0, redis+cluster://HOST:6379,HOST:6379, redis+sentinel://HOST:26379,HOST:26379/NAME,"
        " the same with rediss for TLS, or unix:///path/to/socket",
    ),
]
HeaderName = Annotated[
    str, BeforeValidator(lower), _matches(_TOKEN, "write the name of a header, such as x-request-id")
]
Method = Annotated[str, BeforeValidator(_upper), _matches(_TOKEN, "write a method, such as GET")]
HostName = Annotated[
    str,
    BeforeValidator(lower),
    _matches(_HOST, "write a host, such as recommendation.tutorial or recommendation:8080"),
]
Route = Annotated[str, _matches(_ROUTE, "write a template such as /products/{id} or GET /products/{id}")]
TargetName = Annotated[
    str, _matches(_NAME, "write a name of up to 63 lower-case letters, digits, dots and dashes, such as recommendation")
]
Expression = Annotated[str, AfterValidator(_expression)]
Prefix = Annotated[
    str, _matches(re.compile(r"[A-Za-z0-9_.-]{1,32}"), "write up to 32 letters, digits, dots and dashes")
]


def _network(value: str) -> str:
    try:
        return str(ip_network(value))
    except ValueError as error:
        raise ValueError("write a network, such as 10.0.0.0/8 or fd00::/8, or one address") from error


SecretName = Annotated[
    str, _matches(_WHERE, "name where the secret is, an environment variable or a file with a / in its path")
]
WebhookUrl = Annotated[
    str, _matches(re.compile(r"https?://[^\s/@]+(?:/[^\s@]*)?"), "write a URL such as https://hooks.example/T0/B0")
]
Network = Annotated[str, AfterValidator(_network)]
Role = Literal["read", "write"]
