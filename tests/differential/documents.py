"""Read and write documents inside strings: JSON, JSON in base64, and forms."""

from __future__ import annotations

import base64
import binascii
import json
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import parse_qs, quote, urlencode

if TYPE_CHECKING:
    from random import Random

KINDS: Final = ("json", "json", "json", "base64", "form")
_FORM: Final = re.compile(r"[\w%.+-]+=[\w%.+-]*(&[\w%.+-]+=[\w%.+-]*)+", re.ASCII)


def read(text: str) -> tuple[str, Any] | None:
    """Return the kind and the value of the document in a string."""
    if (value := _json(text)) is not None:
        return "json", value
    try:
        decoded = base64.b64decode(text, validate=True).decode()
    except (binascii.Error, UnicodeError, ValueError):
        decoded = ""
    if (value := _json(decoded)) is not None:
        return "base64", value
    if _FORM.fullmatch(text) and any(found := parse_qs(text, keep_blank_values=True).values()):
        return ("form", parse_qs(text, keep_blank_values=True)) if any(any(values) for values in found) else None
    return None


def _json(text: str) -> Any:
    try:
        value = json.loads(text, parse_float=Decimal)
    except ValueError:
        return None
    return cast("Any", value) if isinstance(value, (dict, list)) else None


def write(random: Random, kind: str, value: Any) -> str:
    """Return a document with this value in one of its texts. Forms need an object of arrays of strings."""
    if kind == "form":
        pairs = [(name, each) for name, values in _shuffled(random, value).items() for each in values]
        return random.choice([urlencode(pairs), urlencode(pairs, quote_via=quote)])
    text = json.dumps(_shuffled(random, value), indent=random.choice([None, None, 1]))
    return base64.b64encode(text.encode()).decode() if kind == "base64" else text


def _shuffled(random: Random, value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    members = list(cast("dict[str, Any]", value).items())
    random.shuffle(members)
    return dict(members)
