"""Describe for `check-config` what each target sends to v2, by route, as YAML comments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shadowdiff.rules.traffic import NotRecordedError, Traffic, method_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from shadowdiff.model import Target

_OTHER_ROUTES: Final = "other routes"
_OTHER_PATH: Final = "/-" * 20
_SOME: Final = "*"


def sent_comments(targets: Iterable[Target]) -> Iterator[str]:
    """Yield one line for each target, and one for each of its routes with the methods that v2 receives."""
    for target in targets:
        yield f"# Sent to v2 of {target.name}, by route. Other requests are counted, and not sent."
        rows = list(_rows(target))
        width = max(len(route) for route, _ in rows)
        yield from (f"#   {route:<{width}}  {' '.join(sent) or 'nothing'}" for route, sent in rows)
        if any(method.endswith(_SOME) for _, sent in rows for method in sent):
            yield f"#   {_SOME}: only requests that `include` and `exclude` select by header or user"


def _rows(target: Target) -> Iterator[tuple[str, list[str]]]:
    """Yield each route with its methods, with a mark if a header of the request decides."""
    traffic = Traffic(target)
    methods = list(dict.fromkeys(map(method_of, target.methods)))
    named = [entry for entry in target.methods if " " in entry]
    chosen = [part for one in (*target.include, *target.exclude) for part in (one.route, one.path) if part]
    for route in dict.fromkeys([*named, *target.routes, *chosen]):
        method, _, path = route.rpartition(" ")
        yield route, [*_sent(traffic, [method] if method else methods, path.removesuffix("*"))]
    for path in target.graphql:
        sent = _sent(traffic, ["POST"], path)
        yield f"POST {path}", [method.replace("POST", "GraphQL queries") for method in sent]
    yield _OTHER_ROUTES, [*_sent(traffic, methods, _OTHER_PATH)]


def _sent(traffic: Traffic, methods: Iterable[str], path: str) -> Iterator[str]:
    for method in methods:
        if not traffic.allows(method, path):
            continue
        try:
            if traffic.includes(method, path, _unknown, lambda _value, _share: False):
                yield method
        except NotRecordedError:
            yield method + _SOME


def _unknown(name: str) -> str:
    raise NotRecordedError(name)
