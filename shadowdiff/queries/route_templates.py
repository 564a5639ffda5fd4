"""Propose templates for `routes:` that keep the inferred names of a target's routes.

A template is proposed for each route with a placeholder, and for each route without one that such a template would
match. With these templates in the configuration, all routes keep their names, whatever paths arrive later.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from shadowdiff.model import OTHER
from shadowdiff.rules.path_segments import PLACEHOLDERS
from shadowdiff.rules.routes import RouteTemplate, normal
from shadowdiff.rules.rule import MARK

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from shadowdiff.verdict.counts import RouteCounts

MAX_PROPOSED: Final = 200
_BRACES: Final = re.compile(r"\{[^{}]*\}|[{}]")


def propose_templates(routes: Iterable[RouteCounts], configured: Sequence[str]) -> tuple[str, ...]:
    """Return the templates for `routes:`, including the configured ones; empty if there is nothing to add."""
    known = {(template.method, template.path) for template in map(RouteTemplate, configured)}
    pairs: dict[str, int] = {}
    for one in routes:
        method, _, path = one.route.partition(MARK)[0].partition(" ")
        if one.route != OTHER and known.isdisjoint({(method, path), ("", path)}) and _is_expressible(path):
            pairs[path] = pairs.get(path, 0) + sum(one.results.values())
    by_pattern: dict[str, str] = {}
    for path in sorted(pairs, key=lambda path: (-pairs[path], path)):
        by_pattern.setdefault(_BRACES.sub("{}", path), path)
    templates = [path for path in by_pattern.values() if "{" in path][:MAX_PROPOSED]
    literals = _matched_by(templates, [path for path in by_pattern.values() if "{" not in path])
    proposed = sorted([*templates, *literals][:MAX_PROPOSED])
    return (*configured, *proposed) if proposed else ()


def routes_yaml(templates: Iterable[str]) -> str:
    """Return templates as the setting `routes:` of a target."""
    return "\n".join(["routes:", *(f"  - {json.dumps(template)}" for template in templates)])


def _is_expressible(path: str) -> bool:
    """Return whether a template matches the requests of an inferred route; `{rest}` is several segments."""
    braces = set(_BRACES.findall(path))
    return path.startswith("/") and braces <= PLACEHOLDERS - {"{rest}"}


def _matched_by(templates: Iterable[str], paths: Iterable[str]) -> list[str]:
    by_length: dict[int, list[RouteTemplate]] = defaultdict(list)
    for template in templates:
        by_length[template.count("/")].append(RouteTemplate(template))
    split = [(path, normal(path).split("/")) for path in paths]
    return [path for path, segments in split if any(one.matches("", segments) for one in by_length[len(segments) - 1])]
