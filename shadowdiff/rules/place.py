"""Write and read the steps of places: paths that are the same for the same thing in all pairs.

An index is `[*]`, and a member name that is a value is an unquoted step such as `[{uuid}]`, so that no quoted name can
look like it. Rules name real paths, so a place becomes a query with wildcards.
"""

from __future__ import annotations

import re
from typing import Final

from shadowdiff.rules.jsonpath import name_step
from shadowdiff.rules.member_names import name_class

VERSION: Final = 2
"""How places are written. Counts of different versions do not mix, because another version starts a new run."""
COARSE: Final = "text[*]"
"""The place of all lines of a text that have no place of their own. It is never noise."""
ANY_NAME: Final = "{name}"
LINE: Final = "text["
"""How the places of lines begin."""
PAGE: Final = "html."
"""How the places in HTML begin."""
STEP: Final = r"\[[A-Za-z0-9_.:/#=-]{0,24}\{[a-z]+\}\]"
"""A regular expression for the step of a member name that is a value."""
_ANY_STEP: Final = re.compile(rf"\['(?:[^'\\]|\\.)*'\]|{STEP}")


def steps_of_name(name: str) -> tuple[str, str]:
    """Return the step of a member in a path, and in a place."""
    step = name_step(name)
    found = name_class(name)
    return step, f"[{found}]" if found else step


def query_of(place: str) -> str:
    """Return the query that selects all values at a place."""
    if "{" not in place or not place.startswith("$"):
        return place
    return _ANY_STEP.sub(lambda step: step[0] if step[0][1] == "'" else "[*]", place)


def is_of_text(place: str) -> bool:
    """Return whether a place is a line of text, or a part of a page."""
    return place.startswith((LINE, PAGE))


def is_coarse(place: str) -> bool:
    """Return whether a place stands for all lines of a text."""
    return place == COARSE


def has_words(place: str) -> bool:
    """Return whether a place has words of a text."""
    return place != COARSE and (place.startswith(LINE) or (place.startswith(PAGE) and f".{LINE}" in place))


def is_html(place: str) -> bool:
    """Return whether a place is in the tree of an HTML page."""
    return place == PAGE.removesuffix(".") or place.startswith(PAGE)
