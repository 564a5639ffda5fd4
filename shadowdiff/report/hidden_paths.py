"""Find what stands at paths that the configuration declares secret: RFC 9535, in JSON with the place of each value.

In: paths such as `$.user.ssn`, `$..iban`, `$.people[*].name`; a text, or a place in one.  Out: stretches of the text.
Holds: where a text is JSON, exactly what the paths select is taken, with all below. Where it is not, or is cut short,
so that no path can be told, everything under a path's last name is, rather too much than too little; so is what is
declared as a bare name. Elements counted from the end and slices count as every element: nothing is read twice.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

from shadowdiff.report.shapes import Stretch, json_stretch, unquoted
from shadowdiff.rules.automaton import Automaton
from shadowdiff.rules.jsonpath import Index, Name, PathError, Segment, Slice, Wildcard, parse_query

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shadowdiff.rules.automaton import State
    from shadowdiff.rules.jsonpath import Query, Selector

_TOKEN: Final = re.compile(r'\s*+("(?:[^"\\]++|\\.)*+"|[\[\]{},:]|[^\s\[\]{},:"]++)')
_STEP: Final = re.compile(r"\['((?:[^'\\]|\\.)*)'\]|\[(\d+|\*)\]")
_PLAIN: Final = re.compile(r"[^.\[\]'\"$]+")
_NO_NAME: Final = re.compile(r"\*|-?\d+|-?\d*:.*")
_ANY_LENGTH: Final = 2**53
_DEEPEST: Final = 200


class HiddenPaths:
    """The paths of one configuration.  names: where no path can be told; bare: names that count everywhere."""

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
        """Whether anything is declared by its path."""
        return self._automaton is not None

    def hide(self, path: str) -> bool:
        """Return whether all that stands at a normalized path is secret."""
        state = self._at(path)
        return state is not None and state.effect

    def find(self, text: str, path: str = "$") -> list[Stretch] | None:
        """Return the secrets in JSON that stands at a path; None where it is none, or does not end."""
        state = self._at(path)
        found: list[Stretch] = []
        if state is None or state.barren:
            return found
        if path == "$" and text.lstrip()[:1] not in {"{", "["}:
            return None
        return found if _Scan(text, found).value(state) else None

    def _at(self, path: str) -> State[bool] | None:
        """Return the state at a normalized path; a collapsed index is that of a first element."""
        if self._automaton is None or not path.startswith("$"):
            return None
        state = self._automaton.root
        for step in _STEP.finditer(path):
            name, index = step[1], step[2]
            if index is None:
                state = state.member(_unescaped(name))
            else:
                state = state.element(0 if index == "*" else int(index), _ANY_LENGTH)
        return state


class _Scan:
    """One walk through a text; it stops where the text is no JSON."""

    def __init__(self, text: str, found: list[Stretch]) -> None:
        self._text = text
        self._found = found
        self._at = 0

    def value(self, state: State[bool]) -> bool:
        """Walk through all of the text as one value; return whether it is one."""
        is_whole = self._value(state, 0)
        return is_whole and not self._text[self._at :].strip()

    def _next(self) -> re.Match[str] | None:
        token = _TOKEN.match(self._text, self._at)
        if token is not None:
            self._at = token.end()
        return token

    def _value(self, state: State[bool], depth: int, *, is_taken: bool = False) -> bool:
        """Walk through a value; `is_taken` where what it stands in is a secret as a whole."""
        token = self._next()
        if token is None or token[1] in {"]", "}", ",", ":"} or depth > _DEEPEST:
            return False
        start = token.start(1)
        is_whole = token[1] not in {"[", "{"} or (
            self._array(state, depth) if token[1] == "[" else self._object(state, depth)
        )
        if is_whole and state.effect and not is_taken:
            stretch = json_stretch(self._text, start, self._at)
            self._found.extend([stretch] if stretch else [])
        return is_whole

    def _array(self, state: State[bool], depth: int) -> bool:
        if self._ends("]"):
            return True
        index = 0
        while self._value(state.element(index, _ANY_LENGTH), depth + 1, is_taken=state.effect):
            index += 1
            token = self._next()
            if token is None or token[1] != ",":
                return token is not None and token[1] == "]"
        return False

    def _object(self, state: State[bool], depth: int) -> bool:
        if self._ends("}"):
            return True
        while (name := self._next()) is not None and name[1].startswith('"'):
            colon = self._next()
            if colon is None or colon[1] != ":":
                return False
            if not self._value(state.member(unquoted(name[1])), depth + 1, is_taken=state.effect):
                return False
            token = self._next()
            if token is None or token[1] != ",":
                return token is not None and token[1] == "}"
        return False

    def _ends(self, closing: str) -> bool:
        token = _TOKEN.match(self._text, self._at)
        if token is None or token[1] != closing:
            return False
        self._at = token.end()
        return True


def last_name(path: str) -> str:
    """Return the last name of a path, `*` and indexes left out; a plain name is its own."""
    return next((name for name in reversed(_PLAIN.findall(path)) if not _NO_NAME.fullmatch(name)), "")


def _forward(segment: Segment) -> Segment:
    """Return a segment whose selectors need not know how long an array is."""
    return msgspec.structs.replace(segment, selectors=tuple(map(_known, segment.selectors)))


def _known(selector: Selector) -> Selector:
    match selector:
        case Slice():
            return Wildcard()
        case Index(index):
            return Wildcard() if index < 0 else selector
        case Name() | Wildcard():
            return selector


def _unescaped(name: str) -> str:
    if "\\" not in name:
        return name
    plain = name.replace("\\'", "'").replace('"', '\\"')
    return unquoted(f'"{plain}"')
