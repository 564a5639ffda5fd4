"""How deep a JSON text nests.

In: a text.  Out: whether it nests deeper than any text may, or surely not.
"""

from __future__ import annotations

import re
from typing import Final

MAX_DEPTH: Final = 254
"""orjson writes no deeper; whoever else reads keeps to it, so that the reader does not decide what is too deep."""


def is_too_deep(text: bytes) -> bool:
    """Whether a text nests deeper than it may, be it sound JSON or not."""
    depth = 0
    for code in _STRING.sub(b"", text).translate(None, _BUT_BRACKETS):
        if code in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                return True
        else:
            depth -= 1
    return False


def is_shallow(text: bytes) -> bool:
    """Whether sound JSON is seen at a glance to nest no deeper than it may.

    It is where it has few brackets, once those that hold nothing were dropped a few times. Brackets in strings could
    close what is open, so a text of many brackets must have none.
    """
    if b"\\" in text:
        text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    marks = text.translate(None, _BUT_MARKS)
    brackets = marks.translate(None, b'"')
    if len(brackets) <= 2 * MAX_DEPTH:
        return True
    if 2 * marks.count(b'""') != len(marks) - len(brackets):  # a string has brackets in it
        return False
    for dropped in range(1, _GLANCES):
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
        if len(brackets) <= 2 * (MAX_DEPTH - 2 * dropped):
            return True
    return False


_GLANCES: Final = 16
_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
"""A string, or one that is never closed: that must match as well, or each quote inside would be tried anew."""
_BUT_BRACKETS: Final = bytes(code for code in range(256) if code not in b"[]{}")
_BUT_MARKS: Final = bytes(code for code in range(256) if code not in b'[]{}"')
