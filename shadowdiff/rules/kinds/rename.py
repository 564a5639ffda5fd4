"""`rename`: members have new names in v2, or v2 wraps a value in an envelope or unwraps it."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

import msgspec

from shadowdiff.rules.jsonpath import Wildcard, is_singular, names_of, parse_query, split_common
from shadowdiff.rules.kinds.kind import TEXT, RuleKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shadowdiff.rules.jsonpath import Query
    from shadowdiff.rules.kinds.kind import Options
    from shadowdiff.rules.rule import Rule

STYLES: Final = ("camelCase", "PascalCase", "snake_case", "kebab-case")
_NAME: Final = re.compile(r"(_*)([A-Za-z][A-Za-z0-9_-]*)")
_WORDS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+")
_ANY_MEMBER: Final = (Wildcard(),)
_USUAL_CHARS: Final = 128


class RenamePlace(NamedTuple):
    """Where a rename applies: the query of the objects, and the paths from these objects to the value on both sides.

    below: whether the rename also applies to all objects below. If v2 has names in a style, both paths are empty.
    """

    query: Query
    below: bool
    old: tuple[str, ...] = ()
    new: tuple[str, ...] = ()


def place_of(start: Query, to: str) -> RenamePlace | None:
    """Return where a rename with these paths applies; None if the paths do not belong together."""
    if to in STYLES:
        return RenamePlace(start[:-1], start[-1].descendant) if start and start[-1].selectors == _ANY_MEMBER else None
    shared, old, new = split_common(start, parse_query(to))
    below = bool(old and new) and old[0].descendant and new[0].descendant
    if below:  # `$..a` and `$..b` name members of one object, at any depth
        old, new = ((msgspec.structs.replace(rest[0], descendant=False), *rest[1:]) for rest in (old, new))
    if old == new or not is_singular(old) or not is_singular(new):
        return None
    return RenamePlace(shared, below, names_of(old), names_of(new))


def in_style(name: str, style: str) -> str:
    """Return a name in a style. Names that are not words, such as ids, remain unchanged."""
    return usual_in_style(name, style) if len(name) <= _USUAL_CHARS else usual_in_style.__wrapped__(name, style)


@lru_cache(maxsize=8192)
def usual_in_style(name: str, style: str) -> str:
    """Return the same for a name of usual length, so that the cache has a limited size."""
    found = _NAME.fullmatch(name)
    if found is None:
        return name
    words = [word.lower() for word in _WORDS.findall(found[2])]
    if style in {"snake_case", "kebab-case"}:
        return found[1] + ("_" if style == "snake_case" else "-").join(words)
    titles = [word.capitalize() for word in words]
    return found[1] + "".join(titles if style == "PascalCase" else [*words[:1], *titles[1:]])


class RenameTo(RuleKind):
    """Covers a new name; the values are still compared. The rule belongs to the object that contains both paths."""

    name = "rename"
    example = '`{rename: {from: "$.items[*].cost", to: "$.items[*].price"}}`'
    covers = (
        "a member `from` of v1 that has the name `to` in v2; shadowdiff still compares the values. Also names at any"
        " depth, styles of names and envelopes: see [renames](#renames)"
    )
    path_option = "from"
    options: ClassVar[Mapping[str, Any]] = {"to": TEXT}
    required = ("to",)

    def second_path(self, options: Options) -> str:
        to = options.get("to")
        styled = to in STYLES
        if not isinstance(to, str) or not (styled or to.startswith("$")):
            raise options.error("to", f"expected a path such as $.price, or one of {', '.join(STYLES)}")
        start = options.query("from", str(options.get("from")))
        if not styled:
            options.query("to", to)
        if place_of(start, to) is None:
            raise options.error_of_all(
                f"from must end in a wildcard, such as $..* for all members: a style ({to}) renames them all"
                if styled
                else "from and to must begin alike and end in different names, "
                "such as from $.items[*].cost to $.items[*].price, or from $ to $.data"
            )
        return to

    def declare(self, rule: Rule) -> dict[str, Any]:
        return {"to": rule.to}
