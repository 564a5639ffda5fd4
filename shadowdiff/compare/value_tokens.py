"""Tokens that represent values during array alignment; they hash and compare fast.

The exact tokens of two values are equal if and only if the values and their types are equal. Coarse tokens omit parts
that rules may cover: if rules cover all differences of two values, their coarse tokens are equal.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import orjson

from shadowdiff.compare.documents import may_be_document
from shadowdiff.compare.type_proof import stand_in
from shadowdiff.compare.value_rules import class_of
from shadowdiff.rules.json_values import Repeated, Value, kind_of
from shadowdiff.rules.kinds.kind import ANY_CLASS

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from shadowdiff.compare.documents import Documents
    from shadowdiff.compare.work import Budget
    from shadowdiff.rules.compiled import Node

_SORTED: Final = orjson.OPT_SORT_KEYS
_STARTS: Final = (b'"{', b'"[', b'" ', b'"\\', b'"ey', b'"ew', b'"e3', *(b'"W%c' % code for code in b"wxyz0123"), b"&")
"""What a JSON text has if one of its strings holds a document."""


def dump_token(value: Value) -> bytes:
    """Return the token of a value that orjson parsed."""
    dump = orjson.dumps(value, option=_SORTED)
    return orjson.dumps(_unsigned(value), option=_SORTED) if b"-0.0" in dump else dump


def _unsigned(value: Value) -> Value:
    """Return the value with `-0.0` replaced with `0.0`, because both are equal but have different texts."""
    if isinstance(value, dict):
        return {name: _unsigned(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_unsigned(element) for element in value]
    return abs(value) if isinstance(value, float) and not value else value


def exact_token(value: Value) -> Hashable:
    """Return the token of any value."""
    if isinstance(value, dict):
        return "object", tuple((name, exact_token(value[name])) for name in sorted(value))
    if isinstance(value, list):
        return kind_of(value), tuple(map(exact_token, value))
    return kind_of(value), value


def tokens_of(
    one: Sequence[Value], other: Sequence[Value], token: Callable[[Value], Hashable]
) -> tuple[Sequence[Hashable], Sequence[Hashable]]:
    """Return the tokens of both sides; if all values are scalars of one type, the values themselves are the tokens."""
    kinds = set(map(type, one)) | set(map(type, other))
    if len(kinds) == 1 and kinds <= {int, str, bool, float}:
        return one, other  # pyright: ignore[reportReturnType]
    return list(map(token, one)), list(map(token, other))


class Tokens:
    """Gives equal values equal numbers, in time and memory linear in the size of the values.

    A container's token consists of its children's tokens, so nesting never multiplies its size.
    """

    __slots__ = ("_budget", "_coarse", "_documents", "_exact", "_expects", "_may_hold", "_numbers", "_shape", "_unread")

    def __init__(self, budget: Budget, documents: Documents) -> None:
        self._budget = budget
        self._documents = documents
        self._expects = False
        self._unread: list[Sequence[Value]] = []
        self._may_hold: dict[int, tuple[bool, Value]] = {}
        self._numbers: dict[Hashable, int] = {}
        self._exact: dict[int, tuple[int, Value]] = {}
        self._shape: dict[int, tuple[int, Value]] = {}
        self._coarse: dict[tuple[int, int], tuple[int, Value, Node]] = {}

    def exact(self, value: Value) -> int:
        """Return the token of a value."""
        if not isinstance(value, (dict, list)):
            return self._number((kind_of(value), value))
        known = self._exact.get(id(value))
        if known is None:
            self._budget.spend(8 + 2 * len(value))
            if isinstance(value, dict):
                token = self._number(("object", frozenset((name, self.exact(value[name])) for name in value)))
            else:
                token = self._number((kind_of(value), tuple(map(self.exact, value))))
            known = self._exact[id(value)] = token, value  # a reference keeps the id unique
        return known[0]

    def shape(self, value: Value) -> int:
        """Return the token of the types in a value; for an array, each type of its elements once."""
        if not isinstance(value, (dict, list)):
            return self._number(kind_of(value))
        known = self._shape.get(id(value))
        if known is None:
            self._budget.spend(8 + 2 * len(value))
            if isinstance(value, dict):
                form: Hashable = "shape", frozenset((name, self.shape(value[name])) for name in value)
            else:
                form = "shapes", kind_of(value), frozenset(map(self.shape, value))
            known = self._shape[id(value)] = self._number(form), value
        return known[0]

    def may_hold_documents(self, value: Value) -> bool:
        """Whether a string in a value may hold a document."""
        if not isinstance(value, (dict, list)):
            return type(value) is str and may_be_document(value)
        known = self._may_hold.get(id(value))
        if known is None:
            self._budget.spend(1 + len(value))
            below = value.values() if isinstance(value, dict) else value
            known = self._may_hold[id(value)] = any(map(self.may_hold_documents, below)), value
        return known[0]

    def will_match(self, values: Sequence[Value]) -> None:
        """Prepare for the coarse tokens of the elements of an array and of the values inside them."""
        self._unread.append(values)

    def _has_documents(self) -> bool:
        """Whether a string in an array that is being matched may hold a document.

        If so, two strings may be equal under a rule, and others because they hold the same document.
        """
        while self._unread and not self._expects:
            values = self._unread.pop()
            if self._has_starts(values) and any(map(self.may_hold_documents, values)):
                self._expects = True
                self._coarse.clear()
        return self._expects

    def _has_starts(self, values: Sequence[Value]) -> bool:
        """Whether the JSON text of the values has a start of a document. This is a fast check."""
        try:
            text = orjson.dumps(values, default=stand_in)
        except orjson.JSONEncodeError:
            return True
        self._budget.spend(len(text) // 512)
        return any(start in text for start in _STARTS)

    def coarse(self, value: Value, state: Node) -> int:
        """Return the token of the parts that no rule at or below `state` may cover."""
        effect = state.effect
        if effect.ignore or effect.envelopes or (effect.value_rules and effect.schema):
            return self._number(ANY_CLASS)
        if effect.value_rules and (form := class_of(effect.value_rules, value, self._budget)) is not None:
            return self._number(ANY_CLASS if form != ANY_CLASS and self._has_documents() else form)
        if not isinstance(value, (dict, list)):
            if effect.schema:
                return self._number(kind_of(value))
            return self._document(value, state) if type(value) is str else self.exact(value)
        if state.barren and not (self._has_documents() and self.may_hold_documents(value)):
            return self.exact(value)
        known = self._coarse.get((id(value), id(state)))
        if known is None:
            self._budget.spend(8 + 2 * len(value))
            form = self._members(value, state) if isinstance(value, dict) else self._elements(value, state)
            known = self._coarse[id(value), id(state)] = self._number(form), value, state
        return known[0]

    def _document(self, text: str, state: Node) -> int:
        document = self._documents.read(text)
        if document is None:
            return self.exact(text)
        with self._documents.inside():
            return self._number((document.kind, self.coarse(document.value, state.member(document.step))))

    def _members(self, value: dict[str, Value], state: Node) -> Hashable:
        if state.effect.subset or any(rename.style for rename in state.effect.renames):
            return "object"
        renamed = {way[0] for rename in state.effect.renames for way in (rename.old, rename.new)}
        return "members", frozenset(
            (name, self.coarse(member, below))
            for name, member in value.items()
            if not (below := state.member(name)).effect.vanishes and name not in renamed
        )

    def _elements(self, value: list[Value], state: Node) -> Hashable:
        if isinstance(value, Repeated):
            return "repeated", tuple(self.coarse(each, state) for each in value)
        effect = state.effect
        below = state.element(0, 1)
        if state.by_index or effect.schema or effect.subset or below.effect.vanishes:
            return "array"
        tokens = [self.coarse(element, below) for element in value]
        if effect.unordered or effect.key:
            return "multiset", frozenset(Counter(tokens).items())
        return "sequence", tuple(tokens)

    def _number(self, form: Hashable) -> int:
        return self._numbers.setdefault(form, len(self._numbers))
