"""`ignore`: differences at a place and below it do not matter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shadowdiff.rules.containment import contains
from shadowdiff.rules.jsonpath import parse_query
from shadowdiff.rules.kinds.kind import RuleKind
from shadowdiff.rules.rule import HEADER

if TYPE_CHECKING:
    from shadowdiff.rules.rule import Rule

_WHOLE_BODY: Final = parse_query("$.*")


class Ignore(RuleKind):
    """Covers every difference at the rule's place and below it, even if one side has no value."""

    name = "ignore"
    example = '`{ignore: "$.at"}`'
    covers = (
        "every difference at the path and below it, even if one side has no value there. The path is `$…`,"
        " `header.<name>`, `status` or `text`. `ignore` never covers a failed v2 (no response, or a 5xx)"
    )
    places = ("status", HEADER, "text")
    expects_scalars_to_differ = True

    def hides_body(self, rule: Rule) -> bool:
        """Return whether the rule names the whole body."""
        return rule.path == "text" or (rule.path.startswith("$") and contains(parse_query(rule.path), _WHOLE_BODY))
