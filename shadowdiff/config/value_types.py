"""The types of settings: durations, sizes, addresses, names and expressions.

Each type checks and normalizes one YAML scalar, and its errors say what to write instead.
"""

from __future__ import annotations

import re
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema

from shadowdiff.compare.formats import ALL_ROUTES, BINARY, format_of
from shadowdiff.intake.request_edits import MANAGED
from shadowdiff.model.secret import Secret
from shadowdiff.notify.formats import FORMATS
from shadowdiff.report.patterns import MAX_MEMORY_BYTES
from shadowdiff.rules.builtin import BY_NAME
from shadowdiff.rules.pattern import PatternError, compiled

_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BINARY: Final = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_BYTES: Final = {"": 1, "B": 1, "kB": 1000, "KB": 1000, "MB": 1000**2, "GB": 1000**3} | _BINARY

DURATION_PATTERN: Final = r"^(0|(\d+(\.\d+)?(ms|s|m|h|d))+)$"
SIZE_PATTERN: Final = r"^\d+(\.\d+)?\s?(B|kB|KB|MB|GB|KiB|MiB|GiB)?$"
_DURATION_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s?([A-Za-z]*)")
_STORE_URL: Final = (
    r"(?:rediss?://[^\s/]+(?:/\d*)?(?:\?\S*)?|rediss?\+cluster://[^\s/?]+/?|rediss?\+sentinel://[^\s/?]+/[^\s/?]+(?:/\d+)?"
    r"|unix://\S+)"
)
BYTES_TYPE: Final = "application/octet-stream"
_TOKEN: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - an HTTP token, not a secret
BODY_TYPE_PATTERN: Final = rf"^{_TOKEN}/{_TOKEN}(\s*;.*)?$"
_PARAMETER: Final = r"\{[^\s/?#*{}]*\}"
_TEMPLATE: Final = rf"/(?:[^\s?#{{}}]|{_PARAMETER})*"
"""A path with parameters. A brace without its partner is an error."""
_ROUTE: Final = rf"(?:[A-Z]+ )?{_TEMPLATE}"

_TARGET_NAME: Final = r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?"
_CONDITION_PATH: Final = rf"(?:[A-Z]+ )?/(?:[^\s?#*{{}}]|{_PARAMETER}){{0,500}}"

Value = TypeVar("Value")


def parse_duration(value: object) -> float:
    """Return the seconds of `30s`, `500ms`, `1h30m` or `0`. A number without a unit is rejected: its unit is unclear.

    Raises: ValueError that states what to write.
    """
    if value == 0 and not isinstance(value, bool):
        return 0.0
    text = value.strip() if isinstance(value, str) else ""
    if not re.fullmatch(DURATION_PATTERN, text, re.ASCII):
        raise ValueError("write a duration with its unit, such as 500ms, 30s, 5m or 1h30m")
    return sum(float(amount) * _SECONDS[unit] for amount, unit in _DURATION_PART.findall(text))


def parse_size(value: object) -> int:
    """Return the bytes of `64KiB`, `1MiB`, `1.5MB` or a whole number. Raises: ValueError that states what to write."""
    is_scalar = isinstance(value, str | int) and not isinstance(value, bool)
    found = _SIZE.fullmatch(str(value).strip()) if is_scalar else None
    scale = _BYTES.get(found[2]) if found else None
    if found is None or scale is None:
        raise ValueError("write a size such as 64KiB, 1MiB or 256MiB, or a number of bytes")
    return int(float(found[1]) * scale)


def duration_text(seconds: float) -> str:
    """Return the duration in the largest unit that gives a whole number, else in milliseconds."""
    for unit in ("d", "h", "m", "s"):
        amount = seconds / _SECONDS[unit]
        if amount >= 1 and amount == int(amount):
            return f"{int(amount)}{unit}"
    return f"{seconds * 1000:.15g}ms" if seconds else "0s"


def size_text(size_bytes: int) -> str:
    """Return the size in the largest binary unit that divides it, else in bytes."""
    for unit, scale in reversed(_BINARY.items()):
        if size_bytes and size_bytes % scale == 0:
            return f"{size_bytes // scale}{unit}"
    return f"{size_bytes}B"


