"""`join`: a text may be streamed in other chunks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

from shadowdiff.rules.kinds.key import member_paths
from shadowdiff.rules.kinds.kind import TEXT, WORDS, RuleKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shadowdiff.rules.kinds.kind import Options
    from shadowdiff.rules.rule import Rule

_EVENTS: Final = "$[*]"


class Join(RuleKind):
    """Joins the texts of neighboring events. The options are the members that may differ between joined events."""

    name = "join"
    example = '`{join: "$[*].data.delta"}` or `{join: {path: "$[*].response", except: [created_at]}}`'
    covers = (
        "other borders between the chunks of a text in server-sent events, NDJSON and JSON sequences. Neighboring"
        " events that differ only in this text, and in the members under `except`, count as one event, the first,"
        " with the joined text. It never joins an unfinished event"
    )
    options: ClassVar[Mapping[str, Any]] = {"except": WORDS}
    looks_into_values = True

    def parse(self, options: Options) -> tuple[str, ...]:
        if not str(options.get("path")).startswith(_EVENTS):
            raise options.error("path", "expected a text in each event, such as $[*].data.delta")
        if options.get("except") is None:
            return ()
        return member_paths(
            options, "except", "the members that may differ between joined events, such as [created_at]"
        )

    def declare(self, rule: Rule) -> dict[str, Any]:
        return {"except": list(rule.options)} if rule.options else {}

    def schema(self) -> dict[str, Any]:
        return {"anyOf": [TEXT, super().schema()]}
