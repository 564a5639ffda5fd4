"""Recognize values that programs generate: ids, hashes, tokens, names of pods, durations."""

from __future__ import annotations

import re
from typing import Final

MOST_CHARS: Final = 2048
"""Longer texts have no form."""
_FEWEST_CHARS: Final = 8
_SEARCHED_CHARS: Final = 128
_LONG_TOKEN: Final = 16
_TURNS: Final = 3
_TURNS_OF_LONG: Final = 4
_UUID: Final = re.compile(r"[0-9a-f]{8}(-?)[0-9a-f]{4}\1[0-9a-f]{4}\1[0-9a-f]{4}\1[0-9a-f]{12}", re.IGNORECASE)
_HEX: Final = re.compile(r"[0-9a-f]+|[0-9A-F]+")
_TOKEN: Final = re.compile(r"[0-9A-Za-z_.~=+-]+|[0-9A-Za-z+][0-9A-Za-z+/]{15,}={0,2}")
_TURN: Final = re.compile(r"(?<=[0-9])(?=[A-Za-z])|(?<=[A-Za-z])(?=[0-9])|(?<=[a-z])(?=[A-Z])")
"""Where a text turns from letters to digits, back, or to upper case. Words and their numbers turn rarely."""
_POD: Final = re.compile(r"([a-z0-9][a-z0-9.-]*?)(?:-[bcdf-hj-np-tv-xz2456789]{6,10})?-[bcdf-hj-np-tv-xz2456789]{5}")
"""Kubernetes generates names from these letters: of pods, with the hash of their replica set."""
DURATION: Final = re.compile(
    r"([0-9]{1,15}(?:\.[0-9]{1,12})?)[ \u00a0]?(ns|us|µs|ms|msec|s|secs?|seconds?|milliseconds?|min|minutes?|h|hours?)"
)
UNIT: Final = re.compile(r"[ \u00a0]?(?:ns|us|µs|ms|msec|s|secs?|seconds?|milliseconds?)(?![A-Za-z])")
"""What follows the number of a duration."""


def generated_form(one: str, other: str) -> str:
    """Return the form that both texts have, or an empty text."""
    form = form_of(one)
    if not form or form != form_of(other):
        return ""
    if form == "hash":
        return form if len(one) == len(other) else ""
    if form == "pod":
        left, right = _POD.fullmatch(one), _POD.fullmatch(other)
        return form if left and right and left[1] == right[1] else ""
    return form


def form_of(text: str) -> str:
    """Return the form of a text: `uuid`, `hash`, `pod`, `token`, `duration`, or an empty text."""
    size = len(text)
    if size > MOST_CHARS:
        return ""
    if size < _FEWEST_CHARS or _TOKEN.fullmatch(text) is None:
        return "duration" if text[:1].isdigit() and DURATION.fullmatch(text) else ""
    if _UUID.fullmatch(text):
        return "uuid"
    if _HEX.fullmatch(text):
        return "" if text.isdigit() or text.isalpha() else "hash"
    if text[:1].isdigit() and DURATION.fullmatch(text):
        return "duration"
    return _random_form(text)


def _random_form(text: str) -> str:
    if "-" in text and any(map(str.isdigit, text)) and _POD.fullmatch(text):
        return "pod"
    turns = len(_TURN.findall(text[:_SEARCHED_CHARS]))
    return "token" if turns >= (_TURNS_OF_LONG if len(text) >= _LONG_TOKEN else _TURNS) else ""
