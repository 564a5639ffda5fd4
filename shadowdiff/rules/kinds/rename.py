"""`rename`: a member has a new name in v2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from shadowdiff.rules.jsonpath import is_singular, split_common
from shadowdiff.rules.kinds.kind import TEXT, RuleKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shadowdiff.rules.kinds.kind import Options
    from shadowdiff.rules.rule import Rule


class RenameTo(RuleKind):
    """Covers a new name; the values are still compared. The rule belongs to the object that contains both paths."""

    name = "rename"
    example = '`{rename: {from: "$.items[*].cost", to: "$.items[*].price"}}`'
    covers = "a member `from` of v1 that has the name `to` in v2; shadowdiff still compares the values"
    path_option = "from"
    options: ClassVar[Mapping[str, Any]] = {"to": TEXT}
    required = ("to",)

    def second_path(self, options: Options) -> str:
        to = options.path("to", self)
        _, old, new = split_common(*(options.query(key, str(options.get(key))) for key in ("from", "to")))
        if not old or not new or not is_singular(old) or not is_singular(new):
            raise options.error_of_all(
                "from and to must begin alike and end in different names, "
                "such as from $.items[*].cost to $.items[*].price"
            )
        return to

    def declare(self, rule: Rule) -> dict[str, Any]:
        return {"to": rule.to}