def _distinct(values: tuple[Value, ...]) -> tuple[Value, ...]:
    texts = [value.source if isinstance(value, Secret) else value for value in values]
    repeated = next((text for index, text in enumerate(texts) if text in texts[:index]), None)
    if repeated is not None:
        raise ValueError(f"write {repeated} once")
    return values


def lower(value: object) -> object:
    """Return a text in lower case, and any other value unchanged."""
    return value.lower() if isinstance(value, str) else value


def _trace_url(value: str) -> str:
    if not re.fullmatch(r"https?://[^\s{}]+\{trace_id\}[^\s{}]*", value):
        raise ValueError("write a URL with http or https that contains {trace_id} once")
    if "@" in value.split("/")[2]:
        raise ValueError("write the URL without user and password, because pages show it")
    return value


def _path(value: str) -> Path:
    return Path(value)


def _upper_method(value: object) -> object:
    """Return `METHOD` or `METHOD /path` with its method in upper case."""
    if not isinstance(value, str):
        return value
    method, space, path = value.partition(" ")
    return method.upper() + space + path


def _positive(seconds: float) -> float:
    if seconds <= 0:
        raise ValueError("write a duration of more than 0")
    return seconds


def _http_url(value: str) -> str:
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
        raise ValueError("write the URL without query and fragment, because the mirrored request has its own query")
    return value.rstrip("/")


def _public_url(value: str) -> str:
    url = _http_url(value)
    if urlsplit(url).path:
        raise ValueError(
            "write the URL without a path, such as https://shadowdiff.example, because the pages are at its root"
        )
    return url


def _matches(pattern: str, advice: str) -> AfterValidator:
    """Return a check that the whole text matches `pattern`, with `advice` as its error."""

    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(advice)
        return value

    return AfterValidator(check)


def _sent_header(value: str) -> str:
    if value == "host":
        raise ValueError("cannot be changed here; candidate.host selects the Host header")
    if value in MANAGED:
        raise ValueError("cannot be changed, because each connection or shadowdiff sets it; remove the line")
    return value


def _expression(value: str) -> str:
    try:
        compiled(value, MAX_MEMORY_BYTES)
    except PatternError as error:
        raise ValueError(f"write a regular expression that RE2 accepts: {error}") from error
    return value


def body_type(value: str) -> str:
    """Return a media type that a format reads. Raises: ValueError that states what to write."""
    format_, media = format_of(value.encode("latin-1", "replace"))
    if not re.fullmatch(BODY_TYPE_PATTERN, value) or (format_ is BINARY and media.name != BYTES_TYPE):
        raise ValueError(
            "write a type that shadowdiff can read, such as application/json, application/x-ndjson, application/xml or "
            f"text/plain; or {BYTES_TYPE} to compare bytes"
        )
    return value


