"""The base classes of rule kinds and of value rules, and the reader of a declaration's options."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

from shadowdiff.rules.jsonpath import PathError, Query, parse_query
from shadowdiff.rules.rule import HEADER, Rule, RuleError

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from shadowdiff.rules.json_values import Missing, Value
    from shadowdiff.rules.pattern import Mask

MAX_PATH_CHARS: Final = 4096
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")
TEXT: Final[Mapping[str, Any]] = {"type": "string", "minLength": 1}
WORDS: Final[Mapping[str, Any]] = {"anyOf": [TEXT, {"type": "array", "items": TEXT}]}


def spell(value: object) -> str:
    """Return a value as one line of YAML, for a message."""
    return repr(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def listed(value: object) -> list[object]:
    """Return the members of a list. A single value becomes a list of one, and None becomes an empty list."""
    if value is None:
        return []
    return list(cast("Sequence[object]", value)) if isinstance(value, (list, tuple)) else [value]


class Options:
    """The options of one declaration.  at: the declaration's place for messages, such as `rules[0].tolerance`."""

    def __init__(self, at: str, values: Mapping[object, object]) -> None:
        self.at: Final = at
        self.values: Final = {str(key): value for key, value in values.items()}

    def get(self, key: str, default: object = None) -> object:
        """Return one option."""
        return self.values.get(key, default)

    def error(self, key: str, expected: str, value: object = None) -> RuleError:
        """Return the error for a wrong option.  value: the wrong part, if the rest of the option is right."""
        return RuleError(f"{self.at}.{key}: {spell(self.get(key) if value is None else value)}: {expected}")

    def error_of_all(self, expected: str) -> RuleError:
        """Return the error for options that cannot be combined."""
        return RuleError(f"{self.at}: {spell(self.values)}: {expected}")

    def path(self, key: str, kind: RuleKind) -> str:
        """Return the path under a key, with a header name in lower case. Raises: RuleError."""
        path = self.get(key)
        if not isinstance(path, str):
            raise self.error(key, "expected a path such as $.items[*].id")
        if path.startswith("$"):
            self.query(key, path)
            return path
        place = HEADER if path.lower().startswith(HEADER) else path
        path = path.lower() if place == HEADER else path
        if place not in kind.places or (place == HEADER and not _HEADER_NAME.fullmatch(path[len(HEADER) :])):
            places = ["a path that begins with $"]
            places += [f"{HEADER}<name>" if place == HEADER else place for place in kind.places]
            raise self.error(key, f"{kind.name} applies to {', or '.join(places)}", path)
        return path

    def query(self, key: str, path: str) -> Query:
        """Return a path's query. Raises: RuleError."""
        if len(path) > MAX_PATH_CHARS:
            raise RuleError(
                f"{self.at}.{key}: the path has {len(path):,} characters; at most {MAX_PATH_CHARS:,} are allowed"
            )
        try:
            return parse_query(path)
        except PathError as error:
            raise RuleError(f"{self.at}.{key}: {error}") from error


ANY_CLASS: Final = "anything"
"""The class of every value under a rule that has no classes."""


class ValueRule:
    """A rule that can treat two different values as equal.

    Only `covers` decides. The comparison uses the other attributes to pair values before it calls `covers`. The default
    of each attribute is safe for every kind.
    mask: the mask for parts of a text; all masks of one place are combined.  absent: which of `null`, `missing` and
    `empty` are equal.  ignores_case: whether upper and lower case are equal.  reads_numbers: whether a number equals
    its text.
    is_interval: whether the numbers that the rule treats as equal to a number form an interval.
    """

    mask: Mask | None = None
    absent: frozenset[str] = frozenset()
    ignores_case: bool = False
    reads_numbers: bool = False
    is_interval: bool = False
    covers_missing: bool = True
    """Whether the rule can cover a value that is missing on one side. If in doubt, use True, which only costs time."""
    has_classes: bool = False
    """Whether values that the rule covers always have the same `class_of`. If False, any two values can be covered."""

    def __init__(self, rule: Rule) -> None:
        self.label: Final = rule.label

    def covers(self, one: Value | Missing, other: Value | Missing) -> bool:
        """Return whether the rule treats the two values as equal."""
        raise NotImplementedError

    def class_of(self, value: Value) -> Hashable | None:
        """Return a token that all values equal under the rule share; None if the rule never covers the value."""
        return ANY_CLASS


class RuleKind:
    """A kind of rule: how it is declared, checked, documented and applied.

    A subclass overrides the methods that it needs. `shadowdiff/rules/kinds/__init__.py` lists all kinds.
    """

    name: str
    """The key that declares the rule."""
    example: str
    covers: str
    """What the kind covers. It is shown with `example` in docs/rules.md."""
    places: tuple[str, ...] = ()
    """The places that the kind accepts in addition to a path into the body: `status`, `text`, `header.`."""
    path_option = "path"
    options: ClassVar[Mapping[str, Any]] = {}
    """The JSON Schema of each option."""
    required: tuple[str, ...] = ()
    is_inherited = False
    """Whether a rule also applies to everything below its place."""
    needs_own_place = False
    """Whether an inherited rule must distinguish its own place from places below it."""
    is_precondition = False
    """Whether a rule decides if a pair is compared at all, instead of covering differences."""
    expects_scalars_to_differ = False
    looks_into_values = False
    """Whether a rule depends on values, so that a hash in place of a redacted value causes a wrong result."""

    def parse(self, options: Options) -> Any:
        """Return the kind's options as a frozen, hashable value. Raises: RuleError."""
        return None

    def second_path(self, options: Options) -> str:
        """Return the second path if the kind has two paths. Raises: RuleError."""
        return ""

    def declare(self, rule: Rule) -> dict[str, Any]:
        """Return the options in the form that `parse` reads."""
        return {}

    def same_options(self, one: Rule, other: Rule) -> bool:
        """Return whether two rules for the same path have the same effect."""
        return (one.to, one.options) == (other.to, other.options)

    def hides_body(self, rule: Rule) -> bool:
        """Return whether the rule hides every difference in a body, which cannot be intended."""
        return False

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the declaration: a path if there are no options, otherwise the options."""
        properties = {self.path_option: TEXT, **self.options}
        required = [self.path_option, *self.required]
        own = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
        return own if self.options else {"anyOf": [TEXT, own]}


class ValueRuleKind(RuleKind):
    """A kind whose rules can treat two different values as equal.  value_rule: the class that compares the values."""

    value_rule: type[ValueRule]
    expects_scalars_to_differ = True
    looks_into_values = True
