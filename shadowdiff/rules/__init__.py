"""What a user declares not to matter, or to matter less; and the names of routes.

Pure: no I/O, clock or randomness. `parse_rules` checks declarations, `lint_rules` warns of odd ones,
`compile_rules` makes them ready for an instant, `Router` names the route of a request.
"""

from shadowdiff.rules.compiled import CompiledRules, Effect, RouteRules, compile_rules
from shadowdiff.rules.declare import declaration
from shadowdiff.rules.lint import RuleWarning, lint_rules
from shadowdiff.rules.parse import parse_rules
from shadowdiff.rules.routes import Router
from shadowdiff.rules.rule import Rule, RuleError, RuleKind, Tolerance
from shadowdiff.rules.segments import Place

__all__ = [
    "CompiledRules",
    "Effect",
    "Place",
    "RouteRules",
    "Router",
    "Rule",
    "RuleError",
    "RuleKind",
    "RuleWarning",
    "Tolerance",
    "compile_rules",
    "declaration",
    "lint_rules",
    "parse_rules",
]
