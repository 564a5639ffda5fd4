"""Describe for `check-config` what each target sends to v2, by route, as YAML comments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shadowdiff.rules import Traffic, method_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from shadowdiff.model import Target

_OTHER_ROUTES: Final = "other routes"


def sent_comments(targets: Iterable[Target]) -> Iterator[str]:
    """Yield one line for each target, and one for each of its routes with the methods that v2 receives."""
    for target in targets:
        yield f"# Sent to v2 of {target.name}, by route. Other requests are counted, and not sent."
        rows = list(_rows(target))
        width = max(len(route) for route, _ in rows)
        yield from (f"#   {route:<{width}}  {sent}" for route, sent in rows)


def _rows(target: Target) -> Iterator[tuple[str, str]]:
    traffic = Traffic(target)
    methods = list(dict.fromkeys(map(method_of, target.methods)))
    routes = dict.fromkeys([*(entry for entry in target.methods if " " in entry), *target.routes])
    for route in routes:
        method, _, path = route.rpartition(" ")
        sent = [each for each in ([method] if method else methods) if traffic.allows(each, path)]
        yield route, " ".join(sent) or "nothing"
    yield from (
        (f"POST {path}", "GraphQL queries" if traffic.allows("POST", path) else "nothing") for path in target.graphql
    )
    yield _OTHER_ROUTES, " ".join(each for each in methods if each in traffic.methods) or "nothing"
