"""Define rules, which state the differences that do not matter, and name routes.

Pure: no I/O, clock or randomness. `parse_rules` checks declarations, `lint_rules` warns about likely mistakes, and
`compile_rules` prepares the rules that apply at a given time. `Router` names the route of a request.
"""

from shadowdiff.rules.compiled import CompiledRules, Effect, RouteRules, compile_rules
from shadowdiff.rules.kinds import KINDS, rule_schema
from shadowdiff.rules.lint import RuleWarning, lint_rules
from shadowdiff.rules.parse import declaration, parse_rules
from shadowdiff.rules.routes import PathParameter, Router
from shadowdiff.rules.rule import Rule, RuleError
from shadowdiff.rules.traffic import Traffic, method_of

__all__ = [
    "KINDS", "CompiledRules", "Effect", "PathParameter", "RouteRules", "Router", "Rule", "RuleError", "RuleWarning",
    "Traffic", "compile_rules", "declaration", "lint_rules", "method_of", "parse_rules", "rule_schema",
]  # fmt: skip
