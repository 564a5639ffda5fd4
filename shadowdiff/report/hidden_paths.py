"""Find the values at `redaction.paths`, such as `$.user.ssn`, `$..iban` and `$.people[*].name` (RFC 9535).

In JSON the secrets are exactly the selected values, with all values below them. In other text and truncated JSON, paths
are unknown, so every value under a path's last name or a bare name is a secret. Negative indexes and slices select
every element, because the text is read only once.
"""

from __future__ import annotations

import re
from itertools import count
from typing import TYPE_CHECKING, Final

import msgspec

from shadowdiff.report.secret_scanner import json_spans, unquoted
from shadowdiff.rules.automaton import Automaton
from shadowdiff.rules.jsonpath import Index, PathError, Segment, Slice, Wildcard, parse_query
from shadowdiff.rules.place import STEP

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shadowdiff.report.secret_span import SecretSpan, Spend
    from shadowdiff.rules.automaton import State
    from shadowdiff.rules.jsonpath import Query

_TOKEN: Final = re.compile(r'\s*+("(?:[^"\\]++|\\.)*+"|[\[\]{},:]|[^\s\[\]{},:"]++)')
_STEP: Final = re.compile(rf"\['((?:[^'\\]|\\.)*)'\]|\[(\d+|\*)\]|({STEP})")
_PLAIN: Final = re.compile(r"[^.\[\]'\"$]+")
_NO_NAME: Final = re.compile(r"\*|-?\d+|-?\d*:.*")
_ANY_LENGTH: Final = 2**53
_DEEPEST: Final = 200
_CLOSINGS: Final = {"[": "]", "{": "}"}


class HiddenPaths:
    """The paths of one configuration. names: last names, for text without paths; bare: names that apply everywhere."""

    def __init__(self, paths: Iterable[str]) -> None:
        queries: list[Query] = []
        names: set[str] = set()
        bare: set[str] = set()
        for path in paths:
            try:
                queries.append(tuple(_forward(segment) for segment in parse_query(path)))
                names.add(last_name(path))
            except PathError:
                bare.add(last_name(path))
        self.names = frozenset(names - {""})
        self.bare = frozenset(bare - {""})
        self._automaton = Automaton(queries, bool, frozenset(range(len(queries)))) if queries else None

    def __bool__(self) -> bool:
        """Whether there is a path in this configuration."""
        return self._automaton is not None

    def hide(self, path: str) -> bool:
        """Return whether the value at a normalized path is a secret."""
        state = self._at(path)
        return state is not None and state.effect

    def find(self, text: str, path: str, spend: Spend) -> list[SecretSpan] | None:
        """Return the secrets in JSON at a path; None if the text is not JSON or is cut short."""
        state = self._at(path)
        if state is None or state.barren:
            return []
        if path == "$" and text.lstrip()[:1] not in {"{", "["}:
            return None
        scan = _Scan(text, spend)
        is_whole = scan.value(state) and not text[scan.end :].strip()
        return scan.found if is_whole else None

    def _at(self, path: str) -> State[bool] | None:
        """Return the matcher's state at a normalized path; `[*]` is the first element."""
        if self._automaton is None or not path.startswith("$"):
            return None
        state = self._automaton.root
        for step in _STEP.finditer(path):
            name, index = step[1], step[2]
            if step[3] is not None:
                state = state.member(step[3])
            elif index is not None:
                state = state.element(0 if index == "*" else int(index), _ANY_LENGTH)
            elif "\\" not in name:
                state = state.member(name)
            else:
                quoted = name.replace("\\'", "'").replace('"', '\\"')
                state = state.member(unquoted(f'"{quoted}"'))
        return state


class _Scan:
    """Reads a text once, and stops at malformed JSON."""

    def __init__(self, text: str, spend: Spend) -> None:
        self._text = text
        self._spend = spend
        self.found: list[SecretSpan] = []
        self.end = 0

    def _next(self) -> str:
        """Return the next token, or an empty text at the end."""
        self._spend(1)
        token = _TOKEN.match(self._text, self.end)
        self.end = token.end() if token else self.end
        return token[1] if token else ""

    def value(self, state: State[bool], depth: int = 0, *, is_taken: bool = False) -> bool:
        """Read a value; return whether the value is valid. is_taken: a value around this value is already a secret."""
        token = self._next()
        if token in {"", "]", "}", ",", ":"} or depth > _DEEPEST:
            return False
        start = self.end - len(token)
        is_whole = token not in _CLOSINGS or self._members(state, depth, _CLOSINGS[token])
        if is_whole and state.effect and not is_taken:
            self.found += json_spans(self._text, start, self.end)
        return is_whole

    def _members(self, state: State[bool], depth: int, closing: str) -> bool:
        """Read the rest of an array or an object."""
        empty = _TOKEN.match(self._text, self.end)
        if empty and empty[1] == closing:
            self.end = empty.end()
            return True
        for index in count():
            name = self._next() if closing == "}" else ""
            if closing == "}" and not (name.startswith('"') and self._next() == ":"):
                return False
            inner = state.member(unquoted(name)) if name else state.element(index, _ANY_LENGTH)
            if not self.value(inner, depth + 1, is_taken=state.effect):
                return False
            if (token := self._next()) != ",":
                return token == closing
        return False


def last_name(path: str) -> str:
    """Return the last name in a path; `*` and indexes are not names."""
    return next((name for name in reversed(_PLAIN.findall(path)) if not _NO_NAME.fullmatch(name)), "")


def _forward(segment: Segment) -> Segment:
    """Return the segment with selectors that do not depend on an array's length."""
    selectors = (
        Wildcard() if isinstance(one, Slice) or (isinstance(one, Index) and one.index < 0) else one
        for one in segment.selectors
    )
    return msgspec.structs.replace(segment, selectors=tuple(selectors))
