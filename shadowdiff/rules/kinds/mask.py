"""`mask`: the parts of a text that match a pattern do not matter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

import msgspec

from shadowdiff.rules.kinds.kind import TEXT, ValueRule, ValueRuleKind
from shadowdiff.rules.pattern import Mask, PatternError
from shadowdiff.rules.rule import HEADER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shadowdiff.rules.json_values import Missing, Value
    from shadowdiff.rules.kinds.kind import Options
    from shadowdiff.rules.rule import Rule

MAX_PATTERN_CHARS: Final = 2000


class MaskOptions(msgspec.Struct, frozen=True):
    """An RE2 expression, and the text that replaces each match."""

    pattern: str
    replacement: str


class _Masked(ValueRule):
    """In a text, `^` and `$` match at the ends of lines. compare/value_rules.py combines the masks of a place."""

    has_classes = True
    covers_missing = False

    def __init__(self, rule: Rule) -> None:
        super().__init__(rule)
        pattern: str = rule.options.pattern
        self.mask = Mask(f"(?m){pattern}" if rule.path == "text" else pattern, rule.options.replacement)

    def covers(self, one: Value | Missing, other: Value | Missing) -> bool:
        return False


class MaskWith(ValueRuleKind):
    """Covers texts that are equal after every match is replaced."""

    name = "mask"
    example = '`{mask: {path: text, pattern: "pod-\\\\w+"}}`'
    covers = (
        'strings that are equal after every match is replaced (`with: "*"`). Patterns use RE2 syntax. In `text`, a'
        " match may span lines, and `^` and `$` match at the ends of lines. Masks for one place work together: a"
        " subset of them, applied in the order of the list, must make the strings equal. With up to eight matching"
        " masks, shadowdiff tries all subsets. With more matching masks, shadowdiff tries each mask, each pair"
        " of masks, and all masks together"
    )
    places = (HEADER, "text")
    options: ClassVar[Mapping[str, Any]] = {"pattern": TEXT, "with": {"type": "string"}}
    required = ("pattern",)
    value_rule = _Masked

    def parse(self, options: Options) -> MaskOptions:
        pattern, replacement = options.get("pattern"), options.get("with", "*")
        if not isinstance(pattern, str) or not 0 < len(pattern) <= MAX_PATTERN_CHARS:
            raise options.error("pattern", f"expected an RE2 pattern of 1 to {MAX_PATTERN_CHARS:,} characters")
        if not isinstance(replacement, str):
            raise options.error("with", "expected the text that replaces a match")
        try:
            Mask(pattern, replacement)
        except PatternError as error:
            raise options.error("pattern", f"not an RE2 pattern: {error}") from error
        return MaskOptions(pattern, replacement)

    def declare(self, rule: Rule) -> dict[str, Any]:
        return {"pattern": rule.options.pattern, "with": rule.options.replacement}

    def same_options(self, one: Rule, other: Rule) -> bool:
        """Return whether two masks hide the same parts; the replacement texts do not matter."""
        return one.options.pattern == other.options.pattern

    def hides_body(self, rule: Rule) -> bool:
        """Return whether the mask makes completely different texts equal."""
        mask = Mask(rule.options.pattern, rule.options.replacement)
        return len({mask.apply(sample) for sample in ("a", "b 1", "x=2; y\nz")}) == 1
