"""Find secrets whose name is not directly before the value.

It finds values in objects such as `{"name": "token", "value": "…"}` (HAR, Kubernetes and many APIs write headers and
variables like this), arrays such as `["token", "…"]`, CSV columns, and options such as `--token …`. The time is linear
in the text, which may be truncated.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from shadowdiff.report.secret_names import Secrecy
from shadowdiff.report.secret_scanner import NameSecrecy, is_shown, json_spans, unquoted
from shadowdiff.report.secret_span import CHARS_PER_UNIT, SecretSpan, Spend

if TYPE_CHECKING:
    from collections.abc import Iterator

_NAMES: Final = frozenset({'"name"', '"key"', '"field"', '"header"', '"param"', '"parameter"', '"path"', '"property"'})
_VALUES: Final = frozenset({
    '"value"', '"values"', '"val"', '"content"', '"data"', '"old"', '"new"', '"before"', '"after"', '"input"',
})  # fmt: skip
_MAY_HAVE: Final = re.compile("|".join(sorted(_VALUES)))
_TOKEN: Final = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[\]{},:]|[^\s\[\]{},:"]++', re.DOTALL)
_DEEPEST: Final = 200

_PAIR: Final = re.compile(
    r'\[\s*+"((?:[^"\\\r\n]++|\\.)*+)"\s*+,\s*+("(?:[^"\\]++|\\.)*+"|[^\s\[\]{},"]++)\s*+\]', re.DOTALL
)
_NAMES_ONLY: Final = re.compile(r"""(?<![\w-])(["']?)required\1\s{0,16}:\s{0,16}\Z""")
"""The array after this lists names: JSON Schema's `required`."""
_OPTION: Final = re.compile(
    r"""(?<![\w-])--?([A-Za-z][\w-]*+)[ \t]++(?!-)(?:"([^"\r\n]*+)|'([^'\r\n]*+)|([^\s"'&|;]++))"""
)
_DELIMITER: Final = re.compile(r"[,;\t|]")
_LINE: Final = re.compile(r'(?:"(?:[^"]|"")*+"?|[^"\r\n])*+')
_CELLS: Final = {one: re.compile(rf'(?:"(?:[^"]|"")*+"?|[^{re.escape(one)}\r\n"])*+') for one in ",;\t|"}


@dataclass(slots=True)
class _Object:
    """The kind of the name in one object, and the positions of its values."""

    kind: Secrecy = Secrecy.NONE
    member: str = ""
    values: list[tuple[int, int]] = field(default_factory=list)

    def secrets(self, text: str) -> Iterator[SecretSpan]:
        """Yield these values if they are secrets."""
        for start, end in self.values if self.kind else ():
            yield from json_spans(text, start, end, kind=self.kind)


def find_named_values(text: str, name_secrecy: NameSecrecy, spend: Spend, *, csv: bool) -> Iterator[SecretSpan]:
    """Yield the values with a secret's name, in any order."""
    if _MAY_HAVE.search(text):
        yield from _in_objects(text, name_secrecy, spend)
    if "[" in text:
        yield from _in_pairs(text, name_secrecy, spend)
    if "-" in text:
        yield from _in_options(text, name_secrecy, spend)
    if csv:
        yield from _in_columns(text, name_secrecy, spend)


def _in_objects(text: str, name_secrecy: NameSecrecy, spend: Spend) -> Iterator[SecretSpan]:
    path: list[tuple[_Object | None, int]] = []
    before = ""
    for token in _TOKEN.finditer(text):
        spend(1)
        word = token[0]
        if word in ("{", "["):
            if len(path) == _DEEPEST:
                break
            path.append((_Object() if word == "{" else None, token.start()))
        elif word in ("}", "]") and path:
            closed, start = path.pop()
            spend((token.end() - start) // CHARS_PER_UNIT if closed and closed.kind else 0)
            yield from closed.secrets(text) if closed else ()
            _note(path, start, token.end(), "", name_secrecy)
        elif before == ":":
            _note(path, *token.span(), word, name_secrecy)
        elif word != ":" and path and path[-1][0]:
            path[-1][0].member = word
        before = word
    for cut, _ in path:
        yield from cut.secrets(text) if cut else ()


def _note(path: list[tuple[_Object | None, int]], start: int, end: int, word: str, name_secrecy: NameSecrecy) -> None:
    """Record the member value of the innermost object that ends here."""
    inside = path[-1][0] if path else None
    if inside is None:
        return
    member = inside.member.lower()
    if member in _NAMES and word.startswith('"'):
        inside.kind = max(inside.kind, name_secrecy(unquoted(word)))
    elif member in _VALUES:
        inside.values.append((start, end))


def _in_pairs(text: str, name_secrecy: NameSecrecy, spend: Spend) -> Iterator[SecretSpan]:
    """Yield the second elements of two-element arrays that begin with a secret's name, except in arrays of names."""
    for pair in _PAIR.finditer(text):
        spend(2)
        kind = name_secrecy(pair[1])
        if kind and not _NAMES_ONLY.search(text, max(0, pair.start() - 48), pair.start()):
            yield from json_spans(text, *pair.span(2), kind=kind)


def _in_options(text: str, name_secrecy: NameSecrecy, spend: Spend) -> Iterator[SecretSpan]:
    for option in _OPTION.finditer(text):
        spend(2)
        kind, group = name_secrecy(option[1]), option.lastindex or 0
        if kind and not is_shown(option[group], kind):
            yield SecretSpan(*option.span(group), option[group])


def _in_columns(text: str, name_secrecy: NameSecrecy, spend: Spend) -> Iterator[SecretSpan]:
    """Yield the cells of the columns that have a secret's name in the first line."""
    at = len(text) - len(text.lstrip("\ufeff"))
    header = _LINE.match(text, at)
    delimiters = _DELIMITER.findall(header[0]) if header else []
    if header is None or not delimiters:
        return
    cell = _CELLS[max(delimiters, key=delimiters.count)]
    kinds = [name_secrecy(text[slice(*span)].strip('" ')) for span in _cells(text, at, cell, spend)]
    at = header.end()
    while any(kinds) and at < len(text):
        at += len(text[at : at + 2]) - len(text[at : at + 2].lstrip("\r\n")) or 1
        for kind, (start, end) in zip(kinds, _cells(text, at, cell, spend), strict=False):
            value = text[start:end].strip()
            quote = '"' if value.startswith('"') else ""
            inside = value.strip('"')
            if kind and not is_shown(inside, kind):
                begin = text.index(value, start, end)
                yield SecretSpan(begin, begin + len(value), inside, quote)
        line = _LINE.match(text, at)
        at = line.end() if line else len(text)


def _cells(text: str, at: int, cell: re.Pattern[str], spend: Spend) -> Iterator[tuple[int, int]]:
    while found := cell.match(text, at):
        spend(1)
        yield found.span()
        at = found.end() + 1
        if text[found.end() : at] in ("", "\r", "\n"):
            return