def _network(value: str) -> str:
    try:
        return str(ip_network(value))
    except ValueError as error:
        raise ValueError("write a network, such as 10.0.0.0/8 or fd00::/8, or one address") from error


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
Role = Literal["read", "write", "export", "all", "hook"]
Text = Annotated[str, Field(min_length=1)]
Url = Annotated[str, AfterValidator(_http_url), WithJsonSchema({"type": "string", "pattern": r"^https?://[^\s?#@]+$"})]
PublicUrl = Annotated[
    str, AfterValidator(_public_url), WithJsonSchema({"type": "string", "pattern": r"^https?://[^\s/?#@]+/?$"})
]
StoreUrl = Annotated[
    str,
    _matches(
        _STORE_URL,
        "write redis://HOST:6379/0, redis+cluster://HOST:6379,HOST:6379, redis+sentinel://HOST:26379,HOST:26379/NAME,"
        " the same with rediss for TLS, or unix:///path/to/socket",
    ),
]
WebhookUrl = Annotated[
    str, _matches(r"https?://[^\s/@]+(?:/[^\s@]*)?", "write a URL such as https://hooks.example/T0/B0")
]
WebhookFormat = Annotated[
    str,
    _matches("|".join(FORMATS), f"write one of {', '.join(sorted(FORMATS))}"),
    WithJsonSchema({"type": "string", "enum": sorted(FORMATS)}),
]
TraceUrl = Annotated[str, AfterValidator(_trace_url)]
Network = Annotated[str, AfterValidator(_network)]
HeaderName = Annotated[
    str, BeforeValidator(lower), _matches(_TOKEN, "write the name of a header, such as x-request-id")
]
Method = Annotated[
    str,
    BeforeValidator(_upper_method),
    _matches(
        rf"{_TOKEN}(?: /(?:[^\s?#*{{}}]|{_PARAMETER})*)?",
        "write a method, such as GET, or a method with the template of one route, such as POST /search",
    ),
]
HostName = Annotated[
    str,
    BeforeValidator(lower),
    _matches(
        r"(?:(?:\*\.)?[a-z0-9_](?:[a-z0-9._-]{0,251}[a-z0-9])?|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?",
        "write a host, such as recommendation.tutorial, recommendation:8080 or *.shop.example",
    ),
]
SentHeader = Annotated[HeaderName, AfterValidator(_sent_header)]
PathPrefix = Annotated[
    str, _matches(r"/(?:(?![?#])[!-~])*", "write the beginning of a path, such as /v1, in ASCII and without ? and #")
]
ServerName = Annotated[
    str, _matches(r"[A-Za-z0-9_.:-]{1,253}", "write a name in the certificate, such as shop-v2.internal")
]
Route = Annotated[str, _matches(_ROUTE, "write a template such as /products/{id} or GET /products/{id}")]
AnyRoute = Annotated[
    str,
    _matches(
        rf"{re.escape(ALL_ROUTES)}|{_ROUTE}",
        'write a template such as /products/{id} or GET /products/{id}, or "*" for every route',
    ),
]
BodyType = Annotated[str, AfterValidator(body_type), WithJsonSchema({"type": "string", "pattern": BODY_TYPE_PATTERN})]
_BUILT_IN = sorted(BY_NAME)


def _built_in_rule(name: str) -> str:
    if name not in BY_NAME:
        raise ValueError(f"{name!r} is not a built-in rule; write one of {', '.join(_BUILT_IN)}")
    return name


BuiltInName = Annotated[str, AfterValidator(_built_in_rule), WithJsonSchema({"type": "string", "enum": _BUILT_IN})]
GraphqlPath = Annotated[str, _matches(_TEMPLATE, "write a path such as /graphql, without a method")]
ConditionRoute = Annotated[
    str,
    _matches(
        _CONDITION_PATH,
        "write a template such as /products/{id} or GET /products/{id}; for the start of a path, write path: /api/*",
    ),
]
ConditionPath = Annotated[
    str, _matches(_CONDITION_PATH + r"\*?", "write a path such as /export, or the start of a path, such as /api/*")
]
ConditionValue = Annotated[
    str,
    _matches(r"[!-~](?:[ -~]{0,198}[!-~])?", "write a value such as beta, the start of a value such as beta*, or *"),
]
CookieName = Annotated[str, _matches(_TOKEN, "write the name of a cookie, such as session")]
TargetName = Annotated[
    str,
    _matches(
        _TARGET_NAME,
        "write a name of up to 63 lower-case letters, digits, dots and dashes, such as recommendation",
    ),
]
TargetOrAll = Annotated[
    str, _matches(rf"\*|{_TARGET_NAME}", "write the name of a target, such as recommendation, or * for all targets")
]
Prefix = Annotated[str, _matches(r"[A-Za-z0-9_.-]{1,32}", "write up to 32 letters, digits, dots and dashes")]
Expression = Annotated[str, AfterValidator(_expression)]
Distinct = Annotated[tuple[Value, ...], AfterValidator(_distinct)]

if TYPE_CHECKING:
    Folder = Path
else:
    Folder = Annotated[str, Field(min_length=1), AfterValidator(_path), PlainSerializer(str)]
