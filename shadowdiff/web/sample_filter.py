"""Choose samples by route, kind and path, as the API, the pages and the terminal let people ask.

In: what was asked for.  Out: a predicate over summaries; where it chose none, a line that says what there is.
Holds: pure.  A path may be written as any view prints it: `price.amount`, `$.price.amount`, `$['price']['amount']`,
`items[*].price`; it chooses all that lies below it as well.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from shadowdiff.web.words import short_path

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shadowdiff.report import Summary
    from shadowdiff.verdict import RouteCounts

_PART: Final = re.compile(
    r"\.?(?P<name>[^.\[\]'\"$]+)|\['(?P<single>(?:[^'\\]|\\.)*)'\]|\[\"(?P<double>(?:[^\"\\]|\\.)*)\"\]"
    r"|(?P<index>\[(?:[0-9]+|\*)\])"
)
_SHOWN: Final = 5


def sample_filter(route: str | None, kind: str | None, path: str | None) -> Callable[[Summary], bool] | None:
    """Return what chooses the samples that were asked for; None where all are."""
    if not (route or kind or path):
        return None

    def wanted(line: Summary) -> bool:
        return (
            (not route or line.route == route)
            and (not kind or kind in line.kinds)
            and (not path or any(on_path(path, found.pattern, found.path) for found in line.differences))
        )

    return wanted


def on_path(asked: str, *places: str) -> bool:
    """Return whether one of the places is the one that was asked for, or lies below it."""
    parts = path_parts(asked.strip())
    return any(path_parts(place)[: len(parts)] == parts for place in places)


@lru_cache(4096)
def path_parts(path: str) -> tuple[str, ...]:
    """Return a path as its parts, whichever way it is written; what is no path is one part."""
    rest = path.removeprefix("$")
    parts: list[str] = []
    at = 0
    while at < len(rest):
        found = _PART.match(rest, at)
        if found is None:
            return (path,)
        parts.append(next(part for part in found.groups() if part is not None))
        at = found.end()
    return tuple(parts)


def nothing_found(route: str | None, path: str | None, routes: Sequence[RouteCounts]) -> str:
    """Say what there is where a route or path chose no sample; empty where both are known."""
    if route and route not in {known.route for known in routes}:
        names = ", ".join(known.route for known in routes[:_SHOWN])
        return f"no route is called {route!r}: {f'there are {names}' if names else 'none was compared yet'}"
    places = [found.path for known in routes if not route or known.route == route for found in known.paths]
    if path and not any(on_path(path, place) for place in places):
        names = ", ".join(dict.fromkeys(map(short_path, places[:_SHOWN])))
        return f"nothing differs at {path!r}: {f'v2 differs at {names}' if names else 'nothing differs at all'}"
    return ""
