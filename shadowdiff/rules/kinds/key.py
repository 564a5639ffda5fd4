"""`key`: array elements are matched by identifying members, in any order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, cast

from shadowdiff.rules.jsonpath import is_singular
from shadowdiff.rules.kinds.kind import WORDS, RuleKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shadowdiff.rules.kinds.kind import Options
    from shadowdiff.rules.rule import Rule


class KeyBy(RuleKind):
    """Matches elements by identifying members. The options are the names or paths of these members."""

    name = "key"
    example = '`{key: {path: "$.items", by: [sku]}}`'
    covers = (
        'a different order of elements. The members in `by` identify an element; `by: ["$.meta.id"]` names a nested'
        " member. Two keys match if they are equal, or if another rule covers their difference. A changed element"
        " is reported as one change, not as one removed and one added element"
    )
    options: ClassVar[Mapping[str, Any]] = {"by": WORDS}
    required = ("by",)

    def parse(self, options: Options) -> tuple[str, ...]:
        return member_paths(options, "by", "the members that identify an element, such as [sku]")

    def declare(self, rule: Rule) -> dict[str, Any]:
        return {"by": list(rule.options)}


def member_paths(options: Options, key: str, expected: str) -> tuple[str, ...]:
    """Return the names and paths of members of one element. Raises: RuleError."""
    value = options.get(key)
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):  # pyright: ignore[reportUnknownVariableType]
        raise options.error(key, f"expected {expected}")
    for name in cast("list[str]", names):
        if name.startswith("$") and not is_singular(options.query(key, name)):
            raise options.error(
                key, "expected a path of names only, such as $.meta.id: it names exactly one member of an element", name
            )
    return tuple(cast("list[str]", names))
