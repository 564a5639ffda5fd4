"""Write a value as JSON text: every digit, duplicates and NaN as they were read.

In: a value of any tier.  Out: its text in parts, so that a bounded reader need not wait for the whole.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING

from shadowdiff.compare.values import Constant, HugeInteger, HugeNumber, Repeated, Value

if TYPE_CHECKING:
    from collections.abc import Iterator


def write(value: Value) -> str:
    """Return the whole text."""
    return "".join(parts(value))


def write_some(value: Value, chars: int) -> str:
    """Return the text, or its start once that is longer than `chars`."""
    out: list[str] = []
    size = 0
    for part in parts(value):
        out.append(part)
        size += len(part)
        if size > chars:
            break
    return "".join(out)


def parts(value: Value) -> Iterator[str]:
    """Yield the text piece by piece."""
    if isinstance(value, dict):
        yield "{"
        comma = ""
        for name, member in value.items():
            for said in member if isinstance(member, Repeated) else (member,):
                yield f"{comma}{_string(name)}:"
                yield from parts(said)
                comma = ","
        yield "}"
    elif isinstance(value, list):
        yield "["
        for index, element in enumerate(value):
            yield "," if index else ""
            yield from parts(element)
        yield "]"
    elif isinstance(value, str) and not isinstance(value, (Constant, HugeNumber)):
        yield _string(value)
    elif isinstance(value, (Decimal, str)):
        yield write_number(value) if isinstance(value, Decimal) else str(value)
    else:
        yield json.dumps(value)


def write_number(value: Decimal) -> str:
    """Spell a number so that it stays what it is: `1e0` is no integer, though Decimal writes it as one."""
    text = str(value).lower()
    whole = isinstance(value, HugeInteger) or "." in text or "e" in text
    return text if whole else f"{text}e0"


def _string(text: str) -> str:
    """Quote a string; a lone surrogate, which UTF-8 cannot hold, is escaped."""
    quoted = json.dumps(text, ensure_ascii=False)
    try:
        quoted.encode()
    except UnicodeEncodeError:
        return json.dumps(text)
    return quoted
